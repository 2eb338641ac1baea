"""One deployment after another while requests are under way: which client they get, and who waits how long."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from appliance.accounts.keys import create
from appliance.accounts.resolve import Credentials
from appliance.cloud.gate import CloudGate
from appliance.deployment import Deployment, Engine
from appliance.errors import ApplianceError
from appliance.gateway.batches import Batches
from appliance.gateway.chat import Box, ask
from appliance.gateway.endpoints import CHAT
from appliance.gateway.files import Files
from appliance.gateway.hold import unheld
from appliance.gateway.limits import UnderWay
from appliance.gateway.reload import reload, reloading
from appliance.gateway.switchboard import Switchboard
from appliance.gateway.watch import Watchman
from appliance.http.asgi import DisconnectedError, Message, Request
from appliance.ledger.writer import LedgerWriter
from appliance.store import handover, schema
from appliance.store.sessions import session

A = Engine("chat", "a", ("chat", "a"), "a", socket="/run/a.sock")
B = Engine("chat", "b", ("chat", "b"), "b", socket="/run/b.sock")
SIDE = Engine("side", "s", ("side",), "s", url="http://127.0.0.1:9/v1")
HELD = replace(A, held=True)


def of(*engines: Engine, serial: int = 1) -> Deployment:
    """A deployment of some engines."""
    return Deployment("1", engines, serial)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on the event loop of the gateway; it leaves no task behind."""

    async def limited() -> None:
        async with asyncio.timeout(20):
            await test()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    uvloop.run(limited())


class Client:
    """Somebody who waits for an answer, and may hang up."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.request = Request({}, self._receive, "req-1")

    async def _receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}


def test_a_name_is_routed_to_the_engine_that_has_it_now() -> None:
    board = Switchboard(of(A), 0)
    first = board.now.route("chat")
    assert first == (A, board.now.clients["chat"])
    board.take(of(B))
    engine, client = board.now.route("chat")
    assert (engine, client.engine) == (B, B)
    with pytest.raises(ApplianceError, match="no model 'a'") as caught:
        board.now.route("a")
    assert (caught.value.code, caught.value.hint) == ("model-not-found", "Served are: b, chat.")


def test_an_engine_that_stays_keeps_its_client_held_or_not() -> None:
    board = Switchboard(of(A, SIDE), 0)
    chat, side = board.now.clients.values()
    for serial, engine in enumerate((A, HELD, A), 2):
        board.take(of(SIDE, engine, serial=serial))
        assert board.now.clients == {"chat": chat, "side": side}
        assert board.now.deployment.serial == serial
    board.take(of(B, SIDE))
    assert board.now.clients["chat"] is not chat
    assert board.now.clients["side"] is side


def test_requests_on_an_engine_that_is_no_longer_served_are_leaving() -> None:
    board = Switchboard(of(A), 0)
    old = board.now.clients["chat"]
    old.busy = 2
    board.take(of(B))
    assert (board.leaving, board.now.clients["chat"].busy) == (2, 0)
    board.take(of(SIDE))
    assert board.leaving == 2
    old.busy = 0
    assert board.leaving == 0


def test_an_engine_that_comes_back_while_requests_are_on_it_has_its_client_again() -> None:
    board = Switchboard(of(A), 0)
    old = board.now.clients["chat"]
    old.busy = 1
    board.take(of(B))
    board.take(of(SIDE))
    board.take(of(A))
    assert board.now.clients == {"chat": old}
    assert board.leaving == 0
    old.busy = 0
    board.take(of(B))
    board.take(of(A))
    assert board.now.clients["chat"] is not old


def test_an_engine_without_a_usable_key_changes_nothing(tmp_path: Path) -> None:
    board = Switchboard(of(A), 0)
    before = board.now
    with pytest.raises(ApplianceError) as caught:
        board.take(of(B, replace(SIDE, api_key_file=str(tmp_path / "none"))))
    assert caught.value.code == "config-bad-value"
    assert board.now is before


def test_held_requests_go_on_once_an_engine_serves_them() -> None:
    async def test() -> None:
        board, watchman = Switchboard(of(HELD), 0), Watchman()
        waiting = [asyncio.create_task(unheld(board, watchman, Client().request, "chat")) for _ in range(3)]
        lost = asyncio.create_task(unheld(board, watchman, Client().request, "a"))
        await asyncio.sleep(0.05)
        board.take(of(HELD, SIDE))
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
        board.take(of(B))
        assert await asyncio.gather(*waiting) == [board.now.clients["chat"]] * 3
        with pytest.raises(ApplianceError) as caught:
            await lost
        assert caught.value.code == "model-not-found"

    run(test)


def test_what_is_released_and_held_again_at_once_waits_on() -> None:
    async def test() -> None:
        board = Switchboard(of(HELD), 0)
        waiting = asyncio.create_task(unheld(board, Watchman(), Client().request, "chat"))
        await asyncio.sleep(0.01)
        board.take(of(A))
        board.take(of(HELD, serial=2))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        board.take(of(A))
        assert (await waiting).engine == A

    run(test)


def test_nobody_is_held_for_ever() -> None:
    async def test() -> None:
        with pytest.raises(ApplianceError, match="'chat'") as caught:
            await unheld(Switchboard(of(HELD), 0), Watchman(), Client().request, "chat", most_s=0.05)
        assert (caught.value.code, caught.value.retry_after_s) == ("engine-unavailable", 30)

    run(test)


@pytest.mark.parametrize("released", [False, True], ids=["held", "just released"])
def test_a_client_that_hangs_up_is_held_no_longer(released: bool) -> None:
    async def test() -> None:
        board, client = Switchboard(of(HELD), 0), Client()
        waiting = asyncio.create_task(unheld(board, Watchman(), client.request, "chat"))
        await asyncio.sleep(0.05)
        client.gone.set()
        await asyncio.sleep(0)
        if released:
            board.take(of(A))
        with pytest.raises(DisconnectedError):
            await waiting
        assert waiting.cancelling() == 0

    run(test)


def test_whoever_is_held_when_the_server_ends_is_told() -> None:
    async def test() -> None:
        waiting = asyncio.create_task(unheld(Switchboard(of(HELD), 0), Watchman(), Client().request, "chat"))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(ApplianceError) as caught:
            await waiting
        assert caught.value.code == "engine-unavailable"

    run(test)


@pytest.mark.parametrize("text", [None, "", "garbage", '{"release": "1", "engines": []}'])
def test_a_file_that_says_nothing_changes_nothing(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], text: str | None
) -> None:
    file = tmp_path / "deployment.json"
    if text is not None:
        file.write_text(text)
    board = Switchboard(of(A), 0)
    before = board.now
    reload(file, (), board)
    assert board.now is before
    assert capfdbinary.readouterr().err.count(b"\n") == 1


def test_a_file_that_cannot_be_opened_changes_nothing(tmp_path: Path) -> None:
    board = Switchboard(of(A), 0)
    before = board.now
    reload(tmp_path, (), board)
    assert board.now is before


def test_each_signal_takes_what_was_written_and_a_late_one_nothing(tmp_path: Path) -> None:
    file = tmp_path / "deployment.json"

    async def test() -> None:
        board = Switchboard(of(A), 0)
        handover.write(file, of(B, serial=2))
        with reloading(file, (SIDE,), board):
            assert board.now.deployment == of(SIDE, B, serial=2), "written before anybody heeded signals"
            handover.write(file, of(A, serial=3))
            signal.raise_signal(signal.SIGHUP)
            await asyncio.sleep(0.05)
            assert board.now.deployment == of(SIDE, A, serial=3)
        handover.write(file, of(B, serial=4))
        signal.raise_signal(signal.SIGHUP)
        await asyncio.sleep(0.05)
        assert board.now.deployment.serial == 3

    run(test)


def kept(folder: Path) -> tuple[Files, Batches]:
    """Files and batches in a folder of their own."""
    own = folder / "files"
    own.mkdir()
    return Files(own, 1000), Batches(own)


def test_a_request_counts_from_its_routing_to_its_end(tmp_path: Path) -> None:
    database = tmp_path / "appliance.db"
    schema.ensure(database)
    with session(database) as opened:
        key = create(opened, "anna")[1]

    async def test() -> None:
        board, sent = Switchboard(of(A), 0), list[Message]()
        ledger, credentials = LedgerWriter(database), Credentials(database)
        box = Box(credentials, board, ledger, UnderWay(1), Watchman(), 1000, CloudGate(None), *kept(tmp_path))
        scope = {"headers": [(b"authorization", f"Bearer {key}".encode())]}

        async def receive() -> Message:
            return {"type": "http.request", "body": b'{"model":"chat","messages":[{"role":"user","content":"x"}]}'}

        async def send(message: Message) -> None:
            sent.append(message)

        asked = asyncio.create_task(ask(CHAT, box, Request(scope, receive, "req-1"), send))
        # One turn takes it up to the ledger, which has not written yet.
        await asyncio.sleep(0)
        board.take(of(B))
        assert board.leaving == 1
        await asked
        assert (sent[0]["status"], board.leaving) == (503, 0), "nobody listens on its socket"
        ledger.close()
        credentials.close()

    run(test)


def test_a_key_for_one_model_is_refused_the_one_that_serves_after_an_exchange(tmp_path: Path) -> None:
    database = tmp_path / "appliance.db"
    schema.ensure(database)
    with session(database) as opened:
        made, key = create(opened, "anna", models=["a"])
        id = made.id

    async def test() -> None:
        board, client = Switchboard(of(HELD), 0), Client()
        ledger, credentials = LedgerWriter(database), Credentials(database)
        box = Box(credentials, board, ledger, UnderWay(1), Watchman(), 1000, CloudGate(None), *kept(tmp_path))
        messages = [{"type": "http.request", "body": b'{"model":"chat","messages":[{"role":"user","content":"x"}]}'}]

        async def receive() -> Message:
            return messages.pop() if messages else await client._receive()

        async def send(message: Message) -> None:
            raise AssertionError(message)

        scope = {"headers": [(b"authorization", f"Bearer {key}".encode())]}
        asked = asyncio.create_task(ask(CHAT, box, Request(scope, receive, "req-1"), send))
        await asyncio.sleep(0.05)
        assert not asked.done(), "it waits for the exchange"
        board.take(of(B))
        with pytest.raises(ApplianceError) as caught:
            await asked
        assert caught.value.code == "model-not-allowed"
        assert [client.busy for client in board.now.clients.values()] == [0]
        box.under_way.enter(id)
        ledger.close()
        credentials.close()

    run(test)
