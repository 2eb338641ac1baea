"""`appliance engine`: the llama.cpp build of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from appliance.cli.common import Json
from appliance.cli.output import Progress, document, say, write

if TYPE_CHECKING:
    from appliance.engine.backends import Name, PassedOver

app = typer.Typer(help="The engine's build for this machine.", no_args_is_help=True, rich_markup_mode=None)

_BACKEND = typer.Option("--backend", help="Build for this, and fail where that is not possible; else the best that is.")
_CAPABILITY = typer.Option(
    "--capability", help="With --backend cuda: the compute capability to build for, as 8.6; may be given several times."
)
_RETRY = typer.Option("--retry", help="Try builds again that failed on this machine before.")


@app.command()
def build(
    backend: Annotated[Literal["cpu", "cuda", "vulkan"] | None, _BACKEND] = None,
    capability: Annotated[list[str] | None, _CAPABILITY] = None,
    retry: Annotated[bool, _RETRY] = False,
    as_json: Json = False,
) -> None:
    """Build the engine for this machine, or find the build in the cache; prints the wheel's path.

    For NVIDIA cards it is built for CUDA, for others for Vulkan, else for the processor. Where the better one
    is not possible, it says why and takes the next.

    Example: appliance engine build
    """
    from appliance.config.paths import cache_folder
    from appliance.engine.build import Wish
    from appliance.engine.build import build as make
    from appliance.hardware.probe import probe

    wish = Wish(backend, tuple(capability or ()), retry)
    built = make(probe(), cache_folder(), Progress().count, _told, wish)
    if as_json:
        passed_over = [one.to_json() for one in built.passed_over]
        size = built.wheel.stat().st_size
        document({"wheel": str(built.wheel), "bytes": size, "backend": built.backend, "passed_over": passed_over})
    else:
        write(f"{built.wheel}\n")


def _told(over: PassedOver, instead: Name) -> None:
    """A better build is passed over; or one way to make it, and there is another."""
    from appliance.engine.backends import NAMES

    name = NAMES[over.backend]
    if over.backend == instead:
        say(f"The system's toolkit for {name} does not serve, and the pinned packages are tried: {over.reason}")
        return
    say(f"WARNING: the engine is not built for {name}, but for {NAMES[instead]} at best: {over.reason}")
    say(f"  Next: {over.next}")
