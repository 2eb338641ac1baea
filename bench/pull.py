"""How fast a pull is beside curl, from one server, in turns.

python -m bench.pull [--mib 1024] [--rounds 5] [--folder DIR]

curl writes the file, nothing more. A pull writes it, syncs it, hashes it and keeps a journal. Both
are timed from start to end, but for Python's own start. The ratio is taken round by round, and
the first round is not counted. Exit code 1 when its median is below 0.9.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from appliance.artifacts.shelf import Shelf
from appliance.catalog.models import Model
from appliance.units import MIB
from tests.support.hub import Hub, model_file, row

LEAST = 0.9


def by_curl(url: str, folder: Path) -> None:
    """What an admin would type."""
    subprocess.run(["curl", "--silent", "--fail", "--output", str(folder / "curl.gguf"), url], check=True)


def by_curl_safely(url: str, folder: Path) -> None:
    """The same promise as a pull's: on the disk, and verified."""
    by_curl(url, folder)
    subprocess.run(["sync", "--data", str(folder / "curl.gguf")], check=True)
    subprocess.run(["sha256sum", str(folder / "curl.gguf")], check=True, stdout=subprocess.DEVNULL)


def by_pull(model: Model, folder: Path) -> None:
    """What `appliance models pull` does."""
    Shelf(folder).pull(model, lambda done, total: None)


def seconds(work: Callable[[], None], folder: Path) -> float:
    """How long it takes into an empty folder, with nothing left to write from before."""
    for left in folder.iterdir():
        left.unlink()
    subprocess.run(["sync"], check=True)
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def ratio(rounds: list[dict[str, float]], name: str) -> float:
    """A way's speed as a part of curl's."""
    return median(one["curl"] / one[name] for one in rounds)


def main() -> int:
    """Measure and print one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch, Hub() as hub:
        folder = Path(scratch, "models")
        folder.mkdir()
        file = model_file(Path(scratch, "served.gguf"), options.mib * MIB)
        hub.behave(file)
        url = f"{hub.url}/cdn/file"
        model = row(file, url)
        works: dict[str, Callable[[], None]] = {
            "curl": lambda: by_curl(url, folder),
            "pull": lambda: by_pull(model, folder),
            "curl, sync, sha256sum": lambda: by_curl_safely(url, folder),
        }
        rounds = [{name: seconds(work, folder) for name, work in works.items()} for _ in range(options.rounds + 1)]
    counted = rounds[1:]
    print("| way | MiB/s | of curl |\n| --- | --- | --- |")
    for name in works:
        speed = options.mib / median(one[name] for one in counted)
        print(f"| {name} | {speed:.0f} | {ratio(counted, name):.2f} |")
    return 0 if ratio(counted, "pull") >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
