"""Tell the supervisor and the gateway of a change while they work, and wait until they have taken it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from contextlib import suppress
from typing import Any

from appliance.config.paths import Home
from appliance.config.settings import GatewaySettings
from appliance.deployment import Deployment
from appliance.errors import ApplianceError
from appliance.store import handover
from appliance.supervise import where
from appliance.supervise.spec import ProcessSpec, ProcessState

_POLL_S = 0.05
_ASK_S = 2.0
# What a change takes, with much to spare.
_TAKEN_S = 30.0
# A signal may have met a process that had just been started anew.
_AGAIN_S = 1.0


def run_these(home: Home, specs: tuple[ProcessSpec, ...]) -> None:
    """Have the supervisor run these, and wait until it has taken the list. Raises process-failed."""
    digest = where.reload(home.run, specs)
    deadline = time.monotonic() + _TAKEN_S
    while True:
        report = where.read_report(home.run)
        if report is not None and report.list_digest == digest:
            return
        if time.monotonic() > deadline or where.supervisor_pid(home.run) is None:
            raise ApplianceError(
                "process-failed", "The supervisor does not answer.", "Look at `appliance logs supervisor`."
            )
        time.sleep(_POLL_S)


def _process(home: Home, name: str) -> ProcessState | None:
    report = where.read_report(home.run)
    return next((one for one in report.processes if one.name == name), None) if report else None


def wait_ready(home: Home, name: str) -> int:
    """Wait until a process is ready; returns its number. Raises process-failed with its last words."""
    while True:
        found = _process(home, name)
        if found is not None and found.state == "ready" and found.pid is not None:
            return found.pid
        if where.supervisor_pid(home.run) is None or (found is not None and found.state == "failed"):
            lines = "\n".join(f"  | {line}" for line in (found.last_lines if found else ()))
            raise ApplianceError(
                "process-failed",
                f"'{name}' does not start. Its last words:\n{lines}\n",
                f"More: `appliance logs {name}`.",
            )
        time.sleep(_POLL_S)


def wait_gone(home: Home, name: str) -> None:
    while _process(home, name) is not None and where.supervisor_pid(home.run) is not None:
        time.sleep(_POLL_S)


def serve_these(home: Home, gateway: GatewaySettings, deployment: Deployment) -> None:
    """Write a deployment and wait until the gateway serves it. Raises switch-failed."""
    handover.write(home.deployment, deployment)
    deadline = time.monotonic() + _TAKEN_S
    signalled = 0.0
    while (gateway_state(gateway) or {}).get("serial") != deployment.serial:
        found = _process(home, "serve")
        # One that is starting reads the file by itself, and would not survive the signal.
        up = found is not None and found.state == "ready"
        if found is not None and up and found.pid and time.monotonic() - signalled > _AGAIN_S:
            with suppress(ProcessLookupError):
                os.kill(found.pid, signal.SIGHUP)
            signalled = time.monotonic()
        if time.monotonic() > deadline:
            raise ApplianceError(
                "switch-failed", "The gateway did not take the new route.", "See `appliance logs serve`."
            )
        time.sleep(_POLL_S)


def gateway_state(gateway: GatewaySettings) -> dict[str, Any] | None:
    """What the gateway says of itself; None while it says nothing."""
    connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=_ASK_S)
    try:
        connection.request("GET", "/ready")
        found: dict[str, Any] = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return found
