"""The recovery key: twelve words of BIP 39, which are the password of the backups as they stand."""

from __future__ import annotations

from typing import Final

from mnemonic import Mnemonic

from appliance.config.paths import Home
from appliance.errors import ApplianceError
from appliance.store.files import write_atomic

_BITS: Final = 128


def make() -> str:
    """New words, 128 random bits and their check sum, with one space between them."""
    return Mnemonic("english").generate(_BITS)


def read(typed: str) -> str:
    """The words that somebody typed, in their one form. Raises backup-wrong-key."""
    words = " ".join(typed.lower().split())
    if not Mnemonic("english").check(words):
        raise ApplianceError(
            "backup-wrong-key",
            "These are not the words of a recovery key: one of them is missing, misspelt or in another place.",
            "Type the twelve words in their order, with a space between them.",
        )
    return words


def keep(home: Home, words: str) -> None:
    """Have the box know its own key, so that it can make backups by itself."""
    home.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(home.backup_key, words.encode(), 0o600)
