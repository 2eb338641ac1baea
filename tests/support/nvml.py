"""NVIDIA's driver library with a test's own GPUs: compiled from `nvml_stub.c`, loaded like the real one."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.box import ROOT

# Return values of NVML, as nvml.h numbers them.
NOT_SUPPORTED, NO_PERMISSION, NOT_LOADED, LOST, RESET_REQUIRED, MISMATCH, UNKNOWN = 3, 4, 9, 15, 16, 18, 999

# What NVML says for a process's memory when it does not know it.
NOT_AVAILABLE = 2**64 - 1


@dataclass(frozen=True)
class StubGpu:
    """One GPU. Sizes in bytes, `power` in milliwatts. A process is pid, bytes, name; a failure a query and its code.

    The query `all` stands for every query.
    """

    name: str
    total: int
    free: int
    uuid: str = "GPU-00000000-0000-0000-0000-000000000000"
    bus: int = 256
    clock: int = 7001
    power: int = 200_000
    capability: str = "8.9"
    active: bool = False
    mode: bool = False
    compute: tuple[tuple[int, int, str], ...] = ()
    graphics: tuple[tuple[int, int, str], ...] = ()
    fail: tuple[tuple[str, int], ...] = ()

    def lines(self) -> list[str]:
        """This GPU in the stub's words."""
        plain = ("uuid", "total", "free", "bus", "clock", "power", "capability")
        return [
            f"gpu {self.name}",
            *(f"{key} {getattr(self, key)}" for key in plain),
            f"active {self.active:d}",
            f"mode {self.mode:d}",
            *(f"compute {pid} {used} {name}" for pid, used, name in self.compute),
            *(f"graphics {pid} {used} {name}" for pid, used, name in self.graphics),
            *(f"fail {query} {code}" for query, code in self.fail),
        ]


@dataclass(frozen=True)
class Nvml:
    """The compiled library's folder."""

    folder: Path

    def environment(self, file: Path, *gpus: StubGpu, init: int = 0) -> dict[str, str]:
        """What a child process's environment needs to meet these GPUs; `init` other than 0 fails at once."""
        head = [f"init {init}", "driver 550.54.14", "cuda 12040"]
        file.write_text("\n".join([*head, *(line for gpu in gpus for line in gpu.lines())]) + "\n")
        return {"LD_LIBRARY_PATH": str(self.folder), "NVML_STUB": str(file)}


def build(folder: Path) -> Nvml:
    """Compile the stub into a folder."""
    source = ROOT / "tests/support/nvml_stub.c"
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, source], check=True)
    return Nvml(folder)
