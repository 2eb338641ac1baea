"""`appliance engine`: the llama.cpp build of this machine."""

from __future__ import annotations

import typer

from appliance.cli.common import Json
from appliance.cli.output import Progress, document, write

app = typer.Typer(help="The engine's build for this machine.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def build(as_json: Json = False) -> None:
    """Build the engine for this machine, or find the build in the cache; prints the wheel's path.

    Example: appliance engine build
    """
    from appliance.config.paths import cache_folder
    from appliance.engine.build import build as make
    from appliance.hardware.probe import probe

    wheel = make(probe(), cache_folder(), Progress().count)
    if as_json:
        document({"wheel": str(wheel), "bytes": wheel.stat().st_size})
    else:
        write(f"{wheel}\n")
