"""Keep and find what tuning has found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlmodel import Session, col, select

from appliance.engine.arguments import DEFAULTS, Options
from appliance.proof.settings import FLASH, GUESSES, KV_TYPES, MOST_SLOTS
from appliance.proof.tables import Tuning
from appliance.units import now_us

_MOST_THREADS: Final = 1024
_MOST_TOKENS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Tuned:
    """What is in force for a model on a machine; what is open was best left as it is."""

    options: Options = DEFAULTS
    threads: int | None = None
    slots: int | None = None
    kv: str | None = None


def save(
    session: Session, machine: str, model: str, found: Mapping[str, int | str], table: Sequence[Mapping[str, Any]]
) -> None:
    """Put on record what differs from the defaults (see `settings.differences`), and what was tried."""
    session.add(
        Tuning(
            at=now_us(),
            machine=machine,
            model=model,
            options=json.dumps(dict(found)),
            table=json.dumps([dict(row) for row in table]),
        )
    )


def newest(session: Session, machine: str, model: str) -> Tuned | None:
    """What the last tuning of a model on a machine has found; None where there was none."""
    row = newest_row(session, machine, model)
    return None if row is None else read(row.options)


def newest_row(session: Session, machine: str, model: str) -> Tuning | None:
    """The last tuning of a model on a machine, with its table."""
    query = select(Tuning).where(Tuning.machine == machine, Tuning.model == model)
    return session.exec(query.order_by(col(Tuning.id).desc()).limit(1)).first()


def read(text: str) -> Tuned:
    """What was stored. What this version does not know, of name or of value, is left out: nothing else may start."""
    try:
        stored = json.loads(text)
    except ValueError:
        return Tuned()
    known = {
        name: value
        for name, value in (stored.items() if isinstance(stored, dict) else ())
        if name in _VALUES and _VALUES[name](value)
    }
    own = {name: known.pop(name) for name in ("threads", "slots", "kv") if name in known}
    return Tuned(Options(**known), **own)


def _number(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _one_of(values: tuple[str, ...]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in values


_VALUES: Final[dict[str, Callable[[Any], bool]]] = {
    "threads": _number(1, _MOST_THREADS),
    "slots": _number(1, MOST_SLOTS),
    "kv": _one_of(KV_TYPES),
    "reading_threads": _number(0, _MOST_THREADS),
    "micro_batch": _number(1, _MOST_TOKENS),
    "batch": _number(1, _MOST_TOKENS),
    "flash": _one_of(FLASH),
    "guess": _one_of(GUESSES),
}
