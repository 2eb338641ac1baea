"""The values that go into the ledger, and the SQL that puts them there.

The request path writes with the database driver itself: a row through the ORM costs a
hundred times as much, and importing it 20 MiB. A test holds these column names against
`ledger.tables`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from typing import Any


class Outcome(StrEnum):
    """How a call ended. `OPEN` is the only one that is not an end."""

    OPEN = "open"
    COMPLETE = "complete"
    CANCELLED = "cancelled"
    FAILED = "failed"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Opening:
    """A call as it begins."""

    id: int
    request_id: str
    principal: str
    team: str
    key_id: str
    endpoint: str
    priority: str
    task: str | None
    model_asked: str
    model: str
    provider: str
    route: str | None
    streamed: bool
    started_at: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """A call as it ended; `id` is the opening's."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    exact: bool
    queue_ms: int
    first_token_ms: int | None
    total_ms: int
    outcome: Outcome
    error: str | None
    cost: int
    avoided_cost: int
    energy_mj: int | None
    settled_at: int
    id: int


_OPEN = tuple(field.name for field in fields(Opening))
_SETTLE = tuple(field.name for field in fields(Settlement) if field.name != "id")

OPEN_SQL = (
    f"INSERT INTO call ({', '.join(_OPEN)}, prompt_tokens, cached_tokens, completion_tokens, exact,"
    " queue_ms, total_ms, cost, avoided_cost, outcome)"
    f" VALUES ({', '.join('?' * len(_OPEN))}, 0, 0, 0, 1, 0, 0, 0, 0, 'open')"
)
# A row is settled once: whoever comes second changes nothing.
SETTLE_SQL = f"UPDATE call SET {', '.join(f'{name} = ?' for name in _SETTLE)} WHERE id = ? AND settled_at IS NULL"
SWEEP_SQL = "UPDATE call SET outcome = 'interrupted', exact = 0, settled_at = ? WHERE settled_at IS NULL"
LAST_ID_SQL = "SELECT coalesce(max(id), 0) FROM call"


# The parameters of each statement; dataclasses.astuple would copy every value first.
open_row: Callable[[Opening], tuple[Any, ...]] = attrgetter(*_OPEN)
settle_row: Callable[[Settlement], tuple[Any, ...]] = attrgetter(*_SETTLE, "id")
