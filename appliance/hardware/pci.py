"""The graphics cards on the PCI bus, whether or not a driver knows what to do with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.hardware.facts import Vendor
from appliance.hardware.tree import HOST, Tree, number

VENDORS: dict[int, Vendor] = {0x10DE: "nvidia", 0x1002: "amd", 0x8086: "intel"}

# PCI base classes: display controllers, and the processing accelerators that AMD's Instinct cards are.
_DISPLAY, _ACCELERATOR = 0x03, 0x12


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card: its PCI address, maker and model number, and its folder in sysfs."""

    address: str
    vendor: Vendor
    device: int
    folder: Path


def cards(vendor: Vendor, tree: Tree = HOST) -> list[Card]:
    """The graphics cards of a maker, in the order of the bus."""
    found = []
    for folder in sorted((tree.sys / "bus/pci/devices").glob("*")):
        kind = (number(folder / "class") or 0) >> 16
        if kind in (_DISPLAY, _ACCELERATOR) and VENDORS.get(number(folder / "vendor") or 0) == vendor:
            found.append(Card(folder.name, vendor, number(folder / "device") or 0, folder))
    return found
