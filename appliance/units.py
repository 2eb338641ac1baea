"""Sizes, times and durations: how they are held, and how people read them.

Held: bytes as integers, instants as integer microseconds since 1970 UTC, durations as
integer milliseconds. Shown: the words below.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

KIB = 1024
MIB = 1024**2
GIB = 1024**3

_SIZE = re.compile(r"^\s*(\d{1,18}(?:\.\d{1,9})?)\s*(B|KiB|MiB|GiB)\s*$")
_MONEY = re.compile(r"(\d{1,9})(?:\.(\d{1,6}))?", re.ASCII)
_FACTOR = {"B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}


def parse_bytes(text: str) -> int:
    """Bytes of a size such as `"8 MiB"`; raises ValueError for anything else."""
    match = _SIZE.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as '8 MiB'")
    return int(float(match[1]) * _FACTOR[match[2]])


def show_bytes(count: int) -> str:
    """A size as people say it: `94 MiB`, `1.5 GiB`, `22.4 GiB`, `24 GiB`."""
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if count >= factor:
            value = count / factor
            digits = 0 if value >= 100 else 1
            return f"{value:.{digits}f} {unit}".replace(".0 ", " " if value >= 10 else ".0 ")
    return f"{count} bytes"


def parse_money(text: str) -> int:
    """Micro-units of an amount such as `"200"` or `"0.25"`; raises ValueError for anything else."""
    match = _MONEY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an amount such as '200' or '0.25'")
    return int(match[1]) * 1_000_000 + int((match[2] or "").ljust(6, "0"))


def show_money(micro: int) -> str:
    """An amount of micro-units as people say it: `200.00`, `0.25`, `0.003100`."""
    whole, rest = divmod(micro, 1_000_000)
    return f"{whole}.{rest // 10_000:02}" if rest % 10_000 == 0 else f"{whole}.{rest:06}"


def now_us() -> int:
    """This instant, in microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def show_instant(us: int | None) -> str | None:
    """An instant as ISO 8601 in UTC with milliseconds; None stays None."""
    if us is None:
        return None
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def show_duration(seconds: float) -> str:
    """A duration in its two largest units: `3 d 4 h`, `5 min 2 s`, `12 s`."""
    whole = int(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (secs, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{value} {unit}" for value, unit in parts[:2])


def show_transfer(done: int, total: int, rate: float) -> str:
    """How far a transfer is: `3.1 GiB of 5.3 GiB, 88 MiB/s, 25 s left`; `rate` in bytes a second, 0 when unknown."""
    text = f"{show_bytes(done)} of {show_bytes(total)}"
    if rate < 1 or done >= total:
        return text
    return f"{text}, {show_bytes(int(rate))}/s, {show_duration((total - done) / rate)} left"
