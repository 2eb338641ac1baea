"""`appliance usage`: what was used, by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.common import Json, home_of
from appliance.cli.output import document, table

if TYPE_CHECKING:
    from sqlmodel import Session

_ROW = ("started_at", "principal", "model", "prompt_tokens", "completion_tokens", "total_ms", "outcome", "request_id")
_ROUTE = (
    "model_asked", "model", "route", "calls", "not_complete", "prompt_tokens", "completion_tokens", "first_token_ms",
    "tokens_per_s",
)  # fmt: skip
_TASK = (
    "principal", "priority", "task", "calls", "not_complete", "prompt_tokens", "cached_tokens", "completion_tokens",
)  # fmt: skip
_TOTAL = ("principal", "model", "calls", "not_complete", "prompt_tokens", "cached_tokens", "completion_tokens")


def usage(
    context: typer.Context,
    rows: Annotated[bool, typer.Option("--rows", help="Each call, newest first, instead of totals.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="With --rows: how many.")] = 100,
    routes: Annotated[bool, typer.Option("--routes", help="By name asked for, model and why it was chosen.")] = False,
    tasks: Annotated[
        bool, typer.Option("--tasks", help="By person and what was asked for in their name: titles, tags.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show tokens by person and model, by route, by task, or each call.

    Example: appliance usage --rows --limit 20
    """
    from appliance.errors import ApplianceError
    from appliance.store.sessions import session

    if rows + routes + tasks > 1:
        raise ApplianceError(
            "wrong-use", "`--rows`, `--routes` and `--tasks` are different lists.", "Leave all but one of them out."
        )
    home = home_of(context)
    home.prepare()
    with session(home.database) as opened:
        found = _found(opened, limit if rows else 0, routes=routes, tasks=tasks)
    if as_json:
        document(found)
        return
    columns = _ROUTE if routes else _TASK if tasks else _ROW if rows else _TOTAL
    table([name.replace("_", " ") for name in columns], [_cells(row, columns) for row in found])


def _found(opened: Session, limit: int, *, routes: bool, tasks: bool) -> list[dict[str, Any]]:
    """The list that was asked for: routes, tasks, the `limit` newest rows, or, without a limit, totals."""
    from appliance.ledger import usage as ledger

    if routes:
        return ledger.routes(opened)
    if tasks:
        return ledger.tasks(opened)
    return ledger.rows(opened, limit) if limit else ledger.totals(opened)


def _cells(row: dict[str, Any], columns: tuple[str, ...]) -> list[Any]:
    return [row[name] for name in columns]
