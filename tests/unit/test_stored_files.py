"""Room for files, and the key of a batch as it stands now."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.accounts.keys import create, revoke
from appliance.accounts.resolve import Credentials
from appliance.accounts.suspension import suspend
from appliance.errors import ApplianceError
from appliance.gateway.files import Files
from appliance.store import schema
from appliance.store.sessions import session


def refusal(files: Files, size: int) -> str | None:
    """The code with which room is refused."""
    try:
        with files.room(size):
            return None
    except ApplianceError as error:
        return error.code


def test_room_is_kept_for_what_is_on_its_way(tmp_path: Path) -> None:
    files = Files(tmp_path, 1000)
    assert refusal(files, 1) is None
    assert refusal(files, 1 << 60) == "disk-full"
    with files.room(1):
        files._promised += 1 << 60
        assert refusal(files, 1) == "disk-full"
        files._promised -= 1 << 60
    assert refusal(files, 1) is None


def test_a_disk_that_fills_up_on_the_way_is_told_of(tmp_path: Path) -> None:
    files = Files(tmp_path, 1000)
    with pytest.raises(ApplianceError) as caught, files.room(1), Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")
    assert caught.value.code == "disk-full"
    with pytest.raises(FileNotFoundError), files.room(1):
        (tmp_path / "none").read_bytes()


def test_a_key_is_resolved_by_its_id_as_it_stands_now(tmp_path: Path) -> None:
    database = tmp_path / "appliance.db"
    schema.ensure(database)
    with session(database) as opened:
        made = create(opened, "anna", team="sales", addresses=["10.0.0.0/8"], models=["chat"])[0]
        old = create(opened, "anna", expires_at=1)[0]
        id, old_id = made.id, old.id
    credentials = Credentials(database)

    def code(key_id: str, address: str | None) -> str | None:
        try:
            principal = credentials.resolve_key(key_id, address)
        except ApplianceError as error:
            return error.code
        assert (principal.name, principal.team, principal.models) == ("anna", "sales", frozenset({"chat"}))
        return None

    assert code(id, "10.1.2.3") is None
    assert code(id, "192.168.1.1") == "address-not-allowed"
    assert code(id, None) == "address-not-allowed"
    assert code(old_id, "10.1.2.3") == "key-expired"
    assert code("key-none", "10.1.2.3") == "key-refused"
    with session(database) as opened:
        suspend(opened, "team", "sales")
    assert code(id, "10.1.2.3") == "suspended"
    with session(database) as opened:
        found = opened.get(type(made), id)
        assert found is not None
        revoke(opened, found)
    assert code(id, "10.1.2.3") == "key-refused"
    credentials.close()
