"""Links for people, on their way: by mail where there is a mail server, else shown, this once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from appliance.cli.common import home_of, settings_of
from appliance.cli.output import document, say, write

if TYPE_CHECKING:
    from appliance.config.settings import Settings
    from appliance.errors import ApplianceError


def hand_over(
    context: typer.Context, found: dict[str, Any], purpose: str, language: str, *, mail: bool, as_json: bool
) -> None:
    """Send a link to whom it is for; show it where it could not be sent, or `mail` is not wanted.

    It is stored by now, so a mail that does not go out loses nothing.
    """
    settings = settings_of(home_of(context))
    wanted = mail and settings.mail.server is not None
    problem = _send(settings, found, purpose, language) if wanted else None
    mailed = wanted and problem is None
    if as_json:
        document({**found, "mailed": mailed, "mail_problem": problem and problem.to_json()})
        return
    if problem is not None:
        say(f"{problem.sentence} {problem.hint}")
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


def _send(settings: Settings, found: dict[str, Any], purpose: str, language: str) -> ApplianceError | None:
    """Why it could not be sent; None where it was."""
    from appliance.control.mail import send
    from appliance.errors import ApplianceError
    from appliance.identity.pages import Pages

    if not found["link"].startswith("http"):
        return ApplianceError(
            "sign-on-off",
            "No mail was sent: sign-on is switched off, so the link leads nowhere yet.",
            "Set `enabled = true` under [identity] in the settings.",
        )
    pages = Pages()
    words = pages.say(pages.language(language or settings.mail.language))
    text = words[f"mail_{purpose}"].format(name=found["name"], link=found["link"], until=_moment(found))
    try:
        send(settings.mail, found["email"], found["name"], words[f"mail_{purpose}_title"], text)
    except ApplianceError as error:
        return error
    return None


def _until(found: dict[str, Any]) -> str:
    return f"until {_moment(found)}"


def _moment(found: dict[str, Any]) -> str:
    return f"{found['expires_at'][:16].replace('T', ' ')} UTC"
