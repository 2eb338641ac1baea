"""NVIDIA's GPUs, as the driver's own library (NVML) tells of them."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from appliance.hardware.facts import Gpu, GpuUser, Problem, ddr_bandwidth
from appliance.hardware.pci import cards
from appliance.hardware.problems import problem
from appliance.hardware.tree import HOST, Tree

_LIBRARY = "libnvidia-ml.so.1"
_DRIVER = "NVIDIA driver"

# NVML's return values that have words of their own; nvml.h numbers them.
_NO_PERMISSION, _NOT_LOADED, _LOST, _RESET_REQUIRED, _MISMATCH = 4, 9, 15, 16, 18
_OF_DRIVER = {
    _NO_PERMISSION: "nvidia-no-permission",
    _NOT_LOADED: "nvidia-driver-not-loaded",
    _MISMATCH: "nvidia-driver-mismatch",
}
_OF_CARD = {_NO_PERMISSION: "gpu-no-permission", _LOST: "gpu-lost", _RESET_REQUIRED: "gpu-needs-reset"}


def find(memory: int, available: int, tree: Tree = HOST) -> tuple[list[Gpu], list[Problem]]:
    """Every NVIDIA GPU, and why there are not more. `memory` and `available` are the host's, for those that share it.

    `tree` only tells whether there is a card that lacks its driver: a machine without either has no problem.
    """
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return [], [problem(_DRIVER, "nvidia-driver-missing")] if cards("nvidia", tree) else []
    # Imported here because it takes a tenth of a second, which machines without the library need not pay.
    import pynvml as nvml  # type: ignore[import-untyped]

    try:
        nvml.nvmlInit()
        return _all(nvml, memory, available)
    except nvml.NVMLError as error:
        return [], [_failure(error, _DRIVER, _OF_DRIVER)]
    finally:
        # Without an initialization before it this fails too.
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _all(nvml: Any, memory: int, available: int) -> tuple[list[Gpu], list[Problem]]:
    """Every GPU that answers; one that does not is a problem of its own, and no reason to lose the others."""
    gpus, problems = [], []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            gpus.append(_gpu(nvml, index, memory, available))
        except nvml.NVMLError as error:
            problems.append(_failure(error, f"NVIDIA card {index}", _OF_CARD, f"/dev/nvidia{index}"))
    return gpus, problems


def _failure(error: Any, subject: str, codes: dict[int, str], file: str = "") -> Problem:
    """A failure of NVML in words. `file` is the card's own in /dev."""
    return problem(subject, codes.get(error.value, "nvidia-failed"), error=error, value=error.value, file=file)


def _gpu(nvml: Any, index: int, memory: int, available: int) -> Gpu:
    """One GPU. Its name and memory must be known; the rest is None where card or driver do not tell it."""

    def ask(query: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return query(*arguments)
        except nvml.NVMLError as error:
            if error.value in (_LOST, _RESET_REQUIRED):
                raise
            return None
        except UnicodeDecodeError:
            # Programs may call themselves anything.
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
