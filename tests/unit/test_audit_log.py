"""The audit log in its database: acts of commands, events of the gateway, and what is done to its files."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.accounts import keys
from appliance.accounts.tables import ApiKey
from appliance.audit import reading, writer
from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.audit.chain import START, Link, Trouble
from appliance.audit.restart import damaged, restart
from appliance.audit.writer import MANY, MOST_KINDS, AuditWriter
from appliance.config.paths import Home, account
from appliance.errors import ApplianceError
from appliance.store import schema
from appliance.store.sessions import session


@pytest.fixture(scope="module")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the schema, to be copied."""
    file = tmp_path_factory.mktemp("new") / "appliance.db"
    schema.ensure(file)
    return file


@pytest.fixture
def home(tmp_path: Path, new_database: Path) -> Home:
    """A state folder with an empty database."""
    made = Home(tmp_path / "appliance.toml", tmp_path / "var")
    made.prepare()
    shutil.copy(new_database, made.database)
    return made


def act(home: Home, count: int = 1) -> None:
    """Acts of the admin."""
    for number in range(count):
        with acting(home) as acts:
            acts.note(Action.KEY_CREATED, f"key-{number}", owner="anna")


def events(home: Home) -> list[tuple[Any, ...]]:
    """Action, target and facts of all events."""
    return [(one["action"], one["target"], one["facts"]) for one in reading.events(home, 0)]


def sql(home: Home, statement: str) -> None:
    """What somebody with the database file at hand can do."""
    with closing(sqlite3.connect(home.database)) as connection, connection:
        connection.execute(statement)


def in_gateway(home: Home, scenario: Callable[[AuditWriter], Any]) -> None:
    """Run a coroutine with the gateway's writer."""

    async def run() -> None:
        audit = AuditWriter(home)
        try:
            await scenario(audit)
        finally:
            await audit.close()

    asyncio.run(run())


def test_an_act_and_its_event_are_one_transaction(home: Home) -> None:
    with acting(home) as acts:
        key, _ = keys.create(acts.session, "anna")
        acts.note(Action.KEY_CREATED, key.id, owner=key.owner)
        made = key.id
    with pytest.raises(RuntimeError, match="thought better"), acting(home) as acts:
        other, _ = keys.create(acts.session, "ben")
        acts.note(Action.KEY_CREATED, other.id, owner=other.owner)
        raise RuntimeError("thought better of it")
    with session(home.database) as opened:
        assert [one.key.id for one in keys.listed(opened)] == [made]
    shown = reading.newest(home, 10)
    assert [(one["seq"], one["actor"], one["target"]) for one in shown] == [(1, f"os:{account()}", made)]
    assert reading.words(shown[0]) == f"anna's key {made} was made by os:{account()}"
    assert reading.verify(home).fault is None
    for file in (home.audit_key, home.audit_anchor):
        assert file.stat().st_mode & 0o777 == 0o600
    assert home.audit_key.read_bytes() not in home.database.read_bytes()


def test_who_used_sudo_is_named_too(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "anna")
    act(home)
    assert reading.newest(home, 1)[0]["actor"].endswith(" (sudo by anna)")


def test_several_acts_of_one_transaction_stand_one_after_another(home: Home) -> None:
    with acting(home) as acts:
        acts.note(Action.BUDGET_SET, "sales", kind="team", amount=5)
        acts.note(Action.BUDGET_REMOVED, "ben", kind="user")
    checked = reading.verify(home)
    assert (checked.events, checked.ahead, checked.fault) == (2, 0, None)


EVIL = {
    "an edit": ("UPDATE audit_event SET actor = 'os:ben' WHERE seq = 2", Trouble.EDITED, 2),
    "an edit that is no text": ("UPDATE audit_event SET target = x'ff' WHERE seq = 2", Trouble.EDITED, 2),
    "a text that cannot be read": ("UPDATE audit_event SET target = CAST(x'ff' AS TEXT) WHERE seq = 2",
                                   Trouble.EDITED, 2),
    "a removed row": ("DELETE FROM audit_event WHERE seq = 2", Trouble.MISSING, 2),
    "the first removed": ("DELETE FROM audit_event WHERE seq = 1", Trouble.MISSING, 1),
    "a cut tail": ("DELETE FROM audit_event WHERE seq > 3", Trouble.CUT, 4),
    "all removed": ("DELETE FROM audit_event", Trouble.CUT, 1),
    "an added row": ("INSERT INTO audit_event SELECT 6, at, actor, action, target, '', facts, mac FROM audit_event"
                     " WHERE seq = 5", Trouble.EDITED, 6),
}  # fmt: skip


@pytest.mark.parametrize("name", EVIL)
def test_what_is_done_to_the_table_is_found(home: Home, name: str) -> None:
    statement, trouble, seq = EVIL[name]
    act(home, 5)
    sql(home, statement)
    fault = reading.verify(home).fault
    assert fault is not None
    assert (fault.trouble, fault.seq) == (trouble, seq)
    list(map(reading.words, reading.newest(home, 10)))


@pytest.mark.parametrize(
    ("file", "trouble"),
    [
        ("audit.key", Trouble.KEY_MISSING),
        ("audit.anchor", Trouble.ANCHOR_MISSING),
    ],
)
def test_a_lost_file_is_found_and_nothing_goes_on_record_until_a_restart(
    home: Home, file: str, trouble: Trouble
) -> None:
    act(home, 3)
    (home.state / file).unlink()
    refuses_until_restart(home, trouble)


@pytest.mark.parametrize("statement", ["DELETE FROM audit_event WHERE seq = 3", "UPDATE audit_event SET mac = 'x'"])
def test_a_damaged_end_is_not_covered_up_by_going_on(home: Home, statement: str) -> None:
    act(home, 3)
    sql(home, statement)
    refuses_until_restart(home, None)


@pytest.mark.parametrize("text", [b"", b"{}", b"half of a"])
def test_a_damaged_anchor_is_found(home: Home, text: bytes) -> None:
    act(home, 3)
    home.audit_anchor.write_bytes(text)
    refuses_until_restart(home, Trouble.ANCHOR_EDITED)


def refuses_until_restart(home: Home, trouble: Trouble | None) -> None:
    """Nothing is done on a damaged log; a restart puts it aside with all its rows, and numbers go on."""
    fault = damaged(home)
    assert trouble in (None, fault.trouble)
    with pytest.raises(ApplianceError) as refused, acting(home) as acts:
        acts.session.add(ApiKey(id="key-x", owner="x", digest="x", created_at=0))
        acts.note(Action.KEY_CREATED, "key-x")
    assert refused.value.code == "audit-broken"
    with session(home.database) as opened:
        assert keys.listed(opened) == []
    with pytest.raises(ApplianceError) as stopped:
        in_gateway(home, lambda audit: asyncio.sleep(0))
    assert stopped.value.code == "audit-broken"
    rows = len(events(home))
    aside = restart(home, fault)
    assert (aside.events, len(aside.file.read_text().splitlines())) == (rows, rows)
    assert aside.file.stat().st_mode & 0o777 == 0o600
    act(home)
    checked = reading.verify(home)
    assert (checked.fault, checked.events) == (None, 2)
    first = reading.newest(home, 2)[0]
    assert (first["action"], first["facts"]["sha256"]) == ("audit-restarted", aside.sha256)
    assert first["seq"] > max(rows, 1)
    with pytest.raises(ApplianceError) as nothing:
        damaged(home)
    assert nothing.value.code == "wrong-use"


def test_a_beginning_that_was_cut_off_is_begun_again(home: Home) -> None:
    act(home)
    sql(home, "DELETE FROM audit_event")
    home.audit_key.unlink()
    # Only the anchor of an empty log is there, as after a kill between it and the key.
    home.audit_anchor.write_text(json.dumps({"begin": [*START], "last": [*START], "proof": ""}))
    act(home)
    assert reading.verify(home).fault is None


def test_a_log_without_key_and_anchor_is_no_new_one(home: Home) -> None:
    act(home)
    home.audit_key.unlink()
    home.audit_anchor.unlink()
    fault = reading.verify(home).fault
    assert fault is not None
    assert fault.trouble is Trouble.KEY_MISSING
    with pytest.raises(ApplianceError):
        act(home)


def test_an_older_copy_of_all_is_found_by_a_head_that_was_written_down_or_noted_by_the_gateway(
    home: Home, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    act(home, 2)
    kept = [home.database.read_bytes(), home.audit_anchor.read_bytes()]
    in_gateway(home, lambda audit: audit.write(Action.STARTED, "gateway", "0.1.0"))
    head = reading.verify(home).last
    # The file as of earlier; what its journal has since is gone.
    for suffix in ("-wal", "-shm"):
        Path(f"{home.database}{suffix}").unlink(missing_ok=True)
    home.database.write_bytes(kept[0])
    home.audit_anchor.write_bytes(kept[1])
    assert reading.verify(home).fault is None, "nothing on the disk is newer"
    fault = reading.verify(home, [head]).fault
    assert fault is not None
    assert (fault.trouble, fault.seq) == (Trouble.CUT, 3)
    assert reading.verify(home, [Link(1, "a" * 64)]).fault is not None
    (home.logs / "serve.log").write_bytes(b'noise\n{"event":"audit-head"\n' + capfdbinary.readouterr().err)
    noted = reading.verify(home).fault
    assert noted == fault


def test_an_event_of_the_gateway_is_there_once_write_returns(home: Home) -> None:
    async def scenario(audit: AuditWriter) -> None:
        await audit.write(Action.CLOUD_SENT, "anna", "openai", "req-1", model="big")
        assert events(home) == [("cloud-sent", "openai", {"model": "big"})]
        assert reading.verify(home).ahead == 0
        await asyncio.gather(*(audit.write(Action.CLOUD_SENT, "ben", "openai", f"req-{n}") for n in range(50)))

    in_gateway(home, scenario)
    assert [one["request_id"] for one in reading.events(home, 2)] == [f"req-{n}" for n in range(50)]
    assert reading.verify(home).fault is None


def test_whoever_hangs_up_does_not_stop_the_event(home: Home) -> None:
    async def scenario(audit: AuditWriter) -> None:
        task = asyncio.create_task(audit.write(Action.CLOUD_SENT, "anna", "openai", "req-1"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_gateway(home, scenario)
    assert len(events(home)) == 1


def test_the_first_refusal_is_on_record_at_once_and_repeats_are_counted(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WINDOW_S", 0.5)

    async def scenario(audit: AuditWriter) -> None:
        await audit.deny("10.0.0.7", "key-refused", "/v1/models", "req-0")
        assert events(home) == [("denied", "/v1/models", {"code": "key-refused"})]
        await asyncio.gather(*(audit.deny("10.0.0.7", "key-refused", "/v1/models", f"req-{n}") for n in range(1000)))
        await audit.deny("10.0.0.8", "key-refused", "/v1/models", "req-1")
        assert len(events(home)) == 2
        await asyncio.sleep(0.8)
        assert len(events(home)) == 3
        await audit.deny("10.0.0.7", "key-refused", "/v1/models", "req-2")
        assert len(events(home)) == 4, "after the window it is a first one again"
        await audit.deny("10.0.0.7", "key-refused", "/v1/models", "req-3")

    in_gateway(home, scenario)
    assert [facts.get("count") for _, _, facts in events(home)] == [None, None, 1000, None, 1]
    assert reading.verify(home).fault is None


def test_repeats_that_come_while_the_first_is_being_written_wait_for_it(home: Home) -> None:
    async def scenario(audit: AuditWriter) -> None:
        async def refuse() -> int:
            await audit.deny("ben", "budget-spent", "chat", "req-1")
            return len(events(home))

        assert min(await asyncio.gather(*(refuse() for _ in range(20)))) == 1

    in_gateway(home, scenario)


def test_a_flood_from_everywhere_takes_bounded_memory_and_room(home: Home) -> None:
    async def scenario(audit: AuditWriter) -> None:
        for number in range(5000):
            await audit.deny(f"10.0.{number // 256}.{number % 256}", "key-refused", "x" * 1000, "req-1")

    in_gateway(home, scenario)
    found = events(home)
    assert len(found) == MOST_KINDS + 2
    assert found[-1][1:] == (MANY, found[-1][2])
    assert found[-1][2]["count"] == 5000 - MOST_KINDS - 1


def test_a_log_that_cannot_be_written_refuses_until_it_can_again_and_says_so(home: Home) -> None:
    async def scenario(audit: AuditWriter) -> None:
        await audit.deny("ben", "budget-spent", "chat", "req-1")
        await audit.deny("ben", "budget-spent", "chat", "req-2")
        sql(home, "ALTER TABLE audit_event RENAME TO away")
        with pytest.raises(ApplianceError) as refused:
            await audit.write(Action.CLOUD_SENT, "anna", "openai", "req-3")
        assert (refused.value.code, refused.value.kind.http) == ("audit-unavailable", 503)
        for what in (audit.deny("ben", "budget-spent", "chat", "req-4"), audit.deny("new", "key-refused", "x", "")):
            with pytest.raises(ApplianceError):
                await what
        with pytest.raises(ApplianceError):
            audit.check()
        await asyncio.sleep(1.2)
        sql(home, "ALTER TABLE away RENAME TO audit_event")
        await asyncio.sleep(1.5)
        audit.check()

    in_gateway(home, scenario)
    found = events(home)
    assert [action for action, _, _ in found] == ["denied", "audit-resumed", "denied"]
    assert found[1][2]["refused"] == 4
    assert found[2][2]["count"] == 1
    assert reading.verify(home).fault is None


def test_trying_again_leaves_nothing_behind_where_only_the_anchor_fails(home: Home) -> None:
    async def scenario(audit: AuditWriter) -> None:
        # Nobody expects a folder here, so it stands for a file that cannot be written.
        (home.run / "audit.lock").mkdir()
        with pytest.raises(ApplianceError):
            await audit.write(Action.CLOUD_SENT, "anna", "openai", "req-1")
        await asyncio.sleep(2.5)
        assert len(events(home)) == 1
        assert not list(home.state.glob(".audit.anchor.*"))
        (home.run / "audit.lock").rmdir()
        await asyncio.sleep(1.5)
        audit.check()

    in_gateway(home, scenario)
    assert [action for action, _, _ in events(home)] == ["cloud-sent", "audit-resumed"]
    checked = reading.verify(home)
    assert (checked.fault, checked.ahead) == (None, 0)


def test_a_gateway_that_ends_while_the_log_cannot_be_written_says_what_is_lost(
    home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    async def scenario(audit: AuditWriter) -> None:
        await audit.deny("ben", "budget-spent", "chat", "req-1")
        await audit.deny("ben", "budget-spent", "chat", "req-2")
        sql(home, "ALTER TABLE audit_event RENAME TO away")

    in_gateway(home, scenario)
    assert '"audit-not-written"' in capfd.readouterr().err


def test_commands_and_the_gateway_share_one_chain(home: Home) -> None:
    async def scenario(audit: AuditWriter) -> None:
        await audit.write(Action.STARTED, "gateway", "0.1.0")
        await asyncio.to_thread(act, home)
        await audit.write(Action.STOPPED, "gateway", "0.1.0")

    in_gateway(home, scenario)
    assert [action for action, _, _ in events(home)] == ["started", "key-created", "stopped"]
    assert reading.verify(home).fault is None
