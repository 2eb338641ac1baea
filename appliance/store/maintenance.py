"""The file that closes the doors while the appliance is updated: nobody is served, and nothing is changed, but by the
update itself, which knows the word that stands in it."""

from __future__ import annotations

import hmac
import secrets
from pathlib import Path

from appliance.config.paths import update_word
from appliance.errors import ApplianceError
from appliance.store.files import sync_folder, write_atomic

# When a client may come again, in seconds.
RETRY_S = 30


def close(file: Path) -> str:
    """Close the doors; returns the word that opens them."""
    word = secrets.token_hex(16)
    write_atomic(file, word.encode(), 0o600)
    return word


def open_again(file: Path) -> None:
    """Open the doors. Safe to do again."""
    if file.exists():
        file.unlink()
        sync_folder(file.parent)


def admit(file: Path, word: str | None) -> None:
    """Raises updating while the doors are closed to whoever knows no better word."""
    try:
        expected = file.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError:
        expected = ""
    if not expected or not hmac.compare_digest(expected.encode(), (word or "").encode()):
        raise updating()


def updating() -> ApplianceError:
    """What everybody is told meanwhile."""
    return ApplianceError(
        "updating", "The appliance is being updated.", "It answers again in a few minutes.", retry_after_s=RETRY_S
    )


def is_ours(file: Path) -> bool:
    """Whether the doors are closed, by the update that this process is a part of."""
    try:
        admit(file, None)
    except ApplianceError:
        try:
            admit(file, update_word())
        except ApplianceError:
            return False
        return True
    return False
