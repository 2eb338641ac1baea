"""NVIDIA's GPUs, as the driver's own library (NVML) tells of them."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from appliance.hardware.facts import Gpu, GpuUser, Problem, ddr_bandwidth
from appliance.hardware.pci import cards
from appliance.hardware.tree import HOST, Tree

_LIBRARY = "libnvidia-ml.so.1"
_DRIVER = "NVIDIA driver"

# NVML's return values that have words of their own; nvml.h numbers them.
_NO_PERMISSION, _NOT_LOADED, _LOST, _RESET_REQUIRED, _MISMATCH = 4, 9, 15, 16, 18

_MISSING = Problem(
    _DRIVER,
    "nvidia-driver-missing",
    "There is an NVIDIA card but no driver for it; install NVIDIA's driver, or let the container use the card.",
)
_DRIVER_PROBLEMS = {
    _NO_PERMISSION: (
        "nvidia-no-permission",
        "This user may not use the NVIDIA cards; let it read and write /dev/nvidia*, or run this as root.",
    ),
    _NOT_LOADED: (
        "nvidia-driver-not-loaded",
        "The NVIDIA driver is installed but not running; restart the machine, and if that does not help,"
        " install the driver again.",
    ),
    _MISMATCH: (
        "nvidia-driver-mismatch",
        "The NVIDIA driver was updated while an older one was running, and the two do not fit together;"
        " restart the machine.",
    ),
}
_CARD_PROBLEMS = {
    _NO_PERMISSION: ("gpu-no-permission", "This user may not read this card; run this as root to see it."),
    _LOST: (
        "gpu-lost",
        "The card no longer answers; switch the machine off, check the card's power cables, and switch it on again.",
    ),
    _RESET_REQUIRED: ("gpu-needs-reset", "The card must be reset before it works again; restart the machine."),
}


def find(memory: int, available: int, tree: Tree = HOST) -> tuple[list[Gpu], list[Problem]]:
    """Every NVIDIA GPU, and why there are not more. `memory` and `available` are the host's, for those that share it.

    `tree` only tells whether there is a card that lacks its driver: a machine without either has no problem.
    """
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return [], [_MISSING] if cards("nvidia", tree) else []
    # Half of the time that a short command takes goes into this import, so machines without the library do not pay it.
    import pynvml as nvml  # type: ignore[import-untyped]

    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return [], [_problem(error, _DRIVER, _DRIVER_PROBLEMS)]
    try:
        return _all(nvml, memory, available)
    except nvml.NVMLError as error:
        return [], [_problem(error, _DRIVER, _DRIVER_PROBLEMS)]
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _all(nvml: Any, memory: int, available: int) -> tuple[list[Gpu], list[Problem]]:
    """Every GPU that answers; one that does not is a problem of its own, and no reason to lose the others."""
    gpus, problems = [], []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            gpus.append(_gpu(nvml, index, memory, available))
        except nvml.NVMLError as error:
            problems.append(_problem(error, f"NVIDIA card {index}", _CARD_PROBLEMS))
    return gpus, problems


def _problem(error: Any, subject: str, known: dict[int, tuple[str, str]]) -> Problem:
    """A failure of NVML in words."""
    unknown = (
        "nvidia-failed",
        f'NVIDIA\'s driver failed with "{error}" (NVML {error.value}); restart the machine, and if that does'
        " not help, install the driver again.",
    )
    return Problem(subject, *known.get(error.value, unknown))


def _gpu(nvml: Any, index: int, memory: int, available: int) -> Gpu:
    """One GPU. Its name and memory must be known; the rest is None where card or driver do not tell it."""

    def ask(query: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return query(*arguments)
        except nvml.NVMLError as error:
            if error.value in (_LOST, _RESET_REQUIRED):
                raise
            return None

    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    own = _own_memory(nvml, handle)
    cuda = ask(nvml.nvmlSystemGetCudaDriverVersion)
    capability = ask(nvml.nvmlDeviceGetCudaComputeCapability, handle)
    bits = ask(nvml.nvmlDeviceGetMemoryBusWidth, handle)
    clock = ask(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_MEM)
    milliwatts = ask(nvml.nvmlDeviceGetPowerManagementLimit, handle)
    return Gpu(
        index=index,
        vendor="nvidia",
        name=nvml.nvmlDeviceGetName(handle),
        uuid=ask(nvml.nvmlDeviceGetUUID, handle) or "",
        kind="discrete" if own else "unified",
        memory_total=own.total if own else memory,
        memory_free=own.free if own else available,
        users=_users(nvml, handle, ask),
        driver=ask(nvml.nvmlSystemGetDriverVersion),
        # 12040 is CUDA 12.4.
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
        compute_capability=f"{capability[0]}.{capability[1]}" if capability else None,
        bus_bits=bits or None,
        memory_clock_mhz=clock or None,
        bandwidth=ddr_bandwidth(bits, clock),
        power_limit_w=round(milliwatts / 1000) if milliwatts else None,
        # Active: something is drawn on it, a screen or not. Mode: a screen is plugged in.
        display=bool(ask(nvml.nvmlDeviceGetDisplayActive, handle) or ask(nvml.nvmlDeviceGetDisplayMode, handle)),
    )


def _own_memory(nvml: Any, handle: Any) -> Any:
    """The GPU's memory as NVML tells it; None for a GPU that has none of its own (GB10, Jetson)."""
    try:
        return nvml.nvmlDeviceGetMemoryInfo(handle)
    except nvml.NVMLError_NotSupported:
        return None


def _users(nvml: Any, handle: Any, ask: Callable[..., Any]) -> tuple[GpuUser, ...]:
    """Who holds memory of a GPU, the largest first. One that computes and draws is listed twice, with one sum."""
    listed = [
        *(ask(nvml.nvmlDeviceGetComputeRunningProcesses_v3, handle) or ()),
        *(ask(nvml.nvmlDeviceGetGraphicsRunningProcesses_v3, handle) or ()),
    ]
    by_pid = {process.pid: process.usedGpuMemory for process in listed}
    users = [GpuUser(pid, _short(ask(nvml.nvmlSystemGetProcessName, pid)), used) for pid, used in by_pid.items()]
    return tuple(sorted(users, key=lambda user: (-(user.bytes or 0), user.pid)))


def _short(name: str | None) -> str:
    """A process's name without its folder and without arguments, which are nobody's business."""
    return PurePosixPath((name or "").split(" -")[0]).name or "unknown"
