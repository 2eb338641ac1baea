"""Budgets as the admin handles them: set, removed, and listed with what is used."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from sqlmodel import Session, col, select

from appliance.accounts import keys, people
from appliance.accounts.tables import ApiKey
from appliance.accounts.tables import Budget as BudgetRow
from appliance.errors import ApplianceError
from appliance.ledger.sums import sums
from appliance.policy.periods import bounds
from appliance.policy.windows import BOX, EACH, Budget, Sum
from appliance.units import now_us


@dataclass(frozen=True, slots=True)
class Used:
    """A budget and what the ledger says is used of it in this window, by `name`, None where `*` names nobody yet.

    `used` is None where nothing is summed up: of what is under way only the gateway knows.
    """

    budget: Budget
    name: str | None
    used: int | None
    resets_at: int | None

    @property
    def left(self) -> int | None:
        """What may still be used; never less than nothing."""
        return None if self.used is None else max(0, self.budget.amount - self.used)

    @property
    def percent(self) -> int | None:
        """How much is used, rounded down."""
        if self.used is None:
            return None
        return 100 * self.used // self.budget.amount if self.budget.amount else 100


def set_budget(session: Session, budget: Budget) -> BudgetRow:
    """Set a budget, or change its amount. Raises key-not-found."""
    if budget.kind == "key" and budget.subject != EACH:
        keys.find(session, budget.subject)
    row = session.get(BudgetRow, (budget.kind, budget.subject, budget.unit, budget.period))
    if row is None:
        row = BudgetRow(
            kind=budget.kind, subject=budget.subject, unit=budget.unit, period=budget.period, amount=0, at=0
        )
        session.add(row)
    row.amount, row.at = budget.amount, now_us()
    return row


def is_known(session: Session, kind: str, subject: str) -> bool:
    """Whether a user or a team has an account or a key; true of all other kinds, of which neither tells."""
    column = {"user": ApiKey.owner, "team": ApiKey.team}.get(kind)
    if column is None or subject == EACH:
        return True
    if people.is_known(session, kind, subject):
        return True
    return session.exec(select(ApiKey).where(col(column) == subject).limit(1)).first() is not None


def matching(
    session: Session, kind: str, subject: str, unit: str | None = None, period: str | None = None
) -> list[BudgetRow]:
    """The budgets of one subject, of one unit and of one period if these are given. Raises budget-not-found."""
    query = select(BudgetRow).where(BudgetRow.kind == kind, BudgetRow.subject == subject)
    found = [
        row
        for row in session.exec(query.order_by(col(BudgetRow.unit), col(BudgetRow.period)))
        if unit in (None, row.unit) and period in (None, row.period)
    ]
    if not found:
        name = "the box" if kind == BOX else f"{kind} '{subject}'"
        raise ApplianceError(
            "budget-not-found", f"No such budget is set for {name}.", "See what is set with `appliance budgets list`."
        )
    return found


def remove(session: Session, rows: list[BudgetRow]) -> None:
    """Remove budgets: from the next request on they limit nobody."""
    for row in rows:
        session.delete(row)


def value_of(row: BudgetRow) -> Budget:
    """A row as a value."""
    return Budget(row.kind, row.subject, row.unit, row.period, row.amount)


def listed(session: Session, now: int) -> list[Used]:
    """All budgets with what is used of them, a budget for `*` once for each name that has used any, most first."""
    order = (col(BudgetRow.kind), col(BudgetRow.subject), col(BudgetRow.unit), col(BudgetRow.period))
    budgets = [value_of(row) for row in session.exec(select(BudgetRow).order_by(*order))]
    connection = session.connection().connection.driver_connection
    assert isinstance(connection, sqlite3.Connection)
    found: dict[tuple[str, str], dict[str, Sum]] = {}
    for kind, period in {(one.kind, one.period) for one in budgets if one.period}:
        rows = sums(connection, kind, *bounds(period, now))
        found[kind, period] = {name: Sum(*row) for name, row in rows.items() if name}
    return [used for one in budgets for used in _used(one, budgets, found.get((one.kind, one.period)), now)]


def _used(budget: Budget, budgets: list[Budget], found: dict[str, Sum] | None, now: int) -> list[Used]:
    """What is used of one budget; of one for `*` by those who have none of their own."""
    if found is None:
        return [Used(budget, None if budget.subject == EACH else budget.subject, None, None)]
    end = bounds(budget.period, now)[1]
    if budget.subject != EACH:
        return [Used(budget, budget.subject, found.get(budget.subject, Sum()).of(budget.unit), end)]
    own = {one.subject for one in budgets if (one.kind, one.unit, one.period) == budget_key(budget)}
    by_name = [Used(budget, name, one.of(budget.unit), end) for name, one in found.items() if name not in own]
    return sorted(by_name, key=lambda one: (-(one.used or 0), one.name)) or [Used(budget, None, 0, end)]


def budget_key(budget: Budget) -> tuple[str, str, str]:
    """What a name's own budget and the one for `*` have in common, where the one takes the place of the other."""
    return budget.kind, budget.unit, budget.period
