"""Why a part of the machine cannot be used: the table of all that a probe can find wrong.

A code is a promise, as in `errors`, but none of these stops a command: it is a fact like the others.
Each reason says what is wrong and what to do, in one sentence.
"""

from __future__ import annotations

from typing import Final

from appliance.hardware.facts import Problem

REASONS: Final = {
    "nvidia-driver-missing": (
        "There is an NVIDIA card but no driver for it; install NVIDIA's driver, or let the container use the card."
    ),
    "nvidia-driver-mismatch": (
        "The NVIDIA driver was updated while an older one was running, and the two do not fit together;"
        " restart the machine."
    ),
    "nvidia-driver-not-loaded": (
        "The NVIDIA driver is installed but not running; restart the machine, and if that does not help,"
        " install the driver again."
    ),
    "nvidia-no-permission": (
        "This user may not use the NVIDIA cards; let it read and write /dev/nvidia*, or run this as root."
    ),
    "nvidia-failed": (
        'The NVIDIA driver failed with "{error}" (NVML {value}); restart the machine, and if that does not help,'
        " install the driver again."
    ),
    "gpu-lost": (
        "The card no longer answers; switch the machine off, check the card's power cables, and switch it on again."
    ),
    "gpu-needs-reset": "The card must be reset before it works again; restart the machine.",
    "gpu-driver-missing": (
        "The card has no driver; install the newest Linux kernel and the package of firmware for the card's maker."
    ),
    "gpu-no-permission": (
        "This user may not use the card; add it to the group that owns {file}, or let the container use that file."
    ),
    "gpu-memory-unknown": (
        "The card's driver does not say how much memory it has, so the card is not counted on;"
        " a newer Linux kernel may."
    ),
    "gpu-use-unknown": (
        "The card's driver does not say how much of its memory is in use, so all of it counts as free;"
        " let no other program use the card."
    ),
}


def problem(subject: str, code: str, **details: object) -> Problem:
    """A problem of the table; `details` are what its reason leaves open."""
    return Problem(subject, code, REASONS[code].format(**details))
