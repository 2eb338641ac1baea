"""Fetch a large file so that any interruption costs seconds, not the file.

probe -> go on with the partial file, or begin it -> several ranges at once -> size, SHA-256
"""

from __future__ import annotations

import http.client
import re
import threading
from dataclasses import replace
from pathlib import Path

from appliance.downloads.pieces import ChangedError, Download, Fetched, Found, Limits, Progress, discard, version_of
from appliance.downloads.retry import TRANSIENT, Retry, check_status
from appliance.downloads.web import Line, Remote
from appliance.errors import ApplianceError

# A file that changes this often while we fetch it is not going to stand still.
_STARTS = 4
# Somebody who never answered is not waited for as long as a line that worked and dropped.
_FIRST_TRIES = 4
_TOTAL = re.compile(r"bytes 0-0/(\d+)$")


def fetch(
    remote: Remote,
    partial: Path,
    size: int,
    told: Progress,
    checking: Progress,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Fetched:
    """Fetch a file into `partial`, or go on with it. The caller compares the hash and gives it its name.

    `size` is what it must have, 0 when nobody knows. `told` hears bytes fetched and bytes in all,
    `checking` bytes hashed once all are fetched. Raises source-unreachable, source-refused,
    source-not-allowed, download-failed, disk-too-small, and wrong-hash for another size.
    """
    for _ in range(_STARTS):
        found = _probe(remote, limits)
        if size and found.size != size:
            raise ApplianceError(
                "wrong-hash",
                f"{remote.host} has a file of {found.size} bytes, and {size} bytes were expected.",
                "It is not the file that was pinned: do not trust this source until that is explained.",
            )
        try:
            return Download(remote, partial, found, limits).run(told, checking)
        except ChangedError:
            discard(partial)
    raise ApplianceError(
        "download-failed", f"{remote.host} changes the file again and again while we fetch it.", "Try again later."
    )


def _probe(remote: Remote, limits: Limits) -> Found:
    """Ask for the first byte: the answer tells all that there is to know."""
    line, retry = Line(limits.timeout_s), _first_retry(remote, limits)
    while True:
        try:
            response, _ = line.get(remote, {"Range": "bytes=0-0"})
            check_status(response.status, response.getheader("retry-after"), remote.host)
            return _found(response, remote.host)
        except TRANSIENT as error:
            retry.wait(error)
        finally:
            line.close()


def _found(response: http.client.HTTPResponse, host: str) -> Found:
    match = _TOTAL.match(response.getheader("content-range") or "")
    length = match[1] if match else response.getheader("content-length") or ""
    if not length.isdigit() or int(length) == 0:
        raise ApplianceError("download-failed", f"{host} does not say how long the file is.", "Use another source.")
    return Found(version_of(response), int(length), match is not None)


def _first_retry(remote: Remote, limits: Limits) -> Retry:
    patience = replace(limits.patience, tries=min(limits.patience.tries, _FIRST_TRIES))
    return Retry(patience, remote.host, threading.Event())
