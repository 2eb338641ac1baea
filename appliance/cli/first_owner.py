"""`appliance users owner-link`: how somebody becomes the first owner of a new appliance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.common import Json, home_of, settings_of
from appliance.cli.output import document, is_terminal, say, write

if TYPE_CHECKING:
    from appliance.config.settings import Settings

NOBODY = (
    "Nobody owns this appliance yet. `appliance users owner-link` makes a link on which you say who you are and choose"
    " a password."
)


def owner_link(
    context: typer.Context,
    qr: Annotated[
        bool | None, typer.Option("--qr/--no-qr", help="Show it as a QR code too; else only on a terminal.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a one-time link on which the first owner says who they are, and chooses a password.

    It works once, for 24 hours, and voids an earlier one. Refused once somebody owns the appliance.

    Example: appliance users owner-link
    """
    from appliance.accounts import links, owners
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.units import show_instant

    home = home_of(context)
    settings = settings_of(home)
    issuer = _issuer(settings)
    with acting(home) as acts:
        owners.must_be_none(acts.session)
        link, secret = links.make(acts.session, None, links.OWNER)
        ends = show_instant(link.expires_at) or ""
        acts.note(Action.OWNER_INVITED, "", expires_at=ends)
    address = links.address(issuer, secret)
    if as_json:
        document({"link": address, "expires_at": ends})
        return
    if is_terminal() if qr is None else qr:
        from appliance.identity import qr as codes

        write(codes.terminal(address))
    write(f"{address}\n")
    say(f"Whoever opens this link first owns the appliance. It works once, until {ends[:16].replace('T', ' ')} UTC.")
    # Whoever has set a password is sent on to the chat page.
    for line in _from_elsewhere(issuer, *([settings.chat.origin] if settings.chat.enabled else [])):
        say(line)


def _issuer(settings: Settings) -> str:
    """The address of sign-on. Raises sign-on-off."""
    from appliance.errors import ApplianceError

    if not settings.identity.enabled:
        raise ApplianceError(
            "sign-on-off", "Sign-on is switched off.", "Set `enabled = true` under [identity] in the settings."
        )
    return settings.identity.issuer


def _from_elsewhere(*origins: str) -> list[str]:
    """How to open a link from another machine, where these addresses, its own first, lead to this one alone."""
    from urllib.parse import urlsplit

    found = [urlsplit(one) for one in origins]
    ours = [one for one in found if one.hostname in ("127.0.0.1", "::1", "localhost")]
    if found[0] not in ours:
        return []
    ways = [
        f"-L {one.port}:{f'[{one.hostname}]' if ':' in (one.hostname or '') else one.hostname}:{one.port}"
        for one in ours
    ]
    return [
        "It opens in a browser on this machine, not on a phone. From another computer, type this there, and leave it"
        " open meanwhile:",
        f"  ssh {' '.join(ways)} USER@THIS-MACHINE",
    ]
