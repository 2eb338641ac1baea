"""A process that puts events on an appliance's audit log: python -m tests.support.auditor HOME KIND COUNT.

KIND is `acts` (as commands do), `events` (as the gateway does) or `full` (both, on a disk that is filled). Each event
that is on record is told by its target, one a line.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

from appliance.audit import reading
from appliance.audit.actions import Action
from appliance.audit.writer import AuditWriter
from appliance.config.paths import Home
from appliance.errors import ApplianceError
from appliance.store import schema


def acts(home: Home, count: int) -> None:
    """Acts of the admin."""
    from appliance.audit.acts import acting

    for number in range(count):
        with acting(home) as acts:
            acts.note(Action.KEY_CREATED, f"act-{number}", owner="anna")
        print(f"act-{number}", flush=True)


def events(home: Home, count: int) -> None:
    """Events of the gateway."""

    async def scenario() -> None:
        audit = AuditWriter(home)
        for number in range(count):
            await audit.write(Action.CLOUD_SENT, "anna", f"event-{number}")
            print(f"event-{number}", flush=True)
        await audit.close()

    asyncio.run(scenario())


def full(home: Home, count: int) -> None:
    """Fill the disk, try, make room, try again; tells in JSON what came of it."""
    report: dict[str, object] = {}
    schema.ensure(home.database)

    async def scenario() -> None:
        audit = AuditWriter(home)
        await audit.write(Action.STARTED, "gateway", "1")
        filler = home.state / "filler"
        fill(filler)
        tried = [await code_of(audit) for _ in range(count)]
        report["events"] = [code for code in tried if code is not None]
        report["acts"] = [code for code in (code_of_act(home) for _ in range(count)) if code is not None]
        report["seq"] = reading.newest(home, 1)[0]["seq"]
        filler.unlink()
        await asyncio.sleep(1.5)
        report["afterwards"] = [await code_of(audit), code_of_act(home)]
        await audit.close()

    asyncio.run(scenario())
    found = reading.verify(home)
    report["fault"] = found.fault and found.fault.words
    report["actions"] = [one["action"] for one in reading.newest(home, 3)]
    print(json.dumps(report))


def fill(filler: Path) -> None:
    """Leave no room at all."""
    with filler.open("ab", buffering=0) as file:
        for size in (4096, 512, 16):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


async def code_of(audit: AuditWriter) -> str | None:
    """Write an event of the gateway; the code of why it was refused."""
    try:
        await audit.write(Action.CLOUD_SENT, "anna", "openai")
    except ApplianceError as error:
        return error.code
    return None


def code_of_act(home: Home) -> str | None:
    """Do an act of the admin; the code of why it was refused."""
    from appliance.audit.acts import acting

    try:
        with acting(home) as acts:
            acts.note(Action.KEY_CREATED, "key-1", owner="anna")
    except ApplianceError as error:
        return error.code
    return None


if __name__ == "__main__":
    state, kind, number = sys.argv[1:]
    kinds: dict[str, Callable[[Home, int], None]] = {"acts": acts, "events": events, "full": full}
    opened = Home(Path(state) / "appliance.toml", Path(state))
    opened.prepare()
    kinds[kind](opened, int(number))
