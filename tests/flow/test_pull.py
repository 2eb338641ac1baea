"""A pull against a far side that misbehaves: the right file on the shelf, or a clear error, and never a bad file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.artifacts.shelf import Shelf
from appliance.catalog.models import Model
from appliance.downloads.pieces import Limits, journal_of
from appliance.errors import ApplianceError
from appliance.units import KIB, MIB
from tests.support.hub import FAST, Hub, model_file, row

SIZE = MIB + 12_345


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub(seed=1) as started:
        yield started


@pytest.fixture
def file(tmp_path: Path, hub: Hub) -> Path:
    """The file that the hub serves, well-behaved so far."""
    made = model_file(tmp_path / "served.gguf", SIZE)
    hub.behave(made)
    return made


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    folder = tmp_path / "models"
    folder.mkdir()
    return Shelf(folder, FAST)


@pytest.fixture
def model(hub: Hub, file: Path) -> Model:
    return row(file, f"{hub.url}/cdn/file")


def pull(shelf: Shelf, model: Model) -> list[tuple[int, int]]:
    """Pull, make sure that the right file and nothing else is there; what was told on the way."""
    heard: list[tuple[int, int]] = []
    path = shelf.pull(model, lambda done, total: heard.append((done, total)))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == model.sha256
    assert [left for left in path.parent.iterdir() if left.name != "locks.json"] == [path]
    return heard


def refused(shelf: Shelf, model: Model) -> ApplianceError:
    """The error of a pull that must not put anything on the shelf."""
    with pytest.raises(ApplianceError) as caught:
        shelf.pull(model, lambda done, total: None)
    assert not list(shelf.path(model).parent.glob("*.gguf"))
    return caught.value


def asked(hub: Hub) -> list[dict[str, Any]]:
    return [entry for entry in hub.log() if entry["path"].startswith("/cdn/")]


def test_the_right_hash_makes_no_model_of_a_file_whose_header_lies(hub: Hub, shelf: Shelf, file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[37:45] = (1 << 40).to_bytes(8, "little")
    file.write_bytes(data)
    hub.behave(file)
    error = refused(shelf, row(file, f"{hub.url}/cdn/file"))
    assert (error.code, "tensors end at byte" in error.sentence) == ("model-not-gguf", True)
    assert list(shelf.path(row(file, "")).parent.iterdir()) == []


def test_a_file_comes_in_ranges_and_progress_is_told(hub: Hub, shelf: Shelf, model: Model) -> None:
    hub.tell(rate=4 * MIB)
    heard = pull(shelf, model)
    assert heard == sorted(heard)
    assert heard[-1] == (SIZE, SIZE)
    ranges = {entry["range"] for entry in asked(hub)}
    assert len(ranges) == 1 + -(-SIZE // FAST.piece)
    assert {entry["if-range"] for entry in asked(hub)} == {None, '"one"'}


def test_what_is_there_is_not_fetched_again(hub: Hub, shelf: Shelf, model: Model) -> None:
    pull(shelf, model)
    hub.tell()
    pull(shelf, model)
    assert hub.log() == []


@pytest.mark.parametrize(
    "orders",
    [
        {"cut": 0.7},
        {"ranges": False},
        {"ranges": False, "cut": 0.7},
        {"version": ""},
        {"version": "", "ranges": False},
        {"change_at": 5},
        {"change_at": 5, "ranges": False},
        {"flip": 1},
        {"flip": 1, "ranges": False},
        {"fail": [429, 3, "0"]},
        {"fail": [503, 3, None]},
        {"fail": [503, 2, "Mon, 01 Jan 2024 00:00:00 GMT"]},
        {"fail": [500, 3, "soon"]},
    ],
    ids=str,
)
def test_trouble_that_passes_is_put_up_with(hub: Hub, shelf: Shelf, model: Model, orders: dict[str, Any]) -> None:
    hub.tell(**orders)
    pull(shelf, model)


@pytest.mark.parametrize(
    ("orders", "code", "said"),
    [
        ({"longer": 1}, "wrong-hash", f"{SIZE + 1} bytes, and {SIZE} bytes were expected"),
        ({"longer": -1}, "wrong-hash", f"{SIZE - 1} bytes, and {SIZE} bytes were expected"),
        ({"gone_at": 1}, "source-refused", "404"),
        ({"gone_at": 5}, "source-refused", "404"),
        ({"fail": [403, 99, None]}, "source-refused", "403"),
        ({"fail": [418, 99, None]}, "download-failed", "418"),
        ({"fail": [429, 99, "900"]}, "source-unreachable", "come back in 15 min"),
        ({"fail": [503, 999, None]}, "source-unreachable", "it answers 503"),
        ({"flip": 999}, "wrong-hash", "expected sha256"),
        ({"flip": 999, "ranges": False}, "wrong-hash", "expected sha256"),
    ],
    ids=str,
)
def test_trouble_that_stays_is_told(
    hub: Hub, shelf: Shelf, model: Model, orders: dict[str, Any], code: str, said: str
) -> None:
    hub.tell(**orders)
    error = refused(shelf, model)
    assert (error.code, said in error.sentence) == (code, True), error.sentence


def test_a_wrong_file_says_what_was_expected_and_leaves_nothing(hub: Hub, shelf: Shelf, model: Model) -> None:
    other = replace(model, sha256="f" * 64)
    error = refused(shelf, other)
    assert other.sha256 in error.sentence
    assert model.sha256 in error.sentence
    assert list(shelf.path(other).parent.iterdir()) == []


def test_a_file_that_never_stands_still_is_given_up(hub: Hub, shelf: Shelf, model: Model) -> None:
    hub.tell(restless=True)
    error = refused(shelf, model)
    assert (error.code, "again and again" in error.sentence) == ("download-failed", True)


def test_nobody_there_is_told_at_once(shelf: Shelf, model: Model) -> None:
    error = refused(shelf, replace(model, source="http://127.0.0.1:9/file"))
    assert error.code == "source-unreachable"
    assert "refused" in error.sentence


def test_a_redirect_in_circles_is_told(hub: Hub, shelf: Shelf, model: Model) -> None:
    hub.tell(redirect="loop")
    error = refused(shelf, replace(model, source=f"{hub.url}/maker/model/resolve/main/model.gguf"))
    assert (error.code, "in circles" in error.sentence) == ("download-failed", True)


def test_a_redirect_to_an_unencrypted_host_is_refused(hub: Hub, shelf: Shelf, model: Model) -> None:
    hub.tell(redirect="plain")
    error = refused(shelf, replace(model, source=f"{hub.url}/maker/model/resolve/main/model.gguf"))
    assert error.code == "source-not-allowed"


def test_a_redirect_is_asked_for_once_and_again_when_it_has_expired(hub: Hub, shelf: Shelf, model: Model) -> None:
    hub.tell(redirect="host", fail=[403, 1, None])
    remote = replace(model, source=f"{hub.url}/maker/model/resolve/main/model.gguf")
    assert refused(shelf, remote).code == "source-refused"
    hub.tell()
    pull(shelf, remote)
    through = [entry for entry in hub.log() if "/resolve/" in entry["path"]]
    assert 1 <= len(through) <= 1 + FAST.ranges


def test_an_interrupted_pull_goes_on_with_the_pieces_that_it_had(hub: Hub, shelf: Shelf, model: Model) -> None:
    hub.tell(gone_at=10)
    refused(shelf, model)
    partial = shelf.path(model).with_suffix(".partial")
    had = [int(line) for line in journal_of(partial).read_text().splitlines()[1:]]
    assert had
    hub.tell(gone_at=0)
    assert pull(shelf, model)[0][0] >= len(had) * FAST.piece - (FAST.piece - SIZE % FAST.piece)
    again = {entry["range"] for entry in asked(hub)}
    assert not again & {f"bytes={piece * FAST.piece}-{(piece + 1) * FAST.piece - 1}" for piece in had}


@pytest.mark.parametrize("damage", ["journal gone", "journal torn", "journal of another", "partial short", "gibberish"])
def test_what_a_crash_may_leave_is_no_danger(hub: Hub, shelf: Shelf, model: Model, damage: str) -> None:
    hub.tell(gone_at=10)
    refused(shelf, model)
    partial = shelf.path(model).with_suffix(".partial")
    journal = journal_of(partial)
    if damage == "journal gone":
        journal.unlink()
    elif damage == "journal torn":
        journal.write_text(journal.read_text() + "1")
    elif damage == "journal of another":
        hub.tell(gone_at=0, version="two")
    elif damage == "partial short":
        partial.write_bytes(b"")
    else:
        journal.write_bytes(b"\xff\n1\n2\n")
    hub.tell(gone_at=0)
    pull(shelf, model)


def test_a_partial_that_was_damaged_is_fetched_anew(hub: Hub, shelf: Shelf, model: Model) -> None:
    hub.tell(gone_at=10)
    refused(shelf, model)
    with shelf.path(model).with_suffix(".partial").open("r+b") as partial:
        partial.write(b"\xff" * SIZE)
    hub.tell(gone_at=0)
    pull(shelf, model)


def test_a_server_that_sends_no_byte_more_is_a_dropped_line(hub: Hub, shelf: Shelf, model: Model) -> None:
    hub.tell(rate=50 * KIB)
    slow = Shelf(shelf.path(model).parent, replace(FAST, timeout_s=0.001))
    assert refused(slow, model).code == "source-unreachable"
    hub.tell(rate=0)
    pull(shelf, model)


@pytest.mark.slow
def test_pieces_and_ranges_may_be_of_any_number(hub: Hub, shelf: Shelf, model: Model) -> None:
    for piece, ranges in ((SIZE, 4), (SIZE * 2, 1), (10_007, 2)):
        limits = Limits(piece, ranges, 5, FAST.patience)
        pull(Shelf(shelf.path(model).parent, limits), model)
        shelf.path(model).unlink()
