"""Notes of the request path: refusals, answers that did not complete, bugs. Never a word of a prompt.

One JSON line each on standard error, which the supervisor keeps in the gateway's log.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import orjson

from appliance.units import now_us, show_instant


def note(event: str, request_id: str, **facts: str | int | None) -> None:
    """Put one event on record with its request id and plain facts."""
    line = orjson.dumps({"time": show_instant(now_us()), "event": event, "request_id": request_id, **facts})
    # A log on a full disk must not turn a clear refusal into a crash; the ledger is what fails closed.
    with suppress(OSError):
        sys.stderr.buffer.write(line + b"\n")
        sys.stderr.buffer.flush()
