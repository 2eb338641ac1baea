"""Which models this machine is to run together, and how: pure.

Families of chat models are tried from the best down, and of each its files with the most bits first. Each is
given the context and slots that were wished for; if they do not fit, the cache goes to 8 bits, then the context
shrinks, then bits go, then slots, and only then the next family is tried. The first that fits, is fast
enough and needs nobody's consent is taken; each one before it is passed over with its reason. Beside it go
a small model that is quick and those for search, where there is room left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from appliance.catalog.models import Catalogue, Model
from appliance.catalog.shape import Shape
from appliance.hardware.facts import Hardware
from appliance.selector.known import estimate
from appliance.selector.memory import Load, Need, corrected
from appliance.selector.places import Place, free_place, host_taken, on_gpus, on_processor, usable_gpus
from appliance.selector.speed import tokens_per_second
from appliance.selector.threads import threads
from appliance.units import GIB, show_bytes

_LEAST_CONTEXT: Final = 4096
# People who are served by one slot: few ask at the same moment.
_SEATS_PER_SLOT: Final = 4
_MOST_SLOTS: Final = 16
# What goes beside the chat model, in this order; context and slots of each.
_BESIDE: Final = {"embed": Load(2048, 1), "small": Load(4096, 2), "rerank": Load(2048, 1)}
# A small model so many times as fast as the floor is quick, also beside a faster chat model, which it leaves alone.
_QUICK: Final = 2
# Of the host's memory or the GPU's, at most this much is for a model beside the chat model.
_BESIDE_SHARE: Final = 0.12
# Sizes that people can buy: graphics cards, and memory of the machine.
_CARDS: Final = (8, 12, 16, 24, 32, 48, 80)
_MEMORIES: Final = (16, 32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the admin asks for. `context` in tokens a conversation, `floor` in tokens a second for one user."""

    seats: int = 10
    context: int = 8192
    size_class: str = ""
    floor: float = 8.0

    @property
    def slots(self) -> int:
        """The requests that are worked on at once."""
        return max(1, min(_MOST_SLOTS, -(-self.seats // _SEATS_PER_SLOT)))


@dataclass(frozen=True, slots=True)
class Placement:
    """A model with its share of the machine. `alone` and `together` are tokens a second, for one user and for all."""

    model: Model
    load: Load
    threads: int
    on_gpu: bool
    need: Need
    alone: float
    together: float


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A model that was not taken, and why."""

    model: Model
    reason: str


@dataclass(frozen=True, slots=True)
class SetPlan:
    """The models that stay resident together. `models` begins with the chat model, and is empty if none will do.

    `place` is where they are: the graphics cards with the host's memory, or the latter alone; `left` of it is free.
    """

    models: tuple[Placement, ...]
    passed_over: tuple[PassedOver, ...]
    place: Place
    left: Place

    @property
    def chat(self) -> Placement | None:
        """The chat model's placement."""
        return self.models[0] if self.models else None


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model came to on this machine when it ran with `load`: bytes planned and taken, tokens a second."""

    load: Load
    on_gpu: bool
    planned: int
    taken: int
    alone: float
    together: float


@dataclass(frozen=True, slots=True)
class _Machine:
    """What choosing needs to know of the hardware, and what was measured on it, by model id."""

    hardware: Hardware
    shapes: dict[str, Shape]
    measured: dict[str, Measured]

    def shape(self, model: Model) -> Shape:
        return self.shapes.get(model.id) or estimate(model)

    def bandwidth(self, *, on_gpu: bool) -> int | None:
        """Bytes a second: a GPU's own; those of several are taken one after the other."""
        gpus = usable_gpus(self.hardware)
        if on_gpu:
            return min((gpu.bandwidth for gpu in gpus if gpu.bandwidth), default=None)
        return self.hardware.memory_bandwidth

    def placed(self, model: Model, load: Load, place: Place, *, on_gpu: bool) -> Placement:
        shape = self.shape(model)
        taken = on_gpus(shape, load, place) if on_gpu else on_processor(shape, load, self.hardware)
        alone, together = self._speed(model, shape, load, on_gpu=on_gpu)
        known = self.measured.get(model.id)
        if known is not None and known.on_gpu == on_gpu:
            before = self._speed(model, shape, known.load, on_gpu=on_gpu)
            # The estimate's form with the measured height.
            alone, together = alone * known.alone / before[0], together * known.together / before[1]
            taken = corrected(taken, known.planned, known.taken)
        return Placement(model, load, self.hardware.cores, on_gpu, taken, alone, together)

    def _speed(self, model: Model, shape: Shape, load: Load, *, on_gpu: bool) -> tuple[float, float]:
        return tokens_per_second(model, shape, load, self.bandwidth(on_gpu=on_gpu), on_gpu=on_gpu)


def plan_set(
    catalogue: Catalogue,
    hardware: Hardware,
    wishes: Wishes,
    shapes: dict[str, Shape] | None = None,
    measured: dict[str, Measured] | None = None,
) -> SetPlan:
    """Choose. `shapes`, by model id, are those of files that are here; others are estimated from the catalogue.

    What was `measured` of a model on this machine takes the place of what is reckoned.
    """
    machine = _Machine(hardware, shapes or {}, measured or {})
    place = free_place(hardware)
    best = _set_in(machine, catalogue, wishes, place)
    if place.gpus and (best.chat is None or best.chat.alone < wishes.floor or best.chat.model.trial):
        # Too small a GPU for any model as a whole; parts of one on each side would be slower than the processor.
        return _set_in(machine, catalogue, wishes, Place(place.host))
    return best


def plan_one(
    catalogue: Catalogue,
    hardware: Hardware,
    role: str,
    wishes: Wishes,
    promised: int = 0,
    shapes: dict[str, Shape] | None = None,
    measured: dict[str, Measured] | None = None,
) -> Placement | None:
    """The best model for one role where others stay, with `promised` bytes of the host's memory; None if none fits."""
    machine = _Machine(hardware, shapes or {}, measured or {})
    place = free_place(hardware)
    left = replace(place, host=place.host - promised)
    if role != "chat":
        return _choose_beside(machine, catalogue.by_role(role), _BESIDE[role], place, left, wishes.floor)
    found, _ = _choose_chat(machine, catalogue, wishes, left)
    if found is None and place.gpus:
        found, _ = _choose_chat(machine, catalogue, wishes, Place(left.host))
    return found


def _set_in(machine: _Machine, catalogue: Catalogue, wishes: Wishes, place: Place) -> SetPlan:
    chat, passed = _choose_chat(machine, catalogue, wishes, _less_search(machine, catalogue, place))
    if chat is None:
        return SetPlan((), passed, place, place)
    left = place.less(chat.need)
    beside: list[Placement] = []
    least = min(chat.alone, _QUICK * wishes.floor)
    for role, load in _BESIDE.items():
        found = _choose_beside(machine, catalogue.by_role(role), load, place, left, least)
        if found is not None:
            beside.append(found)
            left = left.less(found.need)
    return SetPlan(_sharing((chat, *beside), machine.hardware.cores), passed, place, left)


def _sharing(placements: tuple[Placement, ...], cores: int) -> tuple[Placement, ...]:
    """Each with its share of the cores; the first is the chat model, whatever it was made for."""
    roles = ("chat", *(placement.model.role for placement in placements[1:]))
    return tuple(
        replace(placement, threads=threads(role, {*roles} - {role}, cores))
        for role, placement in zip(roles, placements, strict=True)
    )


def _less_search(machine: _Machine, catalogue: Catalogue, place: Place) -> Place:
    """What is left for chat when the smallest embedding model has its room: a box that cannot search is half a box."""
    models = [model for model in catalogue.by_role("embed") if _goes_beside(model)]
    needs = [machine.placed(model, _BESIDE["embed"], place, on_gpu=False).need for model in models]
    return place.less(min(needs, key=host_taken)) if needs else place


def _goes_beside(model: Model) -> bool:
    """Whether a model may be chosen without asking anybody."""
    return model.family.commercial is True and not model.needs_consent and model.is_locked


def rank(model: Model) -> tuple[int, int]:
    """What orders models: the quality of the family, then the bits of the file."""
    return model.family.quality, model.bits


def loads(context: int, slots: int, trained: int) -> Iterator[Load]:
    """How a model may be run with so many slots, from what was wished for down to the least context."""
    context = min(context, trained or context)
    least = min(_LEAST_CONTEXT, context)
    yield Load(context, slots)
    yield Load(context, slots, "q8_0")
    while context > least:
        context = max(least, context * 3 // 4 // 256 * 256)
        yield Load(context, slots, "q8_0")


def _choose_chat(
    machine: _Machine, catalogue: Catalogue, wishes: Wishes, place: Place
) -> tuple[Placement | None, tuple[PassedOver, ...]]:
    passed: list[PassedOver] = []
    slow: list[Placement] = []

    # A family's files stand together, also where another family has the same quality.
    def order(model: Model) -> tuple[int, str, int]:
        return model.family.quality, model.family.id, model.bits

    models = sorted(catalogue.by_role("chat"), key=order, reverse=True)
    for _, files in groupby(models, key=lambda model: model.family.id):
        found = _choose_file(machine, tuple(files), wishes, place, passed)
        if found is None:
            continue
        if found.alone >= wishes.floor:
            return found, tuple(passed)
        slow.append(found)
    # Better a slow answer than none: the fastest of those that fit.
    return max(slow, key=lambda one: one.alone, default=None), tuple(passed)


def _choose_file(
    machine: _Machine, files: tuple[Model, ...], wishes: Wishes, place: Place, passed: list[PassedOver]
) -> Placement | None:
    """The best way to run one of a family's files; None when none fits. Notes why each better one was passed over."""
    candidates = []
    for model in files:
        refusal = _refusal(model, wishes)
        if refusal:
            passed.append(PassedOver(model, refusal))
        else:
            candidates.append(model)
    slow: Placement | None = None
    for slots in range(wishes.slots, 0, -1):
        for model in candidates:
            placed = _fitted(machine, model, wishes, slots, place)
            if placed is None:
                continue
            if placed.alone >= wishes.floor:
                _note(machine, candidates[: candidates.index(model)], wishes, place, passed)
                return placed
            slow = slow if slow and slow.alone >= placed.alone else placed
    _note(machine, candidates, wishes, place, passed)
    return slow


def _fitted(machine: _Machine, model: Model, wishes: Wishes, slots: int, place: Place) -> Placement | None:
    """How a model fits with so many slots: on the GPUs as a whole, or where there are none on the processor."""
    for load in loads(wishes.context, slots, model.context):
        placed = machine.placed(model, load, place, on_gpu=bool(place.gpus))
        if place.has_room_for(placed.need):
            return placed
    return None


def _note(machine: _Machine, models: list[Model], wishes: Wishes, place: Place, passed: list[PassedOver]) -> None:
    """Say why each of these was not taken."""
    for model in models:
        placed = _fitted(machine, model, wishes, wishes.slots, place)
        if placed is None:
            *_, least = loads(wishes.context, wishes.slots, model.context)
            smallest = machine.placed(model, least, place, on_gpu=bool(place.gpus))
            passed.append(PassedOver(model, _too_large(smallest, place)))
        else:
            words = f"would write about {placed.alone:.1f} tokens a second, and {wishes.floor:g} are the least"
            passed.append(PassedOver(model, words))


def _refusal(model: Model, wishes: Wishes) -> str:
    """Why a model is no candidate, whatever the machine; empty when it is one."""
    family = model.family
    if wishes.size_class and family.size_class != wishes.size_class:
        return f"is of class {family.size_class}, and {wishes.size_class} was asked for"
    if family.commercial is not True:
        return f"has the licence {model.licence}: {family.condition or 'no commercial use'}"
    return f"needs your yes: {model.needs_consent}" if model.needs_consent else ""


def _too_large(placed: Placement, place: Place) -> str:
    """What does not fit even with the least context."""
    if placed.on_gpu:
        wanted, free = sum(placed.need.device_bytes), sum(place.gpus)
        if wanted > free:
            return f"needs {show_bytes(wanted)} of graphics memory, and {show_bytes(free)} can be had"
    wanted = host_taken(placed.need)
    if wanted > place.host:
        return f"needs {show_bytes(wanted)} of memory, and {show_bytes(place.host)} can be had"
    return "has a layer that no single graphics card can hold"


def _choose_beside(
    machine: _Machine, models: tuple[Model, ...], load: Load, place: Place, left: Place, least: float
) -> Placement | None:
    """The best model of a role that finds room beside the chat model: on a GPU, or else on the processor.

    One that writes is there to be quick: it is taken only if it has `least` tokens a second for one user.
    """

    # Where nobody ranks them, more parameters stand for more languages.
    def order(model: Model) -> tuple[float, float, int]:
        return -model.family.quality, -model.family.parameters, -model.bits

    for model in sorted(models, key=order):
        if not _goes_beside(model):
            continue
        wanted = replace(load, context=min(load.context, model.context or load.context))
        for on_gpu in (True, False) if place.gpus else (False,):
            placed = machine.placed(model, wanted, left, on_gpu=on_gpu)
            share = sum(place.gpus) if on_gpu else place.host
            taken = sum(placed.need.device_bytes) if on_gpu else host_taken(placed.need)
            quick = placed.alone >= least or not model.can_write
            if quick and taken <= share * _BESIDE_SHARE and left.has_room_for(placed.need):
                return placed
    return None


@dataclass(frozen=True, slots=True)
class Upgrade:
    """More memory, in words, and the chat model that it would allow."""

    memory: str
    model: Model


def upgrade(catalogue: Catalogue, hardware: Hardware, wishes: Wishes, now: SetPlan) -> Upgrade | None:
    """The least memory on sale that would allow a better chat model; None when the best one runs already."""
    best = rank(now.chat.model) if now.chat else (0, 0)
    for words, larger in _larger(hardware):
        chat = plan_set(catalogue, larger, wishes).chat
        if chat is not None and rank(chat.model) > best and chat.alone >= wishes.floor:
            return Upgrade(words, chat.model)
    return None


def _larger(hardware: Hardware) -> Iterator[tuple[str, Hardware]]:
    """This machine with a larger card, or without one with more memory."""
    gpus = usable_gpus(hardware)
    if gpus:
        for size in _CARDS:
            if size * GIB > max(gpu.memory_total for gpu in gpus):
                card = replace(gpus[0], memory_total=size * GIB, memory_free=size * GIB)
                yield f"a graphics card with {size} GiB", replace(hardware, gpus=(card,))
        return
    for size in _MEMORIES:
        if size * GIB > hardware.memory * 1.1:
            yield f"{size} GiB of memory", replace(hardware, memory=size * GIB, memory_available=size * GIB)
