"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever a credential stands for: `name` is charged, `key_id` says by which key."""

    name: str
    key_id: str
