"""The `appliance` command: its global options, and where each command group is mounted.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from appliance.cli import (
    audit,
    backup,
    batches,
    budgets,
    ca,
    chat,
    chat_page,
    clients,
    cloud,
    doctor,
    engine,
    first_owner,
    groups,
    hardware,
    keys,
    lifecycle,
    models,
    planning,
    proving,
    secrets,
    sources,
    tuning,
    update,
    usage,
    users,
    using,
)
from appliance.cli.common import CARE, INSPECT, MODELS, PEOPLE, START, USAGE
from appliance.cli.panels import PanelGroup

_HELP = """Your company's own AI, on your own machine, with exact books.

Begin with `appliance up`, then ask: `appliance chat "Hello"`.
"""

app = typer.Typer(
    name="appliance",
    cls=PanelGroup,
    help=_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from appliance.cli.output import write
        from appliance.config.version import VERSION

        write(f"appliance {VERSION}\n")
        raise typer.Exit


@app.callback()
def options(
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings file to use instead of the installed one.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="State folder to use instead of the installed one.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of every command."""


app.command(rich_help_panel=START)(lifecycle.up)
app.command(rich_help_panel=START)(lifecycle.down)
app.command(rich_help_panel=START)(lifecycle.status)
app.command(rich_help_panel=START)(chat.chat)
models.app.command()(planning.plan)
models.app.command()(planning.fit)
models.app.command()(using.use)
models.app.command()(proving.prove)
models.app.command()(tuning.tune)
app.add_typer(models.app, name="models", rich_help_panel=MODELS)
users.app.command("owner-link")(first_owner.owner_link)
app.add_typer(users.app, name="users", rich_help_panel=PEOPLE)
users.app.command()(sources.show)
users.app.command()(sources.unlink)
app.add_typer(sources.app, name="sign-in", rich_help_panel=PEOPLE)
app.add_typer(groups.app, name="groups", rich_help_panel=PEOPLE)
app.add_typer(keys.app, name="keys", rich_help_panel=PEOPLE)
app.add_typer(clients.app, name="clients", rich_help_panel=PEOPLE)
app.add_typer(cloud.app, name="cloud", rich_help_panel=PEOPLE)
app.command(rich_help_panel=USAGE)(usage.usage)
app.add_typer(batches.app, name="batches", rich_help_panel=USAGE)
app.add_typer(budgets.app, name="budgets", rich_help_panel=USAGE)
app.command(rich_help_panel=CARE)(doctor.doctor)
app.command(rich_help_panel=CARE)(lifecycle.logs)
app.command(rich_help_panel=CARE)(doctor.report)
app.add_typer(backup.app, name="backup", rich_help_panel=CARE)
app.command(rich_help_panel=CARE)(backup.restore)
app.add_typer(update.app, name="update", rich_help_panel=CARE)
app.add_typer(secrets.app, name="secrets", rich_help_panel=CARE)
app.add_typer(ca.app, name="ca", rich_help_panel=CARE)
app.add_typer(audit.app, name="audit", rich_help_panel=INSPECT)
app.command(rich_help_panel=INSPECT)(hardware.hardware)
app.command(rich_help_panel=INSPECT)(lifecycle.serve)
app.command(rich_help_panel=INSPECT)(lifecycle.identity)
app.add_typer(chat_page.app, name="chat-page", rich_help_panel=INSPECT)
app.add_typer(engine.app, name="engine", rich_help_panel=INSPECT)


def main() -> None:
    """Run the command line."""
    from appliance.cli.output import leave, reported

    with reported(as_json="--json" in sys.argv):
        leave(_run())


def _run() -> int:
    """Run the command of this command line; its exit code, where it does not raise."""
    from appliance.cli.output import say
    from appliance.errors import INTERRUPTED, WRONG_USE, ApplianceError

    try:
        code = app(prog_name="appliance", standalone_mode=False)
    except typer.TyperException as error:
        message = error.format_message()
        if message.startswith("Usage:"):
            # A group was named without a command: its help is the answer.
            say(message)
            return WRONG_USE
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "appliance"
        raise ApplianceError("wrong-use", message, f"See `{path} --help`.") from error
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return int(code or 0)
