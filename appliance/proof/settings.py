"""What is tuned: a setting of the engine, what else may be tried for it, and how two are compared. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import sqrt
from typing import Final

from appliance.engine.arguments import DEFAULTS, Options
from appliance.engine.measure import Speed

# What a person asks for, taken as typical: tokens that are read, and tokens that are written.
READ: Final = 400
WRITTEN: Final = 200

KV_TYPES: Final = ("f16", "q8_0")
FLASH: Final = ("auto", "on", "off")
# Ways of guessing ahead that need no second model.
GUESSES: Final = ("", "ngram-simple", "ngram-mod")
MOST_SLOTS: Final = 64
_BATCHES: Final = (128, 256, 512, 1024, 2048)


@dataclass(frozen=True, slots=True)
class Setting:
    """All that tuning may change of how a model is run."""

    threads: int
    slots: int
    kv: str = "f16"
    options: Options = DEFAULTS


@dataclass(frozen=True, slots=True)
class Machine:
    """What bounds the search: physical cores, hardware threads, and the tokens that a measurement reads.

    `fixed` names what the settings file has decided: `threads`, `slots` or `kv`.
    """

    cores: int
    logical: int
    read: int
    fixed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing that is tuned: its name in settings, and what else it could be."""

    name: str
    words: str
    others: Callable[[Setting, Machine], Iterable[int | str]]

    def value(self, setting: Setting) -> int | str:
        """What it is in a setting."""
        holder = setting if self.name in _OWN else setting.options
        found: int | str = getattr(holder, self.name)
        return found

    def changed(self, setting: Setting, value: int | str) -> Setting:
        """A setting with another value."""
        change = {self.name: value}
        if self.name in _OWN:
            return replace(setting, **change)  # type: ignore[arg-type]
        return replace(setting, options=replace(setting.options, **change))  # type: ignore[arg-type]

    def candidates(self, setting: Setting, machine: Machine) -> list[Setting]:
        """What else may be tried, each once; nothing where the settings file has decided."""
        if self.name in machine.fixed:
            return []
        values = dict.fromkeys(self.others(setting, machine))
        return [self.changed(setting, value) for value in values if value != self.value(setting)]

    def told(self, before: Setting, after: Setting) -> str:
        """The change in words."""
        return f"{self.words} {shown(self.value(before))} -> {shown(self.value(after))}"


_OWN: Final = ("threads", "slots", "kv")


def shown(value: int | str) -> str:
    """A value as a person reads it."""
    return str(value) if value != "" else "none"


def _threads(setting: Setting, machine: Machine) -> Iterable[int]:
    wanted = (machine.cores, machine.cores - 1, machine.cores // 2, machine.logical)
    return [number for number in wanted if number > 0]


def _reading_threads(setting: Setting, machine: Machine) -> Iterable[int]:
    """As many as for writing (0), all cores, and all hardware threads."""
    wanted = [0, *(number for number in (machine.cores, machine.logical) if number != setting.threads)]
    return [0] if setting.options.reading_threads and len(wanted) == 1 else wanted


def _micro_batches(setting: Setting, machine: Machine) -> Iterable[int]:
    return _distinct(_BATCHES, setting.options.micro_batch, machine.read)


def _batches(setting: Setting, machine: Machine) -> Iterable[int]:
    large = [size for size in (512, 1024, 2048) if size >= setting.options.micro_batch]
    return _distinct(large, setting.options.batch, machine.read)


def _distinct(sizes: Iterable[int], now: int, read: int) -> list[int]:
    """The sizes that a prompt of so many tokens can tell apart from what there is now."""
    return [size for size in sizes if min(size, read) != min(now, read)]


def _flash(setting: Setting, machine: Machine) -> Iterable[str]:
    if setting.kv != "f16":
        # Quantized values need it: the engine is told `on` whatever stands here.
        return []
    # `auto` switches it on wherever the engine can, so `off` is all that is different.
    return {"auto": ("off",), "on": ("off",), "off": ("auto",)}[setting.options.flash]


def _kv(setting: Setting, machine: Machine) -> Iterable[str]:
    return KV_TYPES


def _slots(setting: Setting, machine: Machine) -> Iterable[int]:
    return [number for number in (setting.slots * 2, setting.slots // 2) if 1 <= number <= MOST_SLOTS]


def _guesses(setting: Setting, machine: Machine) -> Iterable[str]:
    return GUESSES


# What is most likely to matter comes first, because time may run out.
DIMENSIONS: Final = (
    Dimension("threads", "threads", _threads),
    Dimension("flash", "flash attention", _flash),
    Dimension("slots", "slots", _slots),
    Dimension("micro_batch", "micro-batch", _micro_batches),
    Dimension("kv", "KV cache", _kv),
    Dimension("guess", "guessing ahead", _guesses),
    Dimension("reading_threads", "threads for reading", _reading_threads),
    Dimension("batch", "batch", _batches),
)


def alone_s(speed: Speed) -> float:
    """Seconds of a typical request with nobody else there."""
    return READ / speed.prompt + WRITTEN / speed.alone


def busy_s(speed: Speed) -> float:
    """Seconds of the whole engine for each of many typical requests when all slots are at work."""
    return READ / speed.prompt + WRITTEN / speed.together


def seconds(speed: Speed) -> float:
    """The one figure that settings are compared by, lower is better: both times weigh the same.

    Their geometric mean, so that a tenth off one is worth as much as a tenth off the other, on a slow machine
    and on a fast one.
    """
    return sqrt(alone_s(speed) * busy_s(speed))


def best_of(speeds: Iterable[Speed]) -> Speed:
    """The best of each figure: other programs only ever slow a machine down."""
    rounds = list(speeds)
    return Speed(
        max(one.prompt for one in rounds), max(one.alone for one in rounds), max(one.together for one in rounds)
    )


def differences(before: Setting, after: Setting) -> dict[str, int | str]:
    """What two settings differ in, as names and the values of the second."""
    return {one.name: one.value(after) for one in DIMENSIONS if one.value(before) != one.value(after)}
