"""Take the deployment that the control plane has written, while the gateway serves."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from appliance.audit.actions import Action
from appliance.audit.log import note
from appliance.audit.writer import AuditWriter
from appliance.deployment import Deployment, Engine, merged
from appliance.errors import ApplianceError
from appliance.gateway.switchboard import Switchboard
from appliance.store import handover


def reload(file: Path, remote: tuple[Engine, ...], switchboard: Switchboard) -> None:
    """Serve what the file says, and the engines behind a URL; one line in the log tells of it.

    A file that is missing, cannot be read or names no engine changes nothing.
    """
    try:
        stored = handover.find(file)
        if stored is None:
            raise ApplianceError("deployment-unreadable", f"{file} is not there.", "Run `appliance up`.")
        deployment = merged(stored, remote)
        if deployment == switchboard.now.deployment:
            return
        switchboard.take(deployment)
    except ApplianceError as error:
        note("deployment-not-taken", "", code=error.code, why=error.sentence)
    else:
        note("deployment-taken", "", serial=deployment.serial)


@contextmanager
def reloading(
    file: Path, remote: tuple[Engine, ...], switchboard: Switchboard, audit: AuditWriter | None = None
) -> Iterator[None]:
    """Reload on each SIGHUP, and once now: the file may have changed before anybody heeded signals."""
    loop = asyncio.get_running_loop()
    on_terminal = os.isatty(0)
    noting: set[asyncio.Task[None]] = set()

    def take() -> None:
        reload(file, remote, switchboard)
        if audit is not None:
            task = loop.create_task(_note(audit, switchboard.now.deployment))
            noting.add(task)
            task.add_done_callback(noting.discard)

    def heed() -> None:
        if on_terminal and not os.isatty(0):
            # Not the control plane's word: the terminal was closed, and what ran in it ends.
            signal.raise_signal(signal.SIGTERM)
        else:
            take()

    loop.add_signal_handler(signal.SIGHUP, heed)
    if file.exists():
        take()
    try:
        yield
    finally:
        # Not removed: a signal that comes too late must not kill what is being closed.
        loop.add_signal_handler(signal.SIGHUP, _nothing)


async def _note(audit: AuditWriter, deployment: Deployment) -> None:
    """Put on the audit log what is served. The control plane has decided it, so it is served in any case."""
    with suppress(ApplianceError):
        await audit.write(
            Action.DEPLOYMENT_TAKEN,
            "gateway",
            deployment.release,
            serial=deployment.serial,
            engines=len(deployment.engines),
        )


def _nothing() -> None:
    """What a signal does that comes too late."""
