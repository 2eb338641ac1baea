"""A release: what it says, who signed it, and every attack that it must withstand."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from appliance.cli.update import seconds_until
from appliance.errors import ApplianceError
from appliance.policy.updates import slower
from appliance.update import incoming, manifest, signing
from appliance.update.manifest import MANIFEST, SIGNATURES, Listed, Manifest

NOW, DAY = 1_800_000_000_000_000, 86_400_000_000


class Release:
    """A signed release in a folder, and the keys that are trusted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "release"
        (self.folder / "wheels").mkdir(parents=True)
        (self.folder / "wheels/appliance-0.2.0-py3-none-any.whl").write_bytes(b"code")
        (self.folder / "requirements.txt").write_bytes(b"appliance==0.2.0")
        self.files = [folder / name for name in ("anna", "carl", "mallory")]
        self.anna, self.carl, self.mallory = map(signing.new_key, self.files)
        self.trusted = [self.anna, self.carl]
        self.place = str(self.folder)
        self.make()

    def make(self, serial: int = 7, expires: int = NOW + DAY, from_min: str = "0.1.0", signers: int = 2) -> None:
        signing.make(self.folder, "0.2.0", serial, expires, from_min)
        for file in self.files[:signers]:
            signing.sign(self.folder, file)

    def accept(self, into: Path, version: str = "0.1.0", serial: int = 3) -> Manifest:
        """What an appliance does with it, up to where it would be staged."""
        source = incoming.source_of(self.place)
        documents = {name: source.document(name) for name in (MANIFEST, SIGNATURES)}
        manifest.check_signatures(documents[MANIFEST], documents[SIGNATURES], self.trusted, 2)
        found = manifest.read(documents[MANIFEST])
        manifest.judge(found, NOW, version, serial)
        incoming.bring(source, found, documents, into)
        manifest.compare(found, signing.files_of(into))
        return found

    def change(self, name: str, change: Callable[[dict[str, object]], object]) -> None:
        said = json.loads((self.folder / name).read_bytes())
        change(said)
        (self.folder / name).write_text(json.dumps(said))


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path)


def refused(release: Release, tmp_path: Path, code: str, **how: object) -> str:
    with pytest.raises(ApplianceError) as caught:
        release.accept(tmp_path / "in", **how)  # type: ignore[arg-type]
    assert caught.value.code == code
    return caught.value.sentence


def test_a_release_that_two_have_signed_arrives_whole(release: Release, tmp_path: Path) -> None:
    found = release.accept(tmp_path / "in")
    assert (found.version, found.serial, len(found.files)) == ("0.2.0", 7, 2)
    assert (tmp_path / "in/wheels/appliance-0.2.0-py3-none-any.whl").read_bytes() == b"code"
    assert manifest.read(found.to_json()) == found


def test_signed_by_two_of_three_trusted_keys_is_enough(release: Release, tmp_path: Path) -> None:
    release.trusted.append("ab" * 32)
    assert release.accept(tmp_path / "in").serial == 7


@pytest.fixture
def far(release: Release) -> Iterator[Release]:
    """The same at an address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(release.folder))) as server:
        Thread(target=server.serve_forever).start()
        release.place = f"http://127.0.0.1:{server.server_port}/"
        yield release
        server.shutdown()


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_from_an_address_it_is_the_same(far: Release, tmp_path: Path) -> None:
    assert len(far.accept(tmp_path / "in").files) == 2
    # What is besides on the server is never fetched.
    (far.folder / "more").write_bytes(b"x")
    far.accept(tmp_path / "in")
    assert not (tmp_path / "in" / "more").exists()
    (far.folder / "requirements.txt").write_bytes(b"appliance==0.2.0 and a long tail")
    refused(far, tmp_path, "update-damaged")
    (far.folder / "requirements.txt").unlink()
    assert "404" in refused(far, tmp_path, "update-unreachable")


@pytest.mark.parametrize("change", [b"CODE", b"code and more", b""])
def test_a_changed_file(release: Release, tmp_path: Path, change: bytes) -> None:
    (release.folder / "wheels/appliance-0.2.0-py3-none-any.whl").write_bytes(change)
    assert "is not the file that was signed" in refused(release, tmp_path, "update-damaged")


def test_an_extra_file(release: Release, tmp_path: Path) -> None:
    (release.folder / "wheels/evil-1.0-py3-none-any.whl").write_bytes(b"x")
    assert "not on its list" in refused(release, tmp_path, "update-damaged")
    assert not list((tmp_path / "in").iterdir()), "nothing was fetched"


def test_a_missing_file(release: Release, tmp_path: Path) -> None:
    (release.folder / "requirements.txt").unlink()
    assert "requirements.txt is missing" in refused(release, tmp_path, "update-damaged")


def test_a_link_in_the_place_of_a_file(release: Release, tmp_path: Path) -> None:
    file = release.folder / "requirements.txt"
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    refused(release, tmp_path, "update-unreachable")


def test_a_file_that_never_ends(release: Release, tmp_path: Path) -> None:
    """No more of it is taken than what is listed, and one byte."""
    (release.folder / "requirements.txt").unlink()
    with (release.folder / "requirements.txt").open("wb") as file:
        os.truncate(file.fileno(), 2**40)
    refused(release, tmp_path, "update-damaged")
    assert (tmp_path / "in/requirements.txt").stat().st_size == len(b"appliance==0.2.0") + 1


@pytest.mark.parametrize(
    "path",
    [
        "../outside",
        "/etc/passwd",
        "wheels/../../x",
        "wheels//x",
        "",
        ".hidden",
        "a\\b",
        "wheels/.x",
        MANIFEST,
        "a\n",
        7,
    ],
)
def test_a_path_that_leads_elsewhere(release: Release, tmp_path: Path, path: object) -> None:
    """Even where the keepers of the keys have signed it."""

    def listed(said: dict[str, object]) -> None:
        files = said["files"]
        assert isinstance(files, list)
        files[0]["path"] = path

    release.change(MANIFEST, listed)
    (release.folder / SIGNATURES).unlink()
    for file in release.files[:2]:
        signing.sign(release.folder, file)
    refused(release, tmp_path, "update-refused")
    assert not (tmp_path / "in").exists()


def test_an_old_serial(release: Release, tmp_path: Path) -> None:
    assert "older" in refused(release, tmp_path, "update-refused", serial=8)
    assert release.accept(tmp_path / "in", serial=7).serial == 7


def test_an_expired_one(release: Release, tmp_path: Path) -> None:
    release.make(expires=NOW)
    assert "before" in refused(release, tmp_path, "update-refused")


def test_one_for_newer_versions(release: Release, tmp_path: Path) -> None:
    release.make(from_min="0.1.10")
    assert "0.1.10" in refused(release, tmp_path, "update-refused", version="0.1.9")
    assert release.accept(tmp_path / "in", version="0.1.10").from_min == "0.1.10"


def test_one_signature(release: Release, tmp_path: Path) -> None:
    release.make(signers=1)
    assert "1 of the keys" in refused(release, tmp_path, "update-not-signed")


def test_the_same_key_twice(release: Release, tmp_path: Path) -> None:
    release.make(signers=1)
    release.change(SIGNATURES, lambda said: said.update(signatures=[*said["signatures"]] * 2))  # type: ignore[misc]
    assert "1 of the keys" in refused(release, tmp_path, "update-not-signed")
    release.trusted = [release.anna, release.anna]
    refused(release, tmp_path, "update-no-keys")


def test_a_wrong_key(release: Release, tmp_path: Path) -> None:
    release.make(signers=1)
    signing.sign(release.folder, release.files[2])
    assert "1 of the keys" in refused(release, tmp_path, "update-not-signed")


def test_a_name_that_is_not_the_signers(release: Release, tmp_path: Path) -> None:
    release.make(signers=1)
    signing.sign(release.folder, release.files[2])

    def lie(said: dict[str, object]) -> None:
        signatures = said["signatures"]
        assert isinstance(signatures, list)
        signatures[1]["key"] = release.carl

    release.change(SIGNATURES, lie)
    refused(release, tmp_path, "update-not-signed")


def test_a_list_that_was_changed_after_it_was_signed(release: Release, tmp_path: Path) -> None:
    release.change(MANIFEST, lambda said: said.update(serial=99))
    assert "0 of the keys" in refused(release, tmp_path, "update-not-signed")


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"signatures": 1}', b'{"signatures": [{}]}', b"[" * 100_000])
def test_signatures_that_are_none(release: Release, tmp_path: Path, text: bytes) -> None:
    (release.folder / SIGNATURES).write_bytes(text)
    refused(release, tmp_path, "update-not-signed")


def test_no_documents_at_all(release: Release, tmp_path: Path) -> None:
    (release.folder / MANIFEST).unlink()
    refused(release, tmp_path, "update-unreachable")


@pytest.mark.parametrize(
    "change",
    [
        {"serial": 0}, {"serial": True}, {"serial": "8"}, {"expires": 1.5}, {"version": "2"}, {"version": "1.2.3rc1"},
        {"from_min": None}, {"files": 3}, {"format": 2}, {"more": 1, "files": [{"path": "a", "size": -1}]},
    ],
)  # fmt: skip
def test_a_list_that_is_none(change: dict[str, object]) -> None:
    sound = Manifest("0.2.0", 1, NOW, "0.1.0", (Listed("a", 1, "0" * 64),))
    manifest.read(sound.to_json())
    with pytest.raises(ApplianceError) as caught:
        manifest.read(json.dumps({**json.loads(sound.to_json()), **change}).encode())
    assert caught.value.code == "update-refused"


def test_a_file_that_is_listed_twice() -> None:
    one = Listed("a", 1, "0" * 64)
    with pytest.raises(ApplianceError):
        manifest.read(Manifest("0.2.0", 1, NOW, "0.1.0", (one, replace(one, size=2))).to_json())


def test_an_address_that_is_not_encrypted_is_none() -> None:
    with pytest.raises(ApplianceError) as caught:
        incoming.source_of("http://updates.example.com/release")
    assert caught.value.code == "wrong-use"


def test_a_key_is_never_written_over(release: Release) -> None:
    before = release.files[0].read_bytes()
    assert release.files[0].stat().st_mode & 0o777 == 0o600
    with pytest.raises(ApplianceError):
        signing.new_key(release.files[0])
    assert release.files[0].read_bytes() == before


def test_slower_than_nine_tenths_is_too_slow() -> None:
    assert slower({"m": 100.0}, {"m": 90.0}) == ""
    assert "m writes 89.0 tokens a second, and 100.0 before" in slower({"m": 100.0}, {"m": 89.0})
    assert slower({"m": 100.0}, {}) == "", "what could not be measured is no alarm"


def test_a_time_of_day_is_the_next_one() -> None:
    now = datetime(2026, 11, 29, 1, 30, 15, tzinfo=UTC)
    assert seconds_until("02:00", now) == 29 * 60 + 45
    assert seconds_until("01:30", now) == 86_400 - 15
    with pytest.raises(ApplianceError):
        seconds_until("25:00", now)
