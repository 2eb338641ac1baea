"""Who may go on, asked of a real database."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.accounts import keys, suspension
from appliance.accounts.resolve import Credentials
from appliance.accounts.tables import ApiKey
from appliance.gateway.doorkeeper import Doorkeeper
from appliance.http.asgi import Message, Request
from appliance.store.schema import ensure
from appliance.store.sessions import session
from appliance.units import now_us


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database."""
    ensure(tmp_path / "appliance.db")
    return tmp_path / "appliance.db"


@pytest.fixture
def credentials(file: Path) -> Iterator[Credentials]:
    """What the gateway asks."""
    with closing(Credentials(file)) as opened:
        yield opened


async def _nothing() -> Message:
    raise AssertionError("nobody reads")


def request() -> Request:
    """A request from this machine."""
    return Request({"headers": [], "client": ("127.0.0.1", 1)}, _nothing, "req-1")


def enter(door: Doorkeeper, credentials: Credentials, file: Path, owner: str) -> tuple[Request, str]:
    """Somebody with a key of their own asks for something; the request, and the id of the key."""
    with session(file) as opened:
        key, secret = keys.create(opened, owner)
        key_id = key.id
    found = request()
    door.enter(found, credentials.resolve(f"Bearer {secret}", "127.0.0.1"))
    return found, key_id


def code(one: Request) -> str:
    """Why a request was ended; empty where it was not."""
    return "" if one.ended is None else one.ended.code


def test_only_those_are_ended_who_may_not_go_on(file: Path, credentials: Credentials) -> None:
    door = Doorkeeper(credentials)
    stays, gone, suspended, expired = (enter(door, credentials, file, name) for name in ("a", "b", "c", "d"))
    left, _ = enter(door, credentials, file, "c")
    stopped: list[str] = []
    suspended[0].stop = lambda: stopped.append("c")
    stays[0].stop = lambda: stopped.append("a")
    with session(file, alone=True) as opened:
        key = opened.get(ApiKey, gone[1])
        assert key is not None
        keys.revoke(opened, key)
        suspension.suspend(opened, suspension.USER, "c")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE api_key SET expires_at = ? WHERE id = ?", (now_us() - 1, expired[1]))
    door.leave(left)
    asyncio.run(door.look())
    asyncio.run(door.look())
    assert [code(one) for one, _ in (stays, gone, suspended, expired)] == ["", "key-refused", "suspended", ""]
    assert (code(left), stopped) == ("", ["c"])


def test_a_look_that_fails_is_tried_again(
    file: Path, credentials: Credentials, capsys: pytest.CaptureFixture[str]
) -> None:
    door = Doorkeeper(credentials)
    found, _ = enter(door, credentials, file, "e")

    async def meanwhile() -> None:
        ended = asyncio.Event()
        found.stop = ended.set
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("ALTER TABLE suspension RENAME TO away")
            keeping = asyncio.create_task(door.keep())
            # The first look is over before anybody else gets a turn.
            await asyncio.sleep(0)
            assert "doorkeeper" in capsys.readouterr().err
            connection.execute("ALTER TABLE away RENAME TO suspension")
        with session(file, alone=True) as opened:
            suspension.suspend(opened, suspension.USER, "e")
        async with asyncio.timeout(10):
            await ended.wait()
        keeping.cancel()

    asyncio.run(meanwhile())
    assert code(found) == "suspended"
