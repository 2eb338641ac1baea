"""Hardware facts in a file, as `appliance hardware --json` prints them."""

from __future__ import annotations

import json
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.hardware.facts import Hardware


def load(file: Path) -> Hardware:
    """The facts saved in a file. Raises hardware-file-bad."""
    try:
        value = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise ApplianceError(
            "hardware-file-bad",
            f"{file} cannot be read: {reason}.",
            "Name a file that was written with: appliance hardware --json > FILE",
        ) from error
    return Hardware.from_json(value, str(file))
