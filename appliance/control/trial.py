"""One llama-server for a short trial, outside the supervisor: started, and ended whatever happens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import TIMEOUT_MAX, Timer

from appliance.engine.arguments import EnginePlan
from appliance.engine.location import find
from appliance.engine.process import engine_process
from appliance.errors import ApplianceError
from appliance.supervise.process import Process, last_lines

_POLL_S = 0.02
_END_S = 10.0


@contextmanager
def trial(plan: EnginePlan, log: Path, until: float | None = None) -> Iterator[str]:
    """An engine that is ready, with the product's own arguments and priority; yields its socket.

    It ends with the block, with this process when that is killed, and at the instant `until` of the monotonic
    clock: then what is asked of it fails. The log is that of the last trial only. Raises engine-missing, or
    engine-failed when it does not start.
    """
    log.unlink(missing_ok=True)
    process = Process(engine_process(find(), plan, log))
    limit = Timer(TIMEOUT_MAX if until is None else max(0.0, until - time.monotonic()), process.kill)
    limit.daemon = True
    limit.start()
    try:
        while not process.ready:
            process.step(time.monotonic())
            if process.state().state in ("restarting", "failed"):
                raise _failed(log)
            time.sleep(_POLL_S)
        yield plan.socket
    finally:
        limit.cancel()
        limit.join()
        # It holds nothing that is worth an orderly end.
        process.kill()
        _wait_gone(process)
        Path(plan.socket).unlink(missing_ok=True)


def _wait_gone(process: Process) -> None:
    """Its memory must be free again before the next one starts."""
    deadline = time.monotonic() + _END_S
    while not process.gone() and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _failed(log: Path) -> ApplianceError:
    said = [line for line in last_lines(log) if line.strip()]
    errors = [line for line in said if "error" in line.lower()] or said or ["it said nothing"]
    return ApplianceError(
        "engine-failed", f"The engine does not start: {errors[-1].strip()[:200]}", f"{log} has all that it said."
    )
