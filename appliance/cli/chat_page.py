"""`appliance chat-page`: the page that staff chat on."""

from __future__ import annotations

import typer

from appliance.cli.common import Json
from appliance.cli.output import Progress, document, say

app = typer.Typer(help="The page that staff chat on.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def install(as_json: Json = False) -> None:
    """Install the chat page (Open WebUI), or find that it is installed.

    It takes a minute or two and 1.2 GB. `appliance up` starts it once the settings have `enabled = true` under [chat].

    Example: appliance chat-page install
    """
    from appliance.chat.install import install as make
    from appliance.chat.install import version
    from appliance.config.paths import cache_folder

    python = make(cache_folder(), Progress().count)
    if as_json:
        document({"version": version(), "python": str(python)})
    else:
        say(f"Open WebUI {version()} is installed.")
