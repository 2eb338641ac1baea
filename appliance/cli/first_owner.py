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
    issuer = _issuer(settings_of(home))
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
    for line in _from_elsewhere(issuer):
        say(line)


def _issuer(settings: Settings) -> str:
    """The address of sign-on. Raises sign-on-off."""
    from appliance.errors import ApplianceError

    if not settings.identity.enabled:
        raise ApplianceError(
            "sign-on-off", "Sign-on is switched off.", "Set `enabled = true` under [identity] in the settings."
        )
    return settings.identity.issuer


def _from_elsewhere(issuer: str) -> list[str]:
    """How to open a link from another machine that leads to this one alone."""
    from urllib.parse import urlsplit

    parts = urlsplit(issuer)
    if parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        return []
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return [
        "It opens in a browser on this machine, and not on a phone. From another computer, type this there, and leave"
        " it open meanwhile:",
        f"  ssh -L {parts.port}:{host}:{parts.port} USER@THIS-MACHINE",
    ]
