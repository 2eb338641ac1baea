"""Tune a model on this machine: find what would run today, try what may be better, keep what is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from appliance.artifacts import gguf
from appliance.artifacts.shelf import Shelf
from appliance.catalog.models import Model
from appliance.catalog.shape import Shape
from appliance.config.paths import Home
from appliance.config.settings import EngineSettings, Settings
from appliance.control.plan import catalogue, offloads
from appliance.control.trial import trial
from appliance.control.tuned import fixed, tuned_for, with_tuned
from appliance.engine import measure
from appliance.engine.arguments import EnginePlan
from appliance.engine.measure import Amount, Speed
from appliance.errors import ApplianceError
from appliance.hardware.facts import Hardware
from appliance.hardware.probe import probe
from appliance.proof import tunings
from appliance.proof.keys import machine_key
from appliance.proof.settings import Machine, Setting, differences
from appliance.proof.tuning import Row, Search
from appliance.selector.choose import Choice, choose
from appliance.selector.memory import Load
from appliance.selector.places import Place, free_place, host_taken, on_gpus, on_processor
from appliance.store import handover
from appliance.store.locks import Lock
from appliance.store.sessions import session
from appliance.supervise.where import supervisor_pid
from appliance.units import show_bytes

# A measurement takes about this share of the whole time, within limits in seconds.
_SHARE = 1 / 60
_SHORTEST_S, _LONGEST_S = 2.0, 20.0
# The first, short one, by whose figures the others are made as long as they may be.
_SHORT = Amount(read=128, written=16, begun=32)
_BEGUN = 64
_READ = (128, 1024)
_WRITTEN = (24, 128)
_IDLE_POLL_S = 0.5
# A measurement that is under way when time is up may take so much longer.
_GRACE_S = 10.0
# Failures of a trial that say something of its setting, and end nothing else.
_PASSED_OVER = ("engine-failed", "engine-unavailable", "no-room-to-tune")

Told = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What tuning has found: `found` is what differs from the defaults, `gain` how much faster than before (1.12).

    `gone_through` is false when time ran out, `changed` says whether it is another setting than before.
    """

    model: Model
    start: Setting
    best: Setting
    found: dict[str, int | str]
    rows: tuple[Row, ...]
    gain: float
    gone_through: bool

    @property
    def changed(self) -> bool:
        return self.best != self.start


@dataclass(frozen=True, slots=True)
class _Bench:
    """Where and with what trials are made."""

    home: Home
    model: Model
    file: Path
    shape: Shape
    hardware: Hardware
    place: Place
    context: int
    on_gpu: bool

    def load(self, setting: Setting) -> Load:
        return Load(self.context, setting.slots, setting.kv, micro_batch=setting.options.micro_batch)

    def plan(self, setting: Setting) -> EnginePlan:
        """How a trial is run: as `up` would, on a socket of its own."""
        return EnginePlan(
            "chat", self.model.id, str(self.file), str(self.home.socket("tune")), self.context, setting.slots,
            setting.threads, setting.kv, options=setting.options, on_gpu=self.on_gpu,
        )  # fmt: skip

    def refuses(self, setting: Setting) -> str:
        """Why a setting does not fit into the memory that is free now; nothing when it does."""
        if self.on_gpu:
            taken = on_gpus(self.shape, self.load(setting), self.place)
            if self.place.has_room_for(taken):
                return ""
            free = f"{show_bytes(sum(self.place.gpus))} of graphics memory and {show_bytes(self.place.host)} are free"
            return f"needs {show_bytes(sum(taken.device_bytes) + host_taken(taken))}, and {free}"
        wanted = host_taken(on_processor(self.shape, self.load(setting), self.hardware))
        return "" if wanted <= self.place.host else (
            f"needs {show_bytes(wanted)} of memory, and {show_bytes(self.place.host)} can be had"
        )  # fmt: skip


def tune(home: Home, settings: Settings, model: Model, limit_s: float, told: Told) -> Result:
    """Try settings for so many seconds, put on record what was found, and return it.

    `told` hears what is tried, how many were before it, and about how many there are. Raises model-cannot-chat,
    model-missing, model-not-gguf, no-room-to-tune, tune-running, engine-missing, engine-failed or
    engine-unavailable; then nothing is kept.
    """
    deadline = time.monotonic() + limit_s
    home.prepare()
    with _alone(home):
        wanted = _wanted(settings, model)
        hardware = probe()
        choice = choose("chat", wanted, catalogue(home), hardware)
        known = tuned_for(home, hardware, model.id)
        start = _setting(with_tuned(choice, wanted, known, hardware.cores))
        bench = _bench(home, model, hardware, choice.context, start)
        machine, amount = _first_look(bench, start, wanted, limit_s, deadline, told)
        search = Search(start, machine, bench.refuses)
        ended = _run(search, bench, amount, deadline, told)
        found = differences(_setting(choice), search.best)
        with session(home.database) as opened:
            tunings.save(opened, machine_key(hardware), model.id, found, [as_json(row) for row in search.rows])
    return Result(model, start, search.best, found, tuple(search.rows), search.gain, ended)


def as_json(row: Row) -> dict[str, Any]:
    """A row of the table, as it is stored and printed."""
    setting = asdict(row.setting)
    return {
        "change": row.change,
        "setting": {**{name: setting[name] for name in ("threads", "slots", "kv")}, **setting["options"]},
        "kept": row.kept,
        "why": row.why,
        "gain": None if row.gain is None else round(row.gain, 3),
        "before": _speeds(row.before),
        "tokens_per_second": _speeds(row.speed),
    }


def _speeds(speed: Speed | None) -> dict[str, float] | None:
    return None if speed is None else {name: round(value, 1) for name, value in asdict(speed).items()}


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """One tuning at a time: two would measure each other. Raises tune-running."""
    lock = Lock(home.run / "tune.lock")
    if not lock.acquire():
        raise ApplianceError(
            "tune-running", "Another tuning of this box is under way.", "Wait until it has ended, then try again."
        )
    try:
        yield
    finally:
        lock.release()


def _wanted(settings: Settings, model: Model) -> EngineSettings:
    """What the settings file says of the chat engine, with this model in it."""
    chat = settings.engines.get("chat")
    if chat is None or chat.url is not None:
        return EngineSettings(model=model.id)
    return chat.model_copy(update={"model": model.id})


def _setting(choice: Choice) -> Setting:
    return Setting(choice.threads, choice.slots, choice.kv, choice.options)


def _bench(home: Home, model: Model, hardware: Hardware, context: int, start: Setting) -> _Bench:
    """Everything that trials need. Raises model-missing, model-not-gguf, engine-missing or no-room-to-tune."""
    shelf = Shelf(home.models)
    known = shelf.known(model)
    file = shelf.path(known)
    gguf.check(file, known.size)
    place = _free(hardware)
    bench = _Bench(home, known, file, gguf.shape(file), hardware, place, context, on_gpu=False)
    if place.gpus:
        cards = tuple(replace(gpu, memory_free=gpu.memory_total) for gpu in hardware.gpus)
        empty = free_place(replace(hardware, gpus=cards, memory_available=hardware.memory))
        # Where it will run, and not where there happens to be room: a running engine may hold the card now.
        bench = replace(bench, on_gpu=empty.has_room_for(on_gpus(bench.shape, bench.load(start), empty)))
    _insist_on_room(bench, start)
    return bench


def _free(hardware: Hardware) -> Place:
    """What trials may take now; nothing of the GPUs where the engine has no code for them. Raises engine-missing."""
    place = free_place(hardware)
    return place if offloads() else Place(place.host)


def _insist_on_room(bench: _Bench, setting: Setting) -> None:
    """Raises no-room-to-tune where a trial does not fit into what is free."""
    if why := bench.refuses(setting):
        raise ApplianceError(
            "no-room-to-tune",
            f"A trial of {bench.model.title} {why}.",
            "End what runs with `appliance down`, tune, then `appliance up`."
            if supervisor_pid(bench.home.run)
            else "End other programs, or lower `context` or `slots` in the settings.",
        )


def _first_look(
    bench: _Bench, start: Setting, wanted: EngineSettings, limit_s: float, deadline: float, told: Told
) -> tuple[Machine, Amount]:
    """A short measurement, by which the others are given their length."""
    told("Measuring how fast it is now", 0, 0)
    # It may take longer than all the time there is; but without it nothing can be said at all.
    speed = _measure(bench, start, _SHORT, deadline)
    if speed is None:
        raise ApplianceError(
            "engine-unavailable",
            "The engines that run were busy all the time, and a measurement would disturb them.",
            "Try again when nobody is being served, or give it more time with --minutes.",
        )
    amount = amount_for(speed, start.slots, min(max(limit_s * _SHARE, _SHORTEST_S), _LONGEST_S), bench.context)
    hardware = bench.hardware
    logical = len(os.sched_getaffinity(0))
    return Machine(hardware.cores, max(logical, hardware.cores), amount.read, fixed(wanted)), amount


def amount_for(speed: Speed, slots: int, wanted_s: float, context: int) -> Amount:
    """How much to read and write, so that a measurement takes about so long, and never more than a slot holds."""
    fixed_s = slots * _BEGUN / speed.prompt
    each_s = 4 / speed.prompt + 1 / speed.alone + slots / speed.together
    written = int(max(0.0, wanted_s - fixed_s) / each_s)
    read = min(max(4 * written, _READ[0]), _READ[1], context // 2)
    return Amount(read, min(max(written, _WRITTEN[0]), _WRITTEN[1], context // 4), min(_BEGUN, context // 4))


def _run(search: Search, bench: _Bench, amount: Amount, deadline: float, told: Told) -> bool:
    """Go on until all is tried, which is True, or time is up."""
    took = 0.0
    while (setting := search.next_trial()) is not None:
        # What there is now is measured in any case: a table without it says nothing.
        first = not search.rows
        if not first and time.monotonic() + took > deadline:
            return False
        told(f"Trying {search.change}", len(search.rows), search.about)
        began = time.monotonic()
        try:
            speed = _measure(bench, setting, amount, deadline, None if first else deadline + _GRACE_S)
        except ApplianceError as error:
            if not first and time.monotonic() > deadline:
                return False
            if setting == search.best or error.code not in _PASSED_OVER:
                raise
            search.failed(error.sentence)
            continue
        if speed is None:
            return False
        took = time.monotonic() - began
        search.told(speed)
    return True


def _measure(
    bench: _Bench, setting: Setting, amount: Amount, deadline: float, until: float | None = None
) -> Speed | None:
    """Measure one setting while nobody is served; None when there is no such time before the deadline.

    At `until` it is broken off. Raises engine-failed, engine-unavailable or no-room-to-tune.
    """
    while True:
        while _serving(bench.home):
            if time.monotonic() > deadline:
                return None
            time.sleep(_IDLE_POLL_S)
        # Somebody may have taken memory since it was planned.
        _insist_on_room(replace(bench, place=_free(probe())), setting)
        with trial(bench.plan(setting), bench.home.logs / "tune.log", until) as socket:
            speed = measure.speed(socket, setting.slots, amount)
        # Somebody has come meanwhile: then it was the two of them that were measured.
        if not _serving(bench.home):
            return speed


def _serving(home: Home) -> bool:
    """Whether an engine of this box works for somebody now; one that is not there does not."""
    if supervisor_pid(home.run) is None:
        return False
    for engine in handover.read(home.deployment).engines:
        try:
            if engine.socket and not measure.is_idle(engine.socket):
                return True
        except ApplianceError:
            continue
    return False
