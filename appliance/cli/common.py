"""What every command shares: which appliance it means, its settings, and the options that recur."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from appliance.config.paths import Home
    from appliance.config.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

START, MODELS, PEOPLE, USAGE, CARE, INSPECT = "Get started", "Models", "People", "Usage", "Care", "Inspect"


def home_of(context: typer.Context) -> Home:
    """The appliance that `--config` and `--state` name, or the installed one."""
    from appliance.config.paths import at_home, find_home
    from appliance.store.privilege import step_down

    options = context.find_root().params
    home = find_home(options["config"], options["state"])
    _check_may(home)
    # What root does is done as the state's owner, or the services could not read it.
    theirs = step_down(home.state)
    if theirs is not None:
        at_home(theirs)
    return home


def _check_may(home: Home) -> None:
    """Raises needs-root."""
    from appliance.errors import ApplianceError
    from appliance.supervise import systemd

    if systemd.is_closed_to_us(home.run):
        raise ApplianceError(
            "needs-root", "The appliance is a part of this system, and its state is closed to you.",
            "Put sudo in front of the same command.",
        )  # fmt: skip


def settings_of(home: Home) -> Settings:
    """The settings of an appliance. Raises the config errors."""
    from appliance.config.load import load

    return load(home.config)


def confirm(yes: bool, dry_run: bool, words: str) -> None:
    """Raises needs-yes unless it is confirmed, or only tried."""
    from appliance.errors import ApplianceError

    if not yes and not dry_run:
        raise ApplianceError("needs-yes", "Nothing was changed.", f"To go ahead: appliance {words} --yes")
