"""The journal of a partial file: what it says after any crash is true."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from appliance.downloads.journal import Journal, Subject

SUBJECT = Subject('"one"', 1000, 10)


def noted(path: Path, subject: Subject = SUBJECT) -> frozenset[int]:
    journal = Journal(path, subject)
    journal.close()
    return journal.finished


def test_a_journal_is_gone_on_with(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.journal", SUBJECT)
    assert journal.finished == frozenset()
    journal.add([3, 1])
    journal.add([99])
    journal.close()
    assert noted(tmp_path / "a.journal") == {1, 3, 99}


def test_a_journal_of_something_else_is_begun_anew(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a.journal", SUBJECT)
    journal.add([3])
    journal.close()
    for other in (Subject('"two"', 1000, 10), Subject('"one"', 1001, 10), Subject('"one"', 1000, 20)):
        assert noted(tmp_path / "a.journal", other) == frozenset()


@given(cut=st.integers(0, 80))
def test_a_journal_that_was_cut_off_knows_less_and_nothing_wrong(cut: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.journal")
        journal = Journal(path, SUBJECT)
        journal.add([1, 11, 12, 13])
        journal.close()
        path.write_bytes(path.read_bytes()[:cut])
        known = noted(path)
        assert known <= {1, 11, 12, 13}
        journal = Journal(path, SUBJECT)
        journal.add([50])
        journal.close()
        assert noted(path) == known | {50}


def test_pieces_that_the_file_does_not_have_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    noted(path)
    path.write_text(path.read_text() + "100\n-1\n5\n")
    assert noted(path) == {5}
