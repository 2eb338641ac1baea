"""`appliance ca`: the certificate that devices are to trust."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.common import Json, home_of, settings_of
from appliance.cli.output import document, say, write

if TYPE_CHECKING:
    from appliance.config.settings import Settings
    from appliance.lan.authority import Authority

app = typer.Typer(help="The certificate that devices are to trust.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def show(context: typer.Context, as_json: Json = False) -> None:
    """Show the fingerprint to compare with before a device is told to trust the box, and where the steps are.

    Example: appliance ca show
    """
    found, settings = _read(context)
    if as_json:
        document(_facts(found, settings))
        return
    write(f"name         {found.name}\nfingerprint  {found.fingerprint}\n")
    write(f"on Windows   {found.thumbprint}\ngood until   {found.until:%Y-%m-%d}\n")
    if settings.lan.enabled:
        write(f"steps        {settings.lan.trust}\n")


@app.command()
def export(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Where to write it; standard output when left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the certificate as PEM text, for devices that your company looks after. It holds no secret.

    Example: appliance ca export appliance-ca.crt
    """
    from appliance.errors import ApplianceError

    found, settings = _read(context)
    if file is not None:
        try:
            file.write_text(found.pem)
        except OSError as error:
            raise ApplianceError(
                "wrong-use", f"{file} cannot be written: {error.strerror}.", "Name a file in a folder of yours."
            ) from error
    if as_json:
        document(_facts(found, settings) | {"file": str(file) if file else None, "pem": found.pem})
    elif file is None:
        write(found.pem)
    else:
        say(f"{file} is the certificate of {found.host}. Its fingerprint: {found.fingerprint}")


def _read(context: typer.Context) -> tuple[Authority, Settings]:
    """The certificate of the name in the settings. Raises ca-missing or ca-unreadable."""
    from appliance.lan import authority

    home = home_of(context)
    settings = settings_of(home)
    return authority.read(home, settings.lan.host), settings


def _facts(found: Authority, settings: Settings) -> dict[str, Any]:
    return {
        "host": found.host,
        "name": found.name,
        "fingerprint": found.fingerprint,
        "thumbprint": found.thumbprint,
        "until": found.until.isoformat(),
        "steps": settings.lan.trust if settings.lan.enabled else None,
    }
