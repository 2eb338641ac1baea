"""Where the engine's programs are: in the wheel that was built for this machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from appliance.errors import ApplianceError


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
