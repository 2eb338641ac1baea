"""Whether clocks are held down at this moment: read while something computes, for at rest they are low by design."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any, Final

from appliance.hardware.tree import HOST, Tree, number

_LIBRARY = "libnvidia-ml.so.1"
# NVML's reasons (nvml.h) that are no business as usual; the power limit is: under load every card meets it.
_REASONS: Final = {
    0x20: "it is too hot",
    0x40: "it is too hot",
    0x80: "its power supply says that it draws too much",
    0x08: "the card protects itself",
}
# One of several cards may rest while another computes: its clock is low by design.
_IDLE: Final = 0x01
# Of the highest clock, what under load is far too little.
_LOW: Final = 0.6


def held_down(tree: Tree = HOST) -> str:
    """Why the graphics cards or the processor run below their clocks now, as a sentence; empty when they do not."""
    return cards_held_down() or _processor(tree)


def cards_held_down() -> str:
    """The same of the graphics cards alone, which say whether they rest; empty without any."""
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return ""
    import pynvml as nvml  # type: ignore[import-untyped]

    try:
        nvml.nvmlInit()
        found = (_card(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
        return next((words for words in found if words), "")
    except nvml.NVMLError:
        return ""
    finally:
        # Without an initialization before it this fails too.
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _card(nvml: Any, index: int) -> str:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        reasons = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
        clock = nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)
        most = nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)
    except nvml.NVMLError:
        return ""
    why = next((words for bit, words in _REASONS.items() if reasons & bit), "")
    if why or (clock and clock < _LOW * most and not reasons & _IDLE):
        because = f", because {why}" if why else ""
        return f"the graphics card's clock is down to {clock} of {most} MHz{because}."
    return ""


def _processor(tree: Tree) -> str:
    """The fastest core's clock: the others may rest."""
    cores = list((tree.sys / "devices/system/cpu").glob("cpu[0-9]*/cpufreq"))
    now = max((number(core / "scaling_cur_freq") or 0 for core in cores), default=0)
    most = max((number(core / "cpuinfo_max_freq") or 0 for core in cores), default=0)
    if now and now < _LOW * most:
        return f"the processor's clock is down to {now // 1000} of {most // 1000} MHz."
    return ""
