"""`appliance models prove`: what the engines take and how fast they are, against the plan and against before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.common import Json, home_of
from appliance.cli.output import document, say

if TYPE_CHECKING:
    from appliance.config.paths import Home
    from appliance.proof.tables import Proof


def prove(
    context: typer.Context,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Make this the measure that later proofs are held against.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Fill every slot to its end, however long it takes.")] = False,
    as_json: Json = False,
) -> None:
    """Measure the engines that run: memory, speed, and whether they are where they were planned.

    Ends with exit code 0 when all is as planned and as before, 1 when something is not. It takes each engine
    for some seconds; one that works for somebody keeps working, and its speed is left out.

    Example: appliance models prove
    """
    from appliance.cli.output import leave
    from appliance.control.proving import prove as prove_now
    from appliance.proof.words import summary

    found = prove_now(home_of(context), say, new_baseline=baseline, full=full)
    tell(found)
    if as_json:
        document([summary(one) for one in found])
    leave(1 if any(one.alarm for one in found) else 0)


def prove_all(home: Home) -> None:
    """Prove what has just been started. A proof that cannot be made is said, and stops nobody."""
    from appliance.control.proving import prove as prove_now
    from appliance.control.running import read
    from appliance.errors import ApplianceError

    if not read(home):
        return
    try:
        tell(prove_now(home, say))
    except ApplianceError as error:
        say(f"It could not be measured: {error.sentence} {error.hint}")


def tell(proofs: list[Proof]) -> None:
    """Say what was found, one line an engine."""
    from appliance.proof.words import alarm, sentence

    for one in proofs:
        say(f"{one.role}: {sentence(one)}")
        if one.alarm:
            say(f"  ! {alarm(one)}")
        elif one.cause:
            say(f"  not on the graphics card: {one.cause}")
