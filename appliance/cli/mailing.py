"""Links for people, on their way: by mail where there is a mail server, else shown, this once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from appliance.cli.common import home_of, settings_of
from appliance.cli.output import document, say, write

if TYPE_CHECKING:
    from appliance.config.settings import Settings


def hand_over(
    context: typer.Context, found: dict[str, Any], purpose: str, language: str, *, mail: bool, as_json: bool
) -> None:
    """Send a link to whom it is for; show it where it could not be sent, or `mail` is not wanted.

    It is stored by now, so a mail that does not go out loses nothing.
    """
    settings = settings_of(home_of(context))
    problem = _send(settings, found, purpose, language) if mail and settings.mail.server else None
    mailed = mail and settings.mail.server is not None and problem is None
    if as_json:
        document({**found, "mailed": mailed, "mail_problem": problem})
        return
    if problem is not None:
        say(problem)
    if mailed:
        say(
            f"A mail with the link is on its way to {found['name']} <{found['email']}>. It works once, {_until(found)}."
        )
        return
    write(found["link"] + "\n")
    say(
        f"This is for {found['name']} <{found['email']}> alone. It works once, {_until(found)}, and is not shown again."
    )
    if not found["link"].startswith("http"):
        say("It is a path below the address of the sign-on page.")


def _send(settings: Settings, found: dict[str, Any], purpose: str, language: str) -> str | None:
    """Why it could not be sent; None where it was."""
    from appliance.control.mail import send
    from appliance.errors import ApplianceError
    from appliance.identity.pages import Pages

    if not found["link"].startswith("http"):
        return "No mail was sent: sign-on is switched off, so the link leads nowhere yet."
    pages = Pages()
    words = pages.say(pages.language(language or settings.mail.language))
    text = words[f"mail_{purpose}"].format(name=found["name"], link=found["link"], until=_moment(found))
    try:
        send(settings.mail, found["email"], found["name"], words[f"mail_{purpose}_title"], text)
    except ApplianceError as error:
        return f"{error.sentence} {error.hint}"
    return None


def _until(found: dict[str, Any]) -> str:
    return f"until {_moment(found)}"


def _moment(found: dict[str, Any]) -> str:
    return f"{found['expires_at'][:16].replace('T', ' ')} UTC"
