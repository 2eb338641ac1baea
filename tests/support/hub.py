"""The far side of a pull: a model hub as a process of its own, and files to serve."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from appliance.catalog.models import Model
from appliance.downloads.pieces import Limits
from appliance.downloads.retry import Patience
from appliance.units import KIB, MIB
from tests.support.box import environment
from tests.support.hub_server import COMMIT, ORDERS

# As in earnest, but a hundred times faster.
FAST = Limits(piece=64 * KIB, ranges=4, timeout_s=5, patience=Patience(first_wait_s=0.005, longest_wait_s=0.05))


class Hub:
    """Runs `tests.support.hub_server` on a free port. What it can be told stands there."""

    def __init__(self, seed: int = 0) -> None:
        command = [sys.executable, "-m", "tests.support.hub_server", str(seed)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {"HF_ENDPOINT": self.url, "HF_TOKEN": None, "HF_HUB_OFFLINE": None, "HF_HOME": "/nowhere"}

    def tell(self, **orders: Any) -> None:
        """Change what it does; forgets what was asked."""
        self._ask("/control", json.dumps(orders).encode())

    def behave(self, file: Path, **orders: Any) -> None:
        """Serve a file without a fault, but for the `orders`."""
        self.tell(**{**ORDERS, "file": str(file), **orders})

    def log(self) -> list[dict[str, Any]]:
        """What was asked since the last order."""
        found: list[dict[str, Any]] = self._ask("/log", None)
        return found

    def _ask(self, path: str, body: bytes | None) -> Any:
        with urllib.request.urlopen(self.url + path, body, timeout=30) as response:
            return json.load(response)

    def __enter__(self) -> Hub:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


def model_file(path: Path, size: int, seed: int = 0) -> Path:
    """A GGUF file with one tensor, which is random."""
    dice = random.Random(seed)
    head = struct.pack("<4sIQQ", b"GGUF", 3, 1, 0) + struct.pack("<Q1sIQIQ", 1, b"w", 1, size - 64, 24, 0) + bytes(7)
    with path.open("wb") as file:
        file.write(head)
        for at in range(len(head), size, MIB):
            file.write(dice.randbytes(min(MIB, size - at)))
    return path


def row(file: Path, source: str, **more: Any) -> Model:
    """A catalogue row for a file; `more` changes fields."""
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    fields = {"size": file.stat().st_size, "sha256": sha256, **more}
    return Model("tiny", "Tiny", "chat", "MIT", 1024, source, quantization="Q4_0", **fields)


def rows_toml(*models: Model) -> str:
    """A catalogue of some rows, each a family of one file."""
    parts = []
    for model in models:
        family = {"title": model.title, "role": model.role, "licence": model.licence, "context": model.context}
        rest = {"class": "4b", "commercial": True, "parameters": 1.0, "quality": 1, "quality_source": "none"}
        file = {name: getattr(model, name) for name in ("id", "source", "size", "sha256", "quantization")}
        for table, fields in ((model.id, family | rest), (f"{model.id}.files.q4_0", file | {"bits": 4})):
            lines = (f"{name} = {json.dumps(value)}" for name, value in fields.items() if value)
            parts.append("\n".join((f"[{table}]", *lines, "")))
    return "\n".join(parts)


def hub_source(revision: str = COMMIT, name: str = "model.gguf") -> str:
    """The `source` of the hub's file."""
    return f"hf:maker/model@{revision}/{name}"
