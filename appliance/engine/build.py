"""Get the engine for this machine: the best of its builds that can be made, from the cache or made now.

What is better and cannot be had is never passed over in silence: it is told at once, and is in the result.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.engine.backends import Backend, Name, PassedOver, VulkanKit, choose, demand
from appliance.engine.compile import Build, Progress, cached
from appliance.engine.recipe import Recipe, recipe
from appliance.engine.toolkits import cuda_folder, find_nvcc, find_vulkan
from appliance.errors import ApplianceError
from appliance.hardware.facts import Hardware
from appliance.store.files import write_atomic
from appliance.store.locks import Lock
from appliance.units import GIB, show_bytes

# Hears of a better build that is passed over, and for what the next one is.
Told = Callable[[PassedOver, Name], None]

# What a build takes on the disk until it is packed; NVIDIA's packages while they are fetched come on top of it.
_ROOM: dict[Name, int] = {"cpu": 2 * GIB, "vulkan": 2 * GIB, "cuda": 4 * GIB}
_ROOM_PACKAGES = 2 * GIB
_FAILED = "failed.json"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the admin asks for: a certain backend, CUDA for certain chips, and to try anew what failed before."""

    backend: Name | None = None
    chips: tuple[str, ...] = ()
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """The wheel, what it is for, and the better builds that could not be had."""

    wheel: Path
    backend: Name
    passed_over: tuple[PassedOver, ...]


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A build that can be tried. `mark` stands for all that it depends on: a failure is remembered by it."""

    backend: Backend
    recipe: Recipe
    mark: str


_Step = _Attempt | PassedOver
_NOTHING = Wish()


def build(hardware: Hardware, cache: Path, progress: Progress, told: Told, wish: Wish = _NOTHING) -> Built:
    """The engine for this machine. A backend that was asked for is made, or the failure raised.

    Raises wrong-use, backend-impossible, no-compiler, disk-too-small, registry-unreachable, wrong-hash,
    download-failed, installer-running or engine-build-failed.
    """
    folder = cache / "engine"
    folder.mkdir(parents=True, exist_ok=True)
    steps = _steps(hardware, folder, wish)
    if cached(folder / _first(steps).recipe.key):
        return _make(steps, folder, progress, told)
    lock = Lock(folder / "build.lock")
    if not lock.acquire():
        raise ApplianceError(
            "installer-running", "Another build of the engine is under way.", "Wait for it to end, then run it again."
        )
    try:
        _check_compiler()
        return _make(steps, folder, progress, told)
    finally:
        lock.release()


def expected(hardware: Hardware, cache: Path) -> Recipe:
    """The build that this machine would get, as far as is known without trying."""
    return _first(_steps(hardware, cache / "engine", _NOTHING)).recipe


def _first(steps: Sequence[_Step]) -> _Attempt:
    return next(step for step in steps if isinstance(step, _Attempt))


def _steps(hardware: Hardware, folder: Path, wish: Wish) -> list[_Step]:
    """The builds to try, best first; those that cannot be made, or failed before just like this, as the reason why."""
    # Machines without graphics cards are not asked for toolkits.
    ask = bool(hardware.gpus or wish.chips or wish.backend in ("cuda", "vulkan"))
    nvcc, vulkan = (find_nvcc(), find_vulkan()) if ask else (None, VulkanKit())
    if wish.backend or wish.chips:
        ways = demand(wish.backend or "cuda", wish.chips, hardware, nvcc, vulkan)
        return [_attempt(hardware, backend) for backend in ways]
    failed = {} if wish.retry else _failures(folder)
    steps: list[_Step] = []
    for step in choose(hardware, nvcc, vulkan):
        if isinstance(step, PassedOver) or step.name == "cpu":
            steps.append(step if isinstance(step, PassedOver) else _attempt(hardware, step))
            continue
        attempt = _attempt(hardware, step)
        full = None if cached(folder / attempt.recipe.key) else _full(step, folder)
        steps.append(failed.get(attempt.mark) or (PassedOver(step.name, full.sentence, full.hint) if full else attempt))
    return steps


def _attempt(hardware: Hardware, backend: Backend) -> _Attempt:
    made = recipe(hardware, backend)
    drivers = sorted({f"{gpu.driver} {gpu.cuda}" for gpu in hardware.gpus})
    return _Attempt(backend, made, hashlib.sha256(" ".join([made.key, *drivers]).encode()).hexdigest())


def _make(steps: Sequence[_Step], folder: Path, progress: Progress, told: Told) -> Built:
    """Try one after the other. An interruption ends it all: nobody asked for the next best."""
    passed: list[PassedOver] = []
    before: Build | None = None
    for place, step in enumerate(steps):
        rest = [one for one in steps[place + 1 :] if isinstance(one, _Attempt)]
        if isinstance(step, _Attempt):
            job = Build(step.recipe, step.backend, folder, progress)
            found = cached(folder / step.recipe.key) or _try(job, before, step, folder, last=not rest)
            if isinstance(found, Path):
                if before:
                    before.discard()
                # Another way to the same build that did not work is no loss.
                lost = tuple(one for one in passed if one.backend != step.backend.name)
                return Built(found, step.backend.name, lost)
            before = job
            step = found
        passed.append(step)
        told(step, rest[0].backend.name)
    raise AssertionError("the last step is a build, and ends in a wheel or a failure")


def _try(job: Build, before: Build | None, step: _Attempt, folder: Path, *, last: bool) -> Path | PassedOver:
    """Make one build, or say why it is passed over; the failure of the last one is raised."""
    full = _full(step.backend, folder)
    if full and last:
        raise full
    # Whatever fails here would fail for the other builds too.
    tools = job.prepare(before)
    try:
        if full:
            raise full
        wheel = job.run(tools)
    except ApplianceError as error:
        # A registry that sends something else than what was pinned is not asked for more.
        if last or error.code == "wrong-hash":
            raise
        if error.code != "engine-build-failed":
            # It may go right the next time.
            return PassedOver(step.backend.name, error.sentence, error.hint)
        over = PassedOver(step.backend.name, error.sentence, f"{job.where_told} Mend the cause, then run: {_RETRY}")
        _remember(folder, step.mark, over)
        return over
    _remember(folder, step.mark, None)
    return wheel


_RETRY = "appliance engine build --retry, and the installer again."


def _failures(folder: Path) -> dict[str, PassedOver]:
    """The builds that failed on this machine, by their marks; none where the file is not what we wrote."""
    try:
        said = json.loads((folder / _FAILED).read_text())
        return {mark: PassedOver(**over) for mark, over in said.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember(folder: Path, mark: str, over: PassedOver | None) -> None:
    """Remember a failure, so that it is not met again each time, or forget it."""
    known = _failures(folder)
    if over is None and mark not in known:
        return
    kept = {other: one for other, one in known.items() if other != mark} | ({mark: over} if over else {})
    text = json.dumps({mark: one.to_json() for mark, one in kept.items()}, indent=2)
    write_atomic(folder / _FAILED, text.encode())


def _check_compiler() -> None:
    """Raises no-compiler."""
    missing = [name for name in ("gcc", "g++", "strip") if shutil.which(name) is None]
    if missing:
        raise ApplianceError(
            "no-compiler",
            f"The engine is compiled for this machine, and {', '.join(missing)} is missing.",
            "Run: apt-get install build-essential",
        )


def _full(backend: Backend, folder: Path) -> ApplianceError | None:
    """What to say when there is too little room for a build; None when there is enough."""
    place = next(path for path in [folder, *folder.parents] if path.exists())
    needed = _ROOM[backend.name]
    if backend.toolkit == "packages" and not cuda_folder(folder).exists():
        needed += _ROOM_PACKAGES
    free = shutil.disk_usage(place).free
    if free >= needed:
        return None
    return ApplianceError(
        "disk-too-small",
        f"{folder} has {show_bytes(free)} free, and {show_bytes(needed)} are needed.",
        "Free some room and run it again.",
    )
