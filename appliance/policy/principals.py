"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever a credential stands for: `name` is charged, `key_id` says by which key, `team` for whom.

    `priority` is the class of the fair queue. `models` and `endpoints` are those that the key is for; empty is all.
    `by_chat_page` is whether they come by the chat page, which says what it asks for in their name.
    """

    name: str
    key_id: str
    team: str = ""
    priority: str = "api"
    models: frozenset[str] = frozenset()
    endpoints: frozenset[str] = frozenset()
    by_chat_page: bool = False
