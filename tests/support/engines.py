"""The far side of the gateway: an OpenAI-compatible engine as a process of its own, that can misbehave."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from types import TracebackType
from typing import Any

from tests.support.box import environment


class FakeEngine:
    """Runs `tests.support.fake_engine` on a free port. What it does stands in the prompt: see there."""

    def __init__(self, name: str = "fake") -> None:
        program = [sys.executable, "-m", "tests.support.fake_engine", name]
        self._process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment())
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def stats(self) -> dict[str, Any]:
        """What it has seen: `asked`, `finished`, `cancelled`, `connections` that asked, and the `last` request body."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats", timeout=10) as response:
            found: dict[str, Any] = json.load(response)
        return found

    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
