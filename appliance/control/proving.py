"""Prove what runs: memory, speed and place of each engine, measured and held against the plan and against before.

The first proof of a model in one way of running it fills its slots and takes up to a minute; later ones
only measure its speed, in a few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

import psutil

from appliance.config.paths import Home
from appliance.control import running
from appliance.control.running import Planned
from appliance.engine import measure
from appliance.engine.dry_run import dry_run
from appliance.engine.location import find
from appliance.engine.measure import Speed
from appliance.errors import ApplianceError
from appliance.hardware.clocks import held_down
from appliance.hardware.facts import Hardware
from appliance.hardware.probe import probe
from appliance.proof import records
from appliance.proof.judge import LEAST_SPEED, Circumstances, judge
from appliance.proof.keys import machine_key, plan_key
from appliance.proof.tables import Proof
from appliance.store.sessions import session
from appliance.units import now_us

# Seconds that filling the slots may take; what is filled until then has to do. The caches are taken whole at
# the start, so a longer conversation takes no more memory.
_FILL_S = 20.0
# Fewer tokens say nothing.
_LEAST_FILL = 64
# A measurement that would be an alarm is made again: it may have met a passing load.
_TRIES = 3
# Between two looks at the clocks.
_CLOCKS_S = 0.5
_NO_SPEED = Speed(0.0, 0.0, 0.0)
_WRITING = ("chat", "small")

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Memory:
    """Bytes that an engine has taken."""

    host: int
    gpu: int


def prove(home: Home, told: Told, *, new_baseline: bool = False, full: bool = False) -> list[Proof]:
    """Prove every engine that runs here, put it on record, and return the proofs.

    `new_baseline` makes these the measure for later ones, `full` fills every slot to its end. Raises
    not-running, engine-unavailable or engine-failed.
    """
    engines, pids = running.read(home), running.pids(home)
    if not pids:
        raise ApplianceError("not-running", "The appliance is not running.", "Start it with `appliance up`.")
    return [
        prove_engine(home, one, pids[one.process], told, new_baseline=new_baseline, full=full)
        for one in engines
        if one.process in pids
    ]


def prove_engine(
    home: Home,
    one: Planned,
    pid: int,
    told: Told,
    *,
    new_baseline: bool = False,
    full: bool = False,
    brief: bool = False,
) -> Proof:
    """Prove one engine, process `pid`, and put it on record. Raises engine-unavailable or engine-failed.

    A `brief` proof has every slot answer once, and takes no time for speeds: somebody is waiting.
    """
    told(f"Proving {one.plan.model}")
    hardware = probe()
    machine, plan = machine_key(hardware), plan_key(one.plan)
    with session(home.database) as opened:
        base, last = records.baseline(opened, machine, one.plan.model), records.newest(opened, machine, one.plan.model)
        # What is read from rows must outlive their session.
        opened.expunge_all()
    known = brief or (last is not None and last.plan == plan and last.filled > 0 and not full and not new_baseline)
    speed, around = _brief(one) if brief else _speed(one, pid, base)
    filled = (last.filled if last else 0) if known else _fill(one, speed, full=full)
    found = _proof(one, pid, machine, speed, _memory(pid, probe() if one.plan.on_gpu else hardware))
    found.filled = filled
    # What is measured beside other work is no measure for later.
    found.is_baseline = new_baseline or (base is None and speed is not _NO_SPEED and not around.is_busy)
    alarm = judge(found, None if new_baseline else base, around)
    if alarm is not None:
        found.alarm, found.cause = alarm
    elif one.off_gpu:
        found.cause = one.off_gpu
    with session(home.database) as opened:
        records.save(opened, found)
        opened.flush()
        opened.refresh(found)
        opened.expunge(found)
    return found


def _proof(one: Planned, pid: int, machine: str, speed: Speed, taken: _Memory) -> Proof:
    """What was planned, what llama.cpp's dry run says, and what was measured, in one row."""
    dry = dry_run(find("llama-fit-params"), one.plan)
    return Proof(
        at=now_us(),
        machine=machine,
        model=one.plan.model,
        role=one.plan.role,
        plan=plan_key(one.plan),
        pid=pid,
        context=one.plan.context,
        slots=one.plan.slots,
        kv=one.plan.kv,
        planned_host=one.host,
        taken_host=taken.host,
        planned_gpu=one.gpu,
        taken_gpu=taken.gpu,
        planned_context=one.context,
        dry_context=sum(part.context for part in dry),
        planned_compute=one.compute,
        dry_compute=sum(part.compute for part in dry),
        prompt_speed=speed.prompt,
        alone_speed=speed.alone,
        together_speed=speed.together,
        offloaded=_offloaded(one, taken),
    )


def _speed(one: Planned, pid: int, base: Proof | None) -> tuple[Speed, Circumstances]:
    """The engine's speed and what went on meanwhile; no speed while it works for somebody."""
    best, around = _NO_SPEED, Circumstances(probe())
    for _ in range(_TRIES):
        if not measure.is_idle(one.plan.socket):
            break
        with _others(pid) as busy, _clocks() as clocks:
            found = _measured(one)
        if found.alone >= best.alone:
            best, around = found, Circumstances(around.hardware, busy(), clocks())
        if base is None or best.alone >= LEAST_SPEED * base.alone_speed:
            break
    return best, around


def _brief(one: Planned) -> tuple[Speed, Circumstances]:
    """Have every slot answer; no speed."""
    if one.plan.role in _WRITING:
        measure.glance(one.plan.socket, one.plan.slots)
    else:
        measure.reading_speed(one.plan.socket, one.plan.role, one.plan.context)
    return _NO_SPEED, Circumstances(probe())


def _measured(one: Planned) -> Speed:
    if one.plan.role in _WRITING:
        return measure.speed(one.plan.socket, one.plan.slots)
    return measure.reading_speed(one.plan.socket, one.plan.role, one.plan.context)


def _fill(one: Planned, speed: Speed, *, full: bool) -> int:
    """Fill all slots at once, and return with how many tokens each; none while the engine works for somebody."""
    plan = one.plan
    if plan.role not in _WRITING or speed is _NO_SPEED:
        return 0
    affordable = plan.context if full else int(speed.prompt * _FILL_S / plan.slots)
    tokens = min(plan.context, max(_LEAST_FILL, affordable))
    measure.fill(plan.socket, plan.slots, tokens)
    return tokens


def _memory(pid: int, hardware: Hardware) -> _Memory:
    """What an engine has taken; of a GPU whose driver does not say who has what, all that is taken."""
    host, _ = measure.memory_of(pid)
    gpu = 0
    for one in hardware.gpus:
        ours = [user for user in one.users if user.pid == pid]
        told = [user.bytes for user in ours if user.bytes is not None]
        gpu += sum(told) if told else (one.memory_total - one.memory_free if ours else 0)
    return _Memory(host, gpu)


def _offloaded(one: Planned, taken: _Memory) -> bool | None:
    """Whether an engine that was planned for the GPUs is there: by the memory that it holds on them."""
    if one.plan.on_gpu:
        return taken.gpu >= one.gpu // 2
    return None


@contextmanager
def _others(pid: int) -> Iterator[Callable[[], float]]:
    """Counts the cores that programs other than the engine and this one keep busy within the block."""
    engine, own = psutil.Process(pid), psutil.Process()
    began, before = time.monotonic(), _used(engine, own)
    found = 0.0

    def busy() -> float:
        return found

    yield busy
    took = time.monotonic() - began
    found = max(0.0, (_used(engine, own) - before) / took) if took else 0.0


@contextmanager
def _clocks() -> Iterator[Callable[[], str]]:
    """Looks at the clocks while something computes: at rest they are low by design."""
    ended, said = Event(), [""]

    def look() -> None:
        while not ended.wait(_CLOCKS_S):
            said[0] = held_down() or said[0]

    with ThreadPoolExecutor(1) as pool:
        pool.submit(look)
        try:
            yield lambda: said[0]
        finally:
            ended.set()


def _used(engine: psutil.Process, own: psutil.Process) -> float:
    """Seconds of processor time that others have used since the machine was started."""
    times = psutil.cpu_times()
    everything = sum(times[:3]) + getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0)
    try:
        return float(everything) - sum(sum(one.cpu_times()[:2]) for one in (engine, own))
    except psutil.NoSuchProcess as error:
        raise ApplianceError(
            "engine-unavailable", "The engine ended while it was measured.", "`appliance status` shows how it is."
        ) from error
