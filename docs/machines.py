"""Machines that people buy, as facts to plan with: for the table of picks, and for the tests of the planner.

Bandwidths are the makers' figures: of the graphics cards named, and for processors of dual-channel memory.
"""

from __future__ import annotations

from dataclasses import replace

from appliance.hardware.facts import Gpu, GpuUser, Hardware, Vendor
from appliance.units import GIB, MIB

_GB = 10**9
_FLAGS = frozenset({"avx", "avx2", "f16c", "fma"})
# What a driver keeps of a card for itself, and what a desktop takes.
_DRIVER = 300 * MIB
_DESKTOP = 700 * MIB


def computer(memory: int, *gpus: Gpu, bandwidth: int = 50) -> Hardware:
    """A machine with so much memory in GiB, read at so many GB a second, and these GPUs."""
    numbered = tuple(replace(gpu, index=index) for index, gpu in enumerate(gpus))
    return Hardware(
        cpu_model="8 cores with AVX2",
        cpu_flags=_FLAGS,
        cores=8,
        memory=memory * GIB,
        memory_available=memory * GIB * 92 // 100,
        memory_bandwidth=bandwidth * _GB,
        gpus=numbered,
    )


def card(size: int, bandwidth: int, *, vendor: Vendor = "nvidia", display: bool = False, taken: int = 0) -> Gpu:
    """A graphics card with so many GiB, read at so many GB a second; `taken` is what another program holds."""
    used = _DRIVER + (_DESKTOP if display else 0) + taken
    return Gpu(
        index=0,
        vendor=vendor,
        name=f"{size} GiB",
        uuid="",
        kind="discrete",
        memory_total=size * GIB,
        memory_free=size * GIB - used,
        users=(GpuUser(4711, "render", taken),) if taken else (),
        driver=None,
        cuda="12.8" if vendor == "nvidia" else None,
        compute_capability="8.9" if vendor == "nvidia" else None,
        bus_bits=None,
        memory_clock_mhz=None,
        bandwidth=bandwidth * _GB,
        power_limit_w=None,
        display=display,
    )


MACHINES: dict[str, Hardware] = {
    "8 GiB of memory, no graphics card": computer(8),
    "16 GiB, no graphics card": computer(16),
    "32 GiB, no graphics card": computer(32),
    "64 GiB, no graphics card": computer(64),
    "64 GiB, of which a container may use 16": replace(computer(64), memory=16 * GIB, memory_available=15 * GIB),
    "16 GiB and a card of 6 GiB": computer(16, card(6, 336)),
    "16 GiB and a card of 8 GiB": computer(16, card(8, 448)),
    "16 GiB and a card of 8 GiB that draws the desktop": computer(16, card(8, 448, display=True)),
    "32 GiB and a card of 12 GiB": computer(32, card(12, 360)),
    "32 GiB and a card of 12 GiB, half taken by another program": computer(32, card(12, 360, taken=6 * GIB)),
    "32 GiB and a card of 16 GiB": computer(32, card(16, 672)),
    "32 GiB and an AMD card of 16 GiB": computer(32, card(16, 576, vendor="amd")),
    "64 GiB and a card of 24 GiB": computer(64, card(24, 1008)),
    "64 GiB and two cards of 24 GiB": computer(64, card(24, 936), card(24, 936)),
    "64 GiB and a card of 48 GiB": computer(64, card(48, 960)),
    "128 GiB and a card of 80 GiB": computer(128, card(80, 2039)),
}
