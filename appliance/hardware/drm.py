"""AMD's and Intel's GPUs, as the kernel's own drivers (DRM) show them in sysfs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from appliance.hardware.facts import Gpu, Kind, Problem, Vendor
from appliance.hardware.pci import VENDORS, Card, cards
from appliance.hardware.problems import problem
from appliance.hardware.tree import HOST, Tree, number, text

_MAKERS = {"amd": "AMD", "intel": "Intel"}

# Intel's own GPU in the processor has stood at this PCI address for twenty years; a card never does.
_INTEL_INTEGRATED = "0000:00:02.0"

# Names by maker and model number.
Names = Mapping[tuple[Vendor, int], str]


def find(memory: int, available: int, tree: Tree = HOST, names: Names | None = None) -> tuple[list[Gpu], list[Problem]]:
    """Every AMD and Intel GPU, and what is wrong with them. `memory` and `available` are the host's."""
    gpus: list[Gpu] = []
    problems: list[Problem] = []
    for card in [*cards("amd", tree), *cards("intel", tree)]:
        name = (names or {}).get((card.vendor, card.device)) or _plain_name(card)
        node = next((card.folder / "drm").glob("card[0-9]*"), None)
        if node is None:
            # Servers often have an Intel GPU that nobody gave a driver, and nobody misses it.
            if card.address != _INTEL_INTEGRATED:
                problems.append(problem(name, "gpu-driver-missing"))
            continue
        kind, total, free, trouble = (_amd if card.vendor == "amd" else _intel)(card, node, memory, available)
        gpus.append(_gpu(card, node, name, kind, total, free))
        problems += [problem(name, code) for code in trouble] + _permission(card, name, tree)
    return gpus, problems


def _gpu(card: Card, node: Path, name: str, kind: Kind, total: int, free: int) -> Gpu:
    power = next((value for file in _POWER_FILES for value in map(number, card.folder.glob(file)) if value), None)
    return Gpu(
        index=int(node.name.removeprefix("card")),
        vendor=card.vendor,
        name=name,
        uuid=text(card.folder / "unique_id") or card.address,
        kind=kind,
        memory_total=total,
        memory_free=free,
        users=(),
        driver=(card.folder / "driver").resolve().name if (card.folder / "driver").exists() else None,
        cuda=None,
        compute_capability=None,
        bus_bits=None,
        memory_clock_mhz=None,
        bandwidth=None,
        power_limit_w=round(power / 1e6) if power else None,
        display=any(text(status) == "connected" for status in node.glob("card*-*/status")),
    )


# In microwatts: amdgpu's, and that of Intel's i915 and xe.
_POWER_FILES = ("hwmon/hwmon*/power1_cap", "hwmon/hwmon*/power1_max")

_Memory = tuple[Kind, int, int, list[str]]


def _amd(card: Card, node: Path, memory: int, available: int) -> _Memory:
    """Kind, memory and free memory of an AMD GPU, and the codes of what is wrong.

    Its driver shows VRAM (its own, or a part of the host's that the firmware set aside) and GTT (the host's
    memory that it may borrow). A GPU in a processor can use both. The driver knows the memory's maker of
    cards only. A missing maker alone does not prove a GPU in a processor, so there must be more to borrow
    than to own too: taking a card for a processor's GPU would promise memory that it does not have.
    """
    total, used = (number(card.folder / f"mem_info_vram_{what}") for what in ("total", "used"))
    if total is None:
        return "discrete", 0, 0, ["gpu-memory-unknown"]
    free = max(0, total - (used or 0))
    maker = text(card.folder / "mem_info_vram_vendor")
    borrow = number(card.folder / "mem_info_gtt_total") or 0
    if maker not in ("", "unknown") or borrow <= total:
        return "discrete", total, free, []
    left = max(0, borrow - (number(card.folder / "mem_info_gtt_used") or 0))
    return "integrated", total + min(borrow, memory), free + min(left, available), []


def _intel(card: Card, node: Path, memory: int, available: int) -> _Memory:
    """Kind, memory and free memory of an Intel GPU, and the codes of what is wrong.

    The xe driver gives the size of a card's memory tile by tile, but not what is free of it. i915 gives both
    in Intel's own builds, and neither in the kernel's.
    """
    if card.address == _INTEL_INTEGRATED:
        return "integrated", memory, available, []
    tiles = [number(file) or 0 for file in card.folder.glob("tile*/physical_vram_size_bytes")]
    total = number(node / "lmem_total_bytes") or sum(tiles)
    if not total:
        return "discrete", 0, 0, ["gpu-memory-unknown"]
    free = number(node / "lmem_avail_bytes")
    return ("discrete", total, total, ["gpu-use-unknown"]) if free is None else ("discrete", total, free, [])


def _permission(card: Card, name: str, tree: Tree) -> list[Problem]:
    """What is wrong when this process may not compute on a card: programs do that through its render node."""
    node = next((card.folder / "drm").glob("renderD*"), None)
    if node is not None and os.access(tree.dev / "dri" / node.name, os.R_OK | os.W_OK):
        return []
    return [problem(name, "gpu-no-permission", file=f"/dev/dri/{node.name if node else 'renderD*'}")]


def _plain_name(card: Card) -> str:
    """A name without anybody's help: some AMD cards know theirs, else the model number must do."""
    return text(card.folder / "product_name") or f"{_MAKERS[card.vendor]} graphics {card.device:04x}"


def vulkan_names() -> Names:
    """Names of GPUs from `vulkaninfo`; none where it is not there or does not answer."""
    program = shutil.which("vulkaninfo")
    if program is None:
        return {}
    try:
        done = subprocess.run([program, "--summary"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return names_in(done.stdout)


def names_in(summary: str) -> Names:
    """The names in a `vulkaninfo --summary`, without those of renderers that run on the processor (llvmpipe)."""
    found: dict[tuple[Vendor, int], str] = {}
    for block in re.split(r"^GPU\d+:", summary, flags=re.MULTILINE)[1:]:
        said = dict(re.findall(r"^\s*(\w+)\s*=\s*(.+?)\s*$", block, flags=re.MULTILINE))
        vendor = VENDORS.get(_hex(said.get("vendorID", "")))
        if vendor and "deviceName" in said and not said.get("deviceType", "").endswith("_CPU"):
            # The driver's name for the chip comes last: "AMD Radeon RX 6700 XT (RADV NAVI22)".
            found[vendor, _hex(said.get("deviceID", ""))] = re.sub(r" \([^)]*\)$", "", said["deviceName"])
    return found


def _hex(digits: str) -> int:
    """A number as `vulkaninfo` writes it; 0, which is nobody's, for anything else."""
    return int(digits, 16) if re.fullmatch(r"0x[0-9a-f]+", digits) else 0
