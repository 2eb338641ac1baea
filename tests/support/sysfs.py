"""A machine as the kernel's files show it: folders of a test's own in the place of /proc, /sys and /dev."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from appliance.hardware.tree import Tree


class FakeTree:
    """Fill it file by file; `tree` is what the probes take."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = Tree(root / "proc", root / "sys", root / "dev")

    def write(self, files: Mapping[str, object]) -> None:
        """Write files by their path from the root."""
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")

    def card(self, address: str, vendor: int, device: int, files: Mapping[str, object] | None = None) -> None:
        """A graphics card on the PCI bus, with more files in its folder."""
        plain = {"class": "0x030000", "vendor": f"{vendor:#06x}", "device": f"{device:#06x}"}
        self.write(
            {f"sys/bus/pci/devices/{address}/{name}": text for name, text in (plain | dict(files or {})).items()}
        )

    def node(self, address: str, number: int, driver: str, *, open: bool = True) -> None:
        """A driver for a card: its `cardN` and render node. `open` says whether this process may use the latter."""
        folder = f"sys/bus/pci/devices/{address}"
        self.write({f"{folder}/drm/card{number}/dev": "226:0", f"{folder}/drm/renderD{128 + number}/dev": "226:128"})
        (self.root / "sys/bus/pci/drivers" / driver).mkdir(parents=True, exist_ok=True)
        (self.root / folder / "driver").symlink_to(self.root / "sys/bus/pci/drivers" / driver)
        if open:
            self.write({f"dev/dri/renderD{128 + number}": ""})
