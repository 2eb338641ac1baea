"""When to try again, and how long to wait before: pure but for the waiting itself."""

from __future__ import annotations

import http.client
import random
import ssl
import threading
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from appliance.errors import ApplianceError
from appliance.units import show_duration


@dataclass(frozen=True, slots=True)
class Patience:
    """How much is put up with. `tries` counts failures in a row without a byte in between; times in seconds."""

    tries: int = 8
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    # A server that names a longer time (`Retry-After`) is not waited for.
    longest_asked_s: float = 300.0


class EndedError(Exception):
    """The download ends for another reason; this thread has nothing to add."""


class BusyError(Exception):
    """The server answered that it cannot now. `after_s` is the wait that it asked for."""

    def __init__(self, status: int, after_s: float | None) -> None:
        super().__init__(f"it answers {status}")
        self.after_s = after_s


# What may pass by itself.
TRANSIENT = (OSError, http.client.HTTPException, BusyError)


def check_status(status: int, retry_after: str | None, host: str) -> None:
    """Pass 200 and 206. Raises BusyError for what may pass, source-refused and download-failed for what will not."""
    if status in (200, 206):
        return
    if status in (408, 429) or status >= 500:
        raise BusyError(status, asked_wait_s(retry_after, time.time()))
    if status in (401, 403):
        raise ApplianceError(
            "source-refused",
            f"{host} does not let us have the file (it answers {status}).",
            "Accept the model's terms there if it has any, and set HF_TOKEN to a token that may read it.",
        )
    if status in (404, 410):
        raise ApplianceError(
            "source-refused",
            f"{host} does not have the file, or not any more (it answers {status}).",
            "Look there what has become of it, or use another source.",
        )
    raise ApplianceError("download-failed", f"{host} answers {status}.", "Use another source.")


def asked_wait_s(value: str | None, now: float) -> float | None:
    """A `Retry-After` header in seconds: a number, or a date less `now` (seconds since 1970)."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


class Retry:
    """The failures of one thread, in a row."""

    def __init__(self, patience: Patience, host: str, stop: threading.Event) -> None:
        self._patience, self._host, self._stop = patience, host, stop
        self._failures = 0

    def progress(self) -> None:
        """Bytes came: begin to count anew."""
        self._failures = 0

    def wait(self, error: Exception) -> None:
        """Wait before the next try. Raises source-unreachable when it is no use, EndedError when told to stop."""
        if self._stop.is_set():
            raise EndedError
        self._failures += 1
        asked = error.after_s if isinstance(error, BusyError) else None
        if asked is not None and asked > self._patience.longest_asked_s:
            raise ApplianceError(
                "source-unreachable",
                f"{self._host} asks us to come back in {show_duration(asked)}.",
                "Run it again then: it goes on where it stopped.",
            ) from error
        if self._failures >= self._patience.tries or isinstance(error, ssl.SSLCertVerificationError):
            raise ApplianceError(
                "source-unreachable",
                f"{self._host} does not answer as it should: {_words(error)}.",
                "Check the network, the proxy and the certificates, then run it again: it goes on where it stopped.",
            ) from error
        if self._stop.wait(max(asked or 0.0, self._pause_s())):
            raise EndedError

    def _pause_s(self) -> float:
        """Twice as long each time, and never quite the same, so that four threads do not come back as one."""
        pause: float = min(self._patience.first_wait_s * 2.0 ** (self._failures - 1), self._patience.longest_wait_s)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _words(error: Exception) -> str:
    return f"{error or type(error).__name__}".rstrip(".")
