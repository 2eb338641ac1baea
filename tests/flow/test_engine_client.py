"""The engine client before a peer that speaks HTTP in every way that it may, and in some that it may not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop

from appliance.deployment import Engine
from appliance.engine.client import EngineClient
from appliance.engine.connection import EngineGoneError
from appliance.errors import ApplianceError

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\n\r\nhello"


@dataclass
class Peer:
    """A server that answers each request with the next of its texts; None closes the connection instead."""

    answers: list[bytes | None]
    piece: int = 1 << 20
    connections: int = 0
    closed: int = 0
    requests: list[bytes] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                self.requests.append(head + await reader.readexactly(int(length or 0)))
                answer = self.answers.pop(0)
                if answer is None:
                    break
                for at in range(0, len(answer), self.piece):
                    writer.write(answer[at : at + self.piece])
                    await writer.drain()
                    await asyncio.sleep(0)
                if b"\r\n\r\nhello" in answer and b"content-length" not in answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.closed += 1
            writer.close()


@asynccontextmanager
async def asking(peer: Peer, api_key_file: str | None = None) -> AsyncIterator[EngineClient]:
    async with await asyncio.start_server(peer.serve, "127.0.0.1", 0) as server:
        peer.port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{peer.port}/v1/"
        client = EngineClient(Engine("chat", "m", ("m",), "m", url=url, api_key_file=api_key_file), 0.0)
        try:
            yield client
        finally:
            client.close()


async def until(done: Callable[[], object]) -> None:
    while not done():  # noqa: ASYNC110 - what it waits for is in the event loop's hands
        await asyncio.sleep(0.01)


async def answer(client: EngineClient) -> tuple[int, bytes]:
    connection, _ = await client.ask("/chat/completions", b"{}")
    try:
        return connection.status, await connection.read(1 << 30)
    finally:
        client.release(connection)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await test()

    uvloop.run(limited())


@pytest.mark.parametrize("text", [WHOLE, CHUNKED, UNTIL_CLOSED], ids=["length", "chunked", "until closed"])
@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["", "continue"])
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_an_answer_is_whole_however_it_is_framed_and_cut(text: bytes, before: bytes, piece: int) -> None:
    async def test() -> None:
        async with asking(Peer([before + text], piece)) as client:
            assert await answer(client) == (200, b"hello")

    run(test)


def test_a_connection_is_used_again_and_the_request_is_whole_each_time() -> None:
    async def test() -> None:
        peer = Peer([WHOLE, CHUNKED, WHOLE])
        async with asking(peer) as client:
            assert [await answer(client) for _ in range(3)] == [(200, b"hello")] * 3
        assert peer.connections == 1
        fields = f"host: 127.0.0.1:{peer.port}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        assert peer.requests == [f"POST /v1/chat/completions HTTP/1.1\r\n{fields}".encode()] * 3

    run(test)


@pytest.mark.parametrize(
    "text", [WHOLE.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), WHOLE + b"and more", UNTIL_CLOSED]
)
def test_a_connection_that_cannot_be_trusted_with_another_is_not_used_again(text: bytes) -> None:
    async def test() -> None:
        peer = Peer([text, WHOLE])
        async with asking(peer) as client:
            await answer(client)
            assert await answer(client) == (200, b"hello")
        assert peer.connections == 2

    run(test)


def test_a_connection_that_the_engine_closed_meanwhile_is_not_asked() -> None:
    async def test() -> None:
        peer = Peer([WHOLE, WHOLE])
        async with asking(peer) as client:
            for sent in (1, 2):
                assert await answer(client) == (200, b"hello")
                assert (peer.connections, len(peer.requests)) == (sent, sent)
                for connection, _ in client._idle:
                    connection.close()
                await asyncio.sleep(0.01)

    run(test)


def test_a_connection_that_the_engine_closes_as_it_is_asked_costs_no_wait() -> None:
    async def test() -> None:
        # The second request finds the first one's connection closed, and goes out again on a new one.
        peer = Peer([CHUNKED, None, WHOLE, None, None])
        async with asking(peer) as client:
            assert await answer(client) == (200, b"hello")
            connection, waited = await client.ask("/chat/completions", b"{}")
            assert (connection.status, waited) == (200, 0.0)
            assert await connection.read(1 << 30) == b"hello"
            client.release(connection)
            # An engine that does so on a new connection too is not there.
            assert not await client.ready()
        assert (peer.connections, len(peer.requests)) == (3, 5)

    run(test)


def test_an_idle_connection_is_closed_before_the_engine_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.engine.client._KEEP_ALIVE_S", 0.05)

    async def test() -> None:
        peer = Peer([WHOLE, WHOLE])
        async with asking(peer) as client:
            await answer(client)
            await until(lambda: peer.closed == 1)
            await answer(client)
            await until(lambda: peer.closed == 2)

    run(test)


def test_a_closed_client_answers_on_and_keeps_no_connection_until_it_is_opened_again() -> None:
    async def test() -> None:
        peer = Peer([WHOLE] * 5)
        async with asking(peer) as client:
            connection, _ = await client.ask("/chat/completions", b"{}")
            await answer(client)
            client.close()
            await until(lambda: peer.closed == 1)
            assert await connection.read(1 << 30) == b"hello"
            client.release(connection)
            await until(lambda: peer.closed == 2)
            assert await answer(client) == (200, b"hello")
            await until(lambda: peer.closed == 3)
            client.reopen()
            assert [await answer(client) for _ in range(2)] == [(200, b"hello")] * 2
            assert (peer.connections, peer.closed) == (4, 3)

    run(test)


@pytest.mark.parametrize(
    "text",
    [
        b"this is no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: %s\r\n" % (i, b"y" * 1000) for i in range(100)) + b"\r\n",
        None,
    ],
    ids=["no http", "compressed", "upgrade", "endless head", "closed"],
)
def test_what_is_no_answer_means_that_the_engine_does_not_answer(text: bytes | None) -> None:
    async def test() -> None:
        peer = Peer([text])
        async with asking(peer) as client:
            with pytest.raises(ApplianceError) as caught:
                await client.ask("/chat/completions", b"{}")
            assert caught.value.code == "engine-unavailable"
            await until(lambda: peer.closed >= 1)

    run(test)


@pytest.mark.parametrize("text", [WHOLE[:-1], CHUNKED[:-3]], ids=["length", "chunked"])
def test_an_answer_that_is_cut_short_is_never_taken_for_whole(text: bytes) -> None:
    async def test() -> None:
        async with asking(Peer([text, None])) as client:
            connection, _ = await client.ask("/chat/completions", b"{}")
            first = await connection.some()
            assert b"hello".startswith(first)
            connection._transport.abort()  # type: ignore[union-attr]
            with pytest.raises(EngineGoneError):
                while await connection.some():
                    pass

    run(test)


def test_a_slow_reader_makes_the_engine_wait_and_gets_all_of_it() -> None:
    async def test() -> None:
        size = 32 << 20
        text = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size
        async with asking(Peer([text])) as client:
            connection, _ = await client.ask("/chat/completions", b"{}")
            got = 0
            for _ in range(20):
                await asyncio.sleep(0.01)
                assert connection._unread < 1 << 20
            while data := await connection.some():
                got += len(data)
            assert got == size
            client.release(connection)

    run(test)


def test_a_caller_that_is_cancelled_or_lets_go_early_cuts_the_connection() -> None:
    async def test() -> None:
        peer = Peer([b"", CHUNKED[:60]])
        async with asking(peer) as client:
            waiting = asyncio.create_task(client.ask("/chat/completions", b"{}"))
            await until(lambda: peer.requests)
            waiting.cancel()
            await until(lambda: peer.closed >= 1)
            connection, _ = await client.ask("/chat/completions", b"{}")
            client.release(connection)
            await until(lambda: peer.closed >= 2)

    run(test)


def test_the_key_goes_along_and_a_file_that_holds_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"

    async def test() -> None:
        file.write_text("sk-1\n")
        peer = Peer([WHOLE])
        async with asking(peer, api_key_file=str(file)) as client:
            await answer(client)
        assert b"\r\nauthorization: Bearer sk-1\r\n" in peer.requests[0]
        for bad in ("two\nlines", "schlüssel"):
            file.write_text(bad)
            with pytest.raises(ApplianceError) as caught:
                async with asking(peer, api_key_file=str(file)):
                    pass
            assert caught.value.code == "config-bad-value"
        file.unlink()
        with pytest.raises(ApplianceError) as caught:
            async with asking(peer, api_key_file=str(file)):
                pass
        assert caught.value.code == "config-bad-value"

    run(test)
