"""`appliance budgets`: what people, teams, programs, models and the whole box may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from appliance.cli.common import Json, home_of, settings_of
from appliance.cli.output import document, say, table

if TYPE_CHECKING:
    from appliance.accounts.budgets import Used
    from appliance.policy.windows import Budget

app = typer.Typer(
    help="Budgets: what people, teams, programs, models and the whole box may use.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Kind = Literal["user", "team", "key", "model", "box"]
Period = Literal["minute", "day", "week", "month"]
KindArgument = Annotated[Kind, typer.Argument(help="What the budget is for: user, team, key, model or box.")]
IdArgument = Annotated[
    str | None, typer.Argument(metavar="ID", help="Its name or id, '*' for each one of the kind; box has none.")
]
_MOST = 10**15


@app.command(name="set")
def set_budget(
    context: typer.Context,
    kind: KindArgument,
    id: IdArgument = None,
    tokens: Annotated[int | None, typer.Option(min=0, max=_MOST, help="Tokens, read and written.")] = None,
    money: Annotated[
        str | None, typer.Option(metavar="X", help="Money at list price, such as 12.50; the currency is a setting.")
    ] = None,
    requests: Annotated[int | None, typer.Option(min=0, max=_MOST, help="Requests.")] = None,
    at_once: Annotated[int | None, typer.Option(min=0, max=_MOST, help="Requests under way at once.")] = None,
    per: Annotated[Period | None, typer.Option(help="minute, day, week (from Monday) or month, in UTC.")] = None,
    as_json: Json = False,
) -> None:
    """Set a budget, or change one; it holds from the next request on, and what was used already counts.

    Example: appliance budgets set user anna --tokens 20000 --per day
    """
    from appliance.accounts import budgets
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.policy.budget_words import show_limit, whose
    from appliance.policy.windows import Budget

    unit, amount = _amount(tokens, money, requests, at_once)
    if (unit == "at_once") != (per is None):
        raise _wrong(
            "Requests at once are not counted over a time." if per else "A budget needs a time to count over.",
            "Leave out --per." if per else "Add --per minute, day, week or month.",
        )
    budget = Budget(kind, _subject(kind, id), unit, per or "", amount)
    home = home_of(context)
    currency = settings_of(home).money.currency
    home.prepare()
    with acting(home) as acts:
        budgets.set_budget(acts.session, budget)
        acts.note(Action.BUDGET_SET, budget.subject, **_facts(budget))
        known = budgets.is_known(acts.session, kind, budget.subject)
    if as_json:
        document(_plain(budget, currency))
        return
    said = f"{whose(budget, budget.subject)} is {show_limit(budget, currency)}"
    say(f"{said[0].upper()}{said[1:]}, from the next request on.")
    if not known:
        say(f"No key belongs to {kind} '{budget.subject}' yet: check the name with `appliance keys list`.")


@app.command()
def remove(
    context: typer.Context,
    kind: KindArgument,
    id: IdArgument = None,
    unit: Annotated[
        Literal["tokens", "money", "requests", "at-once"] | None,
        typer.Option(help="Only the budgets of this: tokens, money, requests or at-once."),
    ] = None,
    per: Annotated[Period | None, typer.Option(help="Only the budget of a minute, day, week or month.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    as_json: Json = False,
) -> None:
    """Remove the budgets of somebody or something; from the next request on they limit nobody.

    Example: appliance budgets remove user anna --unit tokens --per day --yes
    """
    from appliance.accounts import budgets
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.errors import ApplianceError
    from appliance.policy.budget_words import show_limit, whose

    subject = _subject(kind, id)
    home = home_of(context)
    currency = settings_of(home).money.currency
    home.prepare()
    with acting(home) as acts:
        rows = budgets.matching(acts.session, kind, subject, unit and unit.replace("-", "_"), per)
        found = [budgets.value_of(row) for row in rows]
        if dry_run or not yes:
            for one in found:
                say(f"Would be removed: {whose(one, subject)} of {show_limit(one, currency)}.")
        if not yes and not dry_run:
            raise ApplianceError("needs-yes", "Nothing was changed.", "To go ahead: the same command with --yes")
        if not dry_run:
            for one in found:
                acts.note(Action.BUDGET_REMOVED, one.subject, **_facts(one))
            budgets.remove(acts.session, rows)
    if as_json:
        document([_plain(one, currency) for one in found])
    elif not dry_run:
        say("\n".join(f"Removed: {whose(one, subject)} of {show_limit(one, currency)}." for one in found))


@app.command(name="list")
def list_budgets(context: typer.Context, as_json: Json = False) -> None:
    """List the budgets: what is used of each, what is left, and when it starts again.

    Calls under way count once they have ended. A budget for '*' has a line for each name that has used any of it.

    Example: appliance budgets list
    """
    from appliance.accounts import budgets
    from appliance.policy.budget_words import show_amount, show_limit
    from appliance.store.sessions import session
    from appliance.units import now_us, show_instant

    home = home_of(context)
    currency = settings_of(home).money.currency
    home.prepare()
    with session(home.database) as opened:
        found = budgets.listed(opened, now_us())
    if as_json:
        document([_shown(one, currency) for one in found])
        return
    rows = [
        (
            one.budget.kind,
            one.budget.subject if one.name in (None, one.budget.subject) else f"* ({one.name})",
            show_limit(one.budget, currency),
            None if one.used is None else show_amount(one.budget.unit, one.used, currency),
            None if one.left is None else show_amount(one.budget.unit, one.left, currency),
            None if one.percent is None else f"{one.percent}%{' !' if _warning(one) else ''}",
            show_instant(one.resets_at),
        )
        for one in found
    ]
    table(["for", "id", "budget", "used", "left", "percent", "starts again"], rows)


def _amount(tokens: int | None, money: str | None, requests: int | None, at_once: int | None) -> tuple[str, int]:
    """The one unit that was given, and how much of it."""
    from appliance.policy.money import parse

    given = {"tokens": tokens, "money": money, "requests": requests, "at_once": at_once}
    units = [unit for unit, amount in given.items() if amount is not None]
    if len(units) != 1:
        raise _wrong("A budget is of one thing.", "Give one of --tokens, --money, --requests and --at-once.")
    amount = given[units[0]]
    if isinstance(amount, str):
        try:
            amount = parse(amount)
        except ValueError as error:
            raise _wrong(f"--money cannot be that: {error}.", "Write it as 12.50, without a currency.") from None
    assert amount is not None
    return units[0], amount


def _facts(budget: Budget) -> dict[str, str | int]:
    """What the audit log keeps of a budget."""
    return {"kind": budget.kind, "unit": budget.unit, "period": budget.period, "amount": budget.amount}


def _subject(kind: str, id: str | None) -> str:
    """Whom or what a budget is for."""
    from appliance.policy.windows import BOX

    if kind == BOX:
        if id not in (None, BOX):
            raise _wrong("There is one box, and it has no id.", "Leave the id out.")
        return BOX
    if id is None or not id.strip():
        raise _wrong(f"Which {kind}?", f"Give its name or id, or '*' for each {kind}.")
    return id.strip()


def _wrong(sentence: str, hint: str) -> Exception:
    from appliance.errors import ApplianceError

    return ApplianceError("wrong-use", sentence, hint)


def _plain(budget: Budget, currency: str) -> dict[str, Any]:
    """A budget for programs: money in micro-units of `currency`."""
    return {
        "kind": budget.kind,
        "id": budget.subject,
        "unit": budget.unit,
        "per": budget.period or None,
        "amount": budget.amount,
        "currency": currency if budget.unit == "money" else None,
    }


def _shown(one: Used, currency: str) -> dict[str, Any]:
    from appliance.units import show_instant

    return {
        **_plain(one.budget, currency),
        "name": one.name,
        "used": one.used,
        "left": one.left,
        "percent": one.percent,
        "warning": _warning(one),
        "resets_at": show_instant(one.resets_at),
    }


def _warning(one: Used) -> int | None:
    """80 or 100 once so much is used."""
    percent = one.percent or 0
    return 100 if percent >= 100 else 80 if percent >= 80 else None
