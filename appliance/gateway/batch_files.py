"""What batches read and write: the input, line by line, and the results. All of it blocks: it is for threads.

A thread that computes keeps the event loop from its turn, so each of these rests as long as it works.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from appliance.gateway.batches import journal_of
from appliance.gateway.files import Files, Stored, now_s
from appliance.policy.batches import (
    MOST_FAULTS,
    MOST_LINES,
    Batch,
    Fault,
    Line,
    Reader,
    result_of,
    unanswered,
)
from appliance.store.jsonl import lines_of

_TURN_S: Final = 0.002
# What a line has besides the body of its request.
_AROUND: Final = 4096


class Courtesy:
    """Rests as long as it has worked, often."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def rest(self) -> None:
        """Rest, if it is time."""
        if time.perf_counter() - self._began > _TURN_S:
            time.sleep(_TURN_S)
            self._began = time.perf_counter()


def read_input(path: Path, reader: Reader, max_body: int, ended: threading.Event) -> Iterator[Line | Fault]:
    """The lines of an input, or what is wrong with them, until `ended`. Raises FileNotFoundError."""
    courtesy = Courtesy()
    longest = max_body + _AROUND
    for number, data in enumerate(lines_of(path, longest), 1):
        if ended.is_set():
            return
        if len(data) > longest:
            yield Fault("line_too_long", f"Line {number} is longer than {longest} bytes.", number)
            return
        found = reader.read(data, number)
        if found is not None:
            yield found
        courtesy.rest()


def check_input(path: Path, endpoint: str, max_body: int, ended: threading.Event) -> tuple[int, tuple[Fault, ...]]:
    """How many lines an input has, and what is wrong with it: the first faults of all."""
    reader = Reader(endpoint)
    faults: list[Fault] = []
    try:
        for found in read_input(path, reader, max_body, ended):
            if isinstance(found, Fault):
                faults.append(found)
            if reader.lines > MOST_LINES:
                faults.append(Fault("too_many_tasks", f"The file has more than {MOST_LINES:,} lines.", MOST_LINES + 1))
                break
            if len(faults) >= MOST_FAULTS:
                break
    except FileNotFoundError:
        faults.append(Fault("file-not-found", "The input file is gone."))
    if not reader.lines and not faults:
        faults.append(Fault("empty_file", "The file has no lines."))
    return reader.lines, tuple(faults)


@dataclass(frozen=True, slots=True)
class Results:
    """The files of a batch's results, None where one would be empty, and how many lines are in each."""

    output: Stored | None
    error: Stored | None
    completed: int
    failed: int


def write_results(files: Files, batch: Batch, max_body: int, ended: threading.Event) -> Results:
    """Write the files of results, over those of an earlier try: good answers, and all else.

    Lines of the input that were not answered are among the errors, with the reason why. Raises OSError.
    """
    output, error = files.stage(batch.output), files.stage(batch.error)
    try:
        good, done = _sort(journal_of(files.folder, batch.id), output.file, error.file)
        bad = len(done) - good
        if batch.reason is not None:
            bad += _add_rest(files.path(batch.input_file_id), batch, max_body, done, error.file, ended)
        kept: list[Stored | None] = []
        for staged, id, name in ((output, batch.output, "output"), (error, batch.error, "error")):
            size = staged.file.tell()
            if not size or ended.is_set():
                kept.append(None)
                continue
            stored = Stored(id, size, now_s(), f"{batch.id}_{name}.jsonl", "batch_output", batch.owner, batch.team)
            files.write(staged, stored)
            kept.append(stored)
        return Results(kept[0], kept[1], good, bad)
    finally:
        output.discard()
        error.discard()


def _sort(journal: Path, good: BinaryIO, bad: BinaryIO) -> tuple[int, set[str]]:
    """Copy the finished lines to where they belong: how many were good, and the custom_ids of all."""
    courtesy = Courtesy()
    count = 0
    done: set[str] = set()
    if journal.exists():
        with journal.open("rb") as file:
            for line in file:
                found = result_of(line)
                if found is None:
                    break
                (good if found[1] else bad).write(line)
                done.add(found[0])
                count += found[1]
                courtesy.rest()
    return count, done


def _add_rest(path: Path, batch: Batch, max_body: int, done: set[str], bad: BinaryIO, ended: threading.Event) -> int:
    """Write what is said of the lines that were not answered; how many there are."""
    count = 0
    assert batch.reason is not None
    if not path.exists():
        return count
    for found in read_input(path, Reader(batch.endpoint), max_body, ended):
        if isinstance(found, Line) and found.custom_id not in done:
            id = f"batch_req_{batch.id.removeprefix('batch_')}_{found.number}"
            bad.write(unanswered(id, found.custom_id, batch.reason) + b"\n")
            count += 1
    return count
