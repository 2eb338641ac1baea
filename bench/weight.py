"""How much memory everything but the models holds while nobody asks.

    python -m bench.weight [--no-caddy] [--sign-ins N]

Starts a box with the chat page, its Redis and, where it is installed, Caddy; one person signs in and chats once. Once
nothing is done any more, prints what each process has taken for its data, what of their programs and libraries is in
memory, each file once, and the sum: as if nothing else ran on the machine. The engine is the harness's own and is left
out. `--sign-ins` has so many more people sign in first.

Exit status: 0 the limit kept, 1 broken, 2 nothing could be measured.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from appliance.errors import ApplianceError
from appliance.units import MIB
from bench import processes, tools
from bench.chat_box import PERSON, ChatBox, chat_box, has_caddy
from bench.report import Check, limits_table
from tests.support.chat_page import Visitor
from tests.support.sign_on import Browser

LIMIT_MB: Final = 520.0
# Nothing is done any more: no more than this share of one core, over so many seconds.
_IDLE_SHARE: Final = 0.02
_IDLE_S: Final = 5.0
_PATIENCE_S: Final = 180.0
_MB: Final = 1_000_000
FILES: Final = "programs and libraries, each once"


def measure(made: ChatBox, sign_ins: int) -> dict[str, float]:
    """What each process of an idle box holds, in MiB, once somebody has used it. Raises BenchError."""
    assert made.page is not None
    visitor = Visitor(made.page, Browser(made.sign_on))
    visitor.enters(f"{PERSON}@example.com")
    if not "".join(visitor.reads("Say something short about good neighbours.")):
        raise tools.BenchError("the chat page gave no answer")
    _more_sign_ins(made, sign_ins)
    pids = made.processes()
    _wait_until_idle(pids["supervisor"])
    # The supervisor's tree is all of them.
    trees = {name: [one.pid for one in processes.tree(pid)] for name, pid in pids.items() if name != "supervisor"}
    return held({"supervisor": [pids["supervisor"]], **trees})


def held(pids: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """What processes have taken for their data, in MiB by their names, and the files in memory that they share."""
    found, files = dict.fromkeys(pids, 0.0), Counter[str]()
    for name, those in pids.items():
        for pid in those:
            own, mapped = parts(Path(f"/proc/{pid}/smaps").read_text())
            found[name] += own / 1024
            # Of a file that two have mapped, the same pages: those that most has touched.
            files |= mapped
    return found | {FILES: sum(files.values()) / 1024}


def parts(smaps: str) -> tuple[int, Counter[str]]:
    """A process's own memory in KiB, and by file how much of it is in memory for this process."""
    own, files, file = 0, Counter[str](), ""
    for line in smaps.splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            file = line.split(maxsplit=5)[5] if len(words) > 5 and words[4] != "0" else ""
        elif file and words[0] == "Rss:":
            files[file] += int(words[1])
        elif file and words[0] == "Anonymous:":
            # Pages of a file that it has written to are its own.
            files[file] -= int(words[1])
            own += int(words[1])
        elif not file and words[0] == "Pss:":
            own += int(words[1])
    return own, files


def _more_sign_ins(made: ChatBox, many: int) -> None:
    logins = [f"person{number}" for number in range(many)]
    for login in logins:
        made.sign_on.person(login)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda login: Browser(made.sign_on).sign_in(f"{login}@example.com"), logins))


def _wait_until_idle(root: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        before = processes.cpu_seconds(root)
        time.sleep(_IDLE_S)
        if processes.cpu_seconds(root) - before <= _IDLE_SHARE * _IDLE_S:
            return
    raise tools.BenchError("the box did not come to rest")


def table(found: Mapping[str, float]) -> str:
    """The report: what each holds, the most first, and the sum beside its limit."""
    lines = ["| process | MiB | MB |", "| --- | --- | --- |"]
    ordered = sorted(found.items(), key=lambda one: -one[1])
    lines += [f"| {name} | {mib:.1f} | {megabytes(mib):.1f} |" for name, mib in ordered]
    return "\n".join([*lines, "", *limits_table([check(found)])])


def check(found: Mapping[str, float]) -> Check:
    """The sum beside its limit."""
    return Check("MB of memory, idle, everything but the models", megabytes(sum(found.values())), LIMIT_MB)


def megabytes(mib: float) -> float:
    """MiB in units of 10^6 bytes."""
    return mib * MIB / _MB


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--no-caddy", action="store_true", help="without Caddy, as on this machine alone")
    parser.add_argument("--sign-ins", type=int, default=0, metavar="N", help="so many more people sign in first")
    chosen = parser.parse_args()
    caddy = has_caddy() and not chosen.no_caddy
    try:
        with chat_box(page=True, caddy=caddy) as (made, _):
            found = measure(made, chosen.sign_ins)
    except (tools.BenchError, ApplianceError, AssertionError, subprocess.SubprocessError, OSError) as error:
        print(f"nothing could be measured: {error}", file=sys.stderr)
        return 2
    print(f"{tools.place()}{'' if caddy else ' Without Caddy.'}\n\n{table(found)}")
    return 0 if check(found).kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
