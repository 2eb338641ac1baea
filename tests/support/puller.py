"""Pulls models, each in a process of its own that can be killed without a new start of Python.

Reads lines of `folder url size sha256`; answers each with `PID`, then with `PID CODE ERROR` once it has ended.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from appliance.artifacts.shelf import Shelf
from appliance.catalog.models import Model
from appliance.errors import ApplianceError
from tests.support.hub import FAST


def pull(folder: str, url: str, size: str, sha256: str) -> str:
    """Pull one model; the error's code, or nothing."""
    model = Model("tiny", "Tiny", "chat", "MIT", 1024, url, int(size), sha256, "Q4_0")
    try:
        Shelf(Path(folder), replace(FAST, timeout_s=2)).pull(model, lambda done, total: None)
    except ApplianceError as error:
        return error.code
    return ""


def main() -> None:
    """Serve until the input ends."""
    for line in sys.stdin:
        answer, told = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(told, pull(*line.split()).encode())
            os._exit(0)
        os.close(told)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        said = os.read(answer, 1000).decode()
        os.close(answer)
        print(child, os.waitstatus_to_exitcode(status), said, flush=True)


if __name__ == "__main__":
    main()
