"""The journal of a batch: whatever is torn, no line is lost and none is doubled."""

from __future__ import annotations

import json
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.gateway.batch_files import check_input, read_input, write_results
from appliance.gateway.batches import journal_of
from appliance.gateway.files import Files
from appliance.policy.batches import CANCELLED, MOST_LINES, Fault, Line, Reader, Status, answered, result_of
from appliance.store.jsonl import JsonLines
from tests.unit.test_batches import CHAT, GOOD, batch

MAX = 10_000
NEVER = threading.Event()
# What a power cut leaves in blocks that were not written: zeros, or what stood there before.
REST = st.sampled_from([b"", b"\0" * 30, b"\0\n", b'{"custom_id":"r0"}\n', b"\n", b'{"half', b'x\n{"more":1}\n'])


def input_of(count: int) -> bytes:
    """So many good lines: r0, r1 and so on."""
    return b"".join(json.dumps({**GOOD, "custom_id": f"r{n}"}).encode() + b"\n" for n in range(count))


def record(name: str) -> bytes:
    """A result; every third is a bad one."""
    return answered("id", name, 200 if int(name[1:]) % 3 else 400, "req", b'{"n":"\xc3\xa4"}')


def remaining(path: Path, done: set[str]) -> list[str]:
    """The lines that are still to be asked for."""
    found = read_input(path, Reader(CHAT), MAX, NEVER)
    return [one.custom_id for one in found if isinstance(one, Line) and one.custom_id not in done]


def opened(path: Path) -> tuple[JsonLines, set[str]]:
    """A journal, gone on with, and what is done by it."""
    done = set[str]()

    def whole(line: bytes) -> bool:
        found = result_of(line)
        if found is not None:
            done.add(found[0])
        return found is not None

    return JsonLines(path, whole), done


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 8), st.data(), REST)
def test_from_every_torn_journal_each_line_comes_to_one_result(written: int, data: st.DataObject, rest: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, count = Path(name), 8
        files, one = Files(folder, MAX), batch()
        files.path(one.input_file_id).write_bytes(input_of(count))
        whole = [record(f"r{n}") + b"\n" for n in range(written)]
        cut = data.draw(st.integers(0, len(b"".join(whole))))
        journal = journal_of(folder, one.id)
        journal.write_bytes(b"".join(whole)[:cut] + rest)
        sure = {f"r{n}" for n in range(written) if len(b"".join(whole[: n + 1])) <= cut}
        lines, done = opened(journal)
        assert sure <= done <= {f"r{n}" for n in range(written)}, "what was synced is done"
        for custom_id in remaining(files.path(one.input_file_id), done):
            lines.append(record(custom_id))
        lines.close()
        results = write_results(files, one, MAX, NEVER)
        assert (results.completed, results.failed) == (5, 3)
        found = [json.loads(line) for id in (one.output, one.error) for line in files.path(id).read_text().splitlines()]
        assert sorted(line["custom_id"] for line in found) == [f"r{n}" for n in range(count)]
        good = [json.loads(line)["response"]["status_code"] for line in files.path(one.output).read_text().splitlines()]
        assert set(good) == {200}


@given(st.integers(0, 5))
@settings(deadline=None)
def test_lines_that_were_not_asked_are_among_the_errors_with_the_reason(written: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files, one = Files(folder, MAX), batch().stopped(Status.CANCELLED, CANCELLED, 1)
        files.path(one.input_file_id).write_bytes(input_of(5))
        lines, _ = opened(journal_of(folder, one.id))
        for n in range(written):
            lines.append(record(f"r{n}"))
        lines.close()
        for _ in range(2):  # a second time changes nothing
            results = write_results(files, one, MAX, NEVER)
        assert results.completed + results.failed == 5
        said = [json.loads(line) for line in files.path(one.error).read_text().splitlines()] if results.error else []
        told = [line["custom_id"] for line in said if line["error"]]
        assert told == [f"r{n}" for n in range(written, 5)]
        assert all(line["error"]["code"] == "batch_cancelled" for line in said if line["error"])
        assert (results.output is None) == (not results.completed)


def test_a_line_that_could_not_be_written_leaves_the_journal_as_it_was(tmp_path: Path) -> None:
    lines, _ = opened(tmp_path / "j")
    lines.append(record("r1"))
    lines.close()
    with pytest.raises(OSError, match="closed"):
        lines.append(record("r2"))
    again, done = opened(tmp_path / "j")
    assert done == {"r1"}
    again.append(record("r2"))
    again.close()
    assert (tmp_path / "j").read_bytes() == record("r1") + b"\n" + record("r2") + b"\n"
    assert (tmp_path / "j").stat().st_mode & 0o777 == 0o600


def checked(tmp_path: Path, data: bytes) -> tuple[int, tuple[Fault, ...]]:
    """What the check says of an input."""
    (tmp_path / "in").write_bytes(data)
    return check_input(tmp_path / "in", CHAT, MAX, NEVER)


def test_an_input_is_checked_whole_and_its_faults_are_bounded(tmp_path: Path) -> None:
    assert checked(tmp_path, input_of(5).rstrip()) == (5, ())
    assert [one.code for one in checked(tmp_path, b"\n\n")[1]] == ["empty_file"]
    assert len(checked(tmp_path, b"{\n" * 500)[1]) == 100
    assert [(one.code, one.line) for one in checked(tmp_path, input_of(2) + b"x" * 20_000)[1]] == [("line_too_long", 3)]
    assert [one.code for one in check_input(tmp_path / "none", CHAT, MAX, NEVER)[1]] == ["file-not-found"]


@pytest.mark.slow
def test_an_input_has_at_most_so_many_lines(tmp_path: Path) -> None:
    assert checked(tmp_path, input_of(MOST_LINES)) == (MOST_LINES, ())
    assert [one.code for one in checked(tmp_path, input_of(MOST_LINES + 1))[1]] == ["too_many_tasks"]


def test_what_a_killed_upload_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    for name in (".file-1.x", "file-2", "file-3", "file-3.json", "file-4", "file-4.json", "batch_1.json"):
        (tmp_path / name).write_text("broken")
    fine = {"size": 6, "created_at": 1, "filename": "f", "purpose": "batch", "owner": "anna", "team": ""}
    (tmp_path / "file-4.json").write_text(json.dumps({"id": "file-4", **fine}))
    Files(tmp_path, MAX)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"file-3", "file-3.json", "file-4", "file-4.json", "batch_1.json"}
