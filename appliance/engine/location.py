"""Where the engine's programs are, and what they were built for: in the wheel that was built for this machine."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.engine.backends import NAMES, Name
from appliance.errors import ApplianceError

# Beside the programs: what they were built for.
ABOUT: Final = "backend.json"


@dataclass(frozen=True, slots=True)
class Installed:
    """The engine that is installed: its backend, the chips of a CUDA build (`90` is 9.0), version and build.

    `version` and `key` are open for an engine from before it said so.
    """

    backend: Name
    architectures: tuple[str, ...] = ()
    version: str | None = None
    key: str | None = None


def find(program: str = "llama-server") -> Path:
    """An engine program's path. Raises engine-missing."""
    # find_spec does not run the bindings, it only says where they are.
    spec = importlib.util.find_spec("llama_cpp")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder, "lib", program)
        if path.is_file():
            return path
    raise ApplianceError(
        "engine-missing", f"The engine's program {program} is not installed.", "Run the installer again."
    )


def installed() -> Installed:
    """What the installed engine was built for. Raises engine-missing."""
    return about(find().parent)


def about(folder: Path) -> Installed:
    """What the engine in a folder was built for; the processor, where it does not say. Raises engine-missing."""
    file = folder / ABOUT
    try:
        said = json.loads(file.read_text())
        name: Name = next(name for name in NAMES if name == said["backend"])
        return Installed(name, tuple(map(str, said["architectures"])), str(said["version"]), str(said["key"]))
    except FileNotFoundError:
        return Installed("cpu")
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise ApplianceError(
            "engine-missing", f"What the engine was built for cannot be read in {file}.", "Run the installer again."
        ) from error
