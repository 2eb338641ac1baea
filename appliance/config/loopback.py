"""The names of this machine for itself: what goes there leaves it on no wire, so it needs no encryption."""

from __future__ import annotations

from typing import Final

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
