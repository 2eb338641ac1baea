"""NVIDIA's driver library with a test's own GPUs: compiled from `nvml_stub.c`, loaded like the real one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from appliance.hardware.facts import Hardware
from tests.support.box import ROOT, environment

# Return values of NVML, as nvml.h numbers them.
NOT_SUPPORTED, NO_PERMISSION, NOT_LOADED, LOST, RESET_REQUIRED, MISMATCH, UNKNOWN = 3, 4, 9, 15, 16, 18, 999

# What NVML says for a process's memory when it does not know it.
NOT_AVAILABLE = 2**64 - 1


@dataclass(frozen=True)
class StubGpu:
    """One GPU. Sizes in bytes, `power` in milliwatts. A process is pid, bytes, name; a failure a query and its code.

    `clock` is the memory's highest in MHz, `sm` the processors' and `sm_now` where they are, `reasons` are NVML's
    bits for why not higher. `load` in percent, `heat` in degrees Celsius, `draw` in milliwatts; each reading of the
    energy is `energy` millijoules above the one before. The query `all` stands for every query.
    """

    name: str
    total: int
    free: int
    uuid: str = "GPU-00000000-0000-0000-0000-000000000000"
    bus: int = 256
    clock: int = 7001
    power: int = 200_000
    sm: int = 2100
    sm_now: int = 2000
    reasons: int = 0
    load: int = 0
    heat: int = 30
    draw: int = 20_000
    energy: int = 0
    capability: str = "8.9"
    active: bool = False
    mode: bool = False
    compute: tuple[tuple[int, int, str], ...] = ()
    graphics: tuple[tuple[int, int, str], ...] = ()
    fail: tuple[tuple[str, int], ...] = ()

    def lines(self) -> list[str]:
        """This GPU in the stub's words."""
        memory = ("uuid", "total", "free", "bus", "clock", "capability")
        plain = (*memory, "power", "sm", "sm_now", "reasons", "load", "heat", "draw", "energy")
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

    def environment(
        self, file: Path, *gpus: StubGpu, init: int = 0, cuda: int = 12040, counts: int = 0
    ) -> dict[str, str]:
        """What a child process's environment needs to meet these GPUs.

        `init` other than 0 fails at once; `cuda` is what the driver runs, 12040 for 12.4. With `counts` the driver is
        gone when the cards are counted for that time.
        """
        head = [f"init {init}", "driver 550.54.14", f"cuda {cuda}", f"counts {counts}"]
        text = "\n".join([*head, *(line for gpu in gpus for line in gpu.lines())]) + "\n"
        # So that a test can write what is not UTF-8.
        file.write_bytes(text.encode(errors="surrogateescape"))
        return {"LD_LIBRARY_PATH": str(self.folder), "NVML_STUB": str(file)}


class Prober:
    """A process that takes one machine after the other for its own, and tells its hardware facts."""

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        file = nvml.folder / "gpus"
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROBE],
            env=environment() | nvml.environment(file),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._file = file

    def facts(self, *gpus: StubGpu, init: int = 0) -> Hardware:
        """The facts of a machine with these GPUs."""
        self._nvml.environment(self._file, *gpus, init=init)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Hardware.from_json(json.loads(self._process.stdout.readline()))

    def end(self) -> None:
        """End the process."""
        self._process.communicate(timeout=20)


# The stub reads its file anew at each initialization, and each probe initializes it.
_PROBE = """
import json, sys
from appliance.hardware.probe import probe
for _ in sys.stdin:
    print(json.dumps(probe().to_json()), flush=True)
"""


def build(folder: Path, *, old: bool = False) -> Nvml:
    """Compile the stub into a folder; an `old` one does not know clocks and energy."""
    source = ROOT / "tests/support/nvml_stub.c"
    library = folder / "libnvidia-ml.so.1"
    defined = ["-DOLD_DRIVER"] if old else []
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", *defined, "-o", library, source], check=True)
    return Nvml(folder)
