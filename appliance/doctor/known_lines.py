"""What of a log may leave the box: lines of forms that we know, with nothing but numbers and our own words in them.

Everything else is counted and left out, since a log of other programs may say anything.
"""

from __future__ import annotations

import builtins
import json
import re
from collections import Counter
from collections.abc import Container
from pathlib import Path
from typing import Any, Final

from appliance.errors import KINDS
from appliance.ledger.entry import Outcome

_LAST_BYTES: Final = 512 * 1024
_MOST: Final = 200
# Events that the request path and sign-on note, as `audit.log.note` writes them.
EVENTS: Final = frozenset(
    {
        "ages-not-checked", "audit-head", "audit-not-written", "batch-unreadable", "batch-waits", "budget-warning",
        "bug", "deployment-not-taken", "deployment-taken", "directory-not-checked", "file-unreadable",
        "last-owner-kept", "leavers-not-forgotten", "logout-not-told", "mapped-group-missing",
        "nested-groups-refused", "refused", "shut-out-ended", "sign-in-refused", "tokens-ended", "vouching-ended",
        *Outcome,
    }
)  # fmt: skip
_NUMBERS: Final = frozenset({"people", "percent", "seq", "serial", "tries"})
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_N: Final = r"(\d{1,9}(?:\.\d{1,3})?)"
# What llama-server, Caddy and the chat page say when it matters: ours to repeat, with the numbers in it.
SAYINGS: Final = tuple(
    (words, re.compile(re.sub(r"\bN\b", lambda _: _N, re.escape(words)), re.ASCII))
    for words in (
        "model loaded",
        "n_slots = N, n_ctx_slot = N",
        "n_threads = N",
        "out of memory",
        "failed to allocate",
        "unable to allocate",
        "error loading model",
        "failed to load model",
        "exiting due to model loading error",
        "CUDA error",
        "no usable GPU found",
        "GGML_ASSERT",
        "address already in use",
        "Address already in use",
        "permission denied",
        "Permission denied",
        "No space left on device",
        "was not ready after N s, and was ended",
        "could not be started",
        "is not taken, nothing changes",
        "prompt eval time = N ms / N tokens",
        "eval time = N ms / N tokens",
    )
)
_SPACES: Final = re.compile(r"\s+")
_FRAME: Final = re.compile(r'File "[^"]*?/(appliance/[a-z_/]{1,80}\.py)", line (\d{1,5})', re.ASCII)
_FAILURE: Final = re.compile(r"^(?:\w+\.)*(\w+)(?::|$)", re.ASCII | re.MULTILINE)
_LEVEL: Final = re.compile(r"(?:\| |\"level\":\"|^)(ERROR|WARNING|CRITICAL|error|warn|fatal)\b", re.ASCII)
_FAILURES: Final = frozenset(
    name for name, one in vars(builtins).items() if isinstance(one, type) and issubclass(one, BaseException)
) | {"ApplianceError", "DatabaseError", "IntegrityError"}
# The package itself: a frame is told only where that file of ours is there.
_PACKAGE: Final = Path(__file__).resolve().parents[2]


def read(file: Path) -> dict[str, Any]:
    """The lines of a log's end that may leave the box, and how many did not: `lines`, `kept`, `levels`."""
    kept: list[dict[str, Any]] = []
    levels: Counter[str] = Counter()
    lines = _last(file)
    for line in lines:
        if found := _known(line):
            kept.append(found)
        levels.update(level.lower() for level in _LEVEL.findall(line))
    return {"lines": len(lines), "kept": kept[-_MOST:], "levels": dict(levels)}


def _last(file: Path) -> list[str]:
    with file.open("rb") as opened:
        end = opened.seek(0, 2)
        opened.seek(max(0, end - _LAST_BYTES))
        return opened.read().decode("utf-8", "replace").splitlines()


def _known(line: str) -> dict[str, Any]:
    if line.startswith("{"):
        return _event(line)
    words = _SPACES.sub(" ", line)
    for saying, pattern in SAYINGS:
        if match := pattern.search(words):
            return {"says": saying, "numbers": [float(number) for number in match.groups()]}
    return _trace(line)


def _event(line: str) -> dict[str, Any]:
    """What of one of our own notes is a time, an event, a code or a number."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    if not _is_one_of(said.get("event"), EVENTS):
        return {}
    found: dict[str, Any] = {"event": said["event"]}
    if isinstance(said.get("time"), str) and _TIME.fullmatch(said["time"]):
        found["time"] = said["time"]
    found |= {name: said[name] for name in ("code", "error") if _is_one_of(said.get(name), KINDS)}
    found |= {name: said[name] for name in _NUMBERS if type(said.get(name)) is int}
    return found | (_trace(said["trace"]) if isinstance(said.get("trace"), str) else {})


def _is_one_of(value: object, known: Container[str]) -> bool:
    return isinstance(value, str) and value in known


def _trace(text: str) -> dict[str, Any]:
    """Where in our own code a failure was, and of which kind it is."""
    frames = [f"{name}:{line}" for name, line in _FRAME.findall(text) if (_PACKAGE / name).is_file()]
    failures = [name for name in _FAILURE.findall(text) if name in _FAILURES]
    found: dict[str, Any] = {"frames": frames} if frames else {}
    return found | ({"failure": failures[-1]} if failures else {})
