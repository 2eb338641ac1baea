"""Asking a provider of the cloud: a process that speaks Anthropic's API, and misbehaves in every way that it may."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from appliance.cloud.client import CloudClient
from appliance.cloud.gate import CloudGate
from appliance.deployment import CloudTerms, Deployment, Engine
from appliance.errors import ApplianceError
from appliance.gateway.switchboard import Switchboard
from appliance.policy.cloud import Permit
from appliance.policy.principals import Principal
from tests.support.clouds import KEY, Answered, FakeAnthropic, Outside
from tests.support.fake_anthropic import PROMPT_TOKENS

T = TypeVar("T")
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def far() -> Iterator[FakeAnthropic]:
    """A provider that does what the prompt tells it."""
    with FakeAnthropic() as running:
        yield running


@pytest.fixture
def outside(tmp_path: Path, far: FakeAnthropic) -> Outside:
    """A model of it, and a key."""
    return Outside(tmp_path, far.url)


def run(outside: Outside, test: Callable[[CloudClient], Awaitable[T]]) -> T:
    """Run a test with a client, on the loop that the gateway uses."""

    async def limited() -> T:
        client = outside.client()
        try:
            async with asyncio.timeout(30):
                return await test(client)
        finally:
            client.close()

    return uvloop.run(limited())


def answered(outside: Outside, orders: str, **more: Any) -> Answered:
    """One request and what came of it."""
    return run(outside, lambda client: outside.answer(client, orders, **more))


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_metered_and_looks_as_any_other(outside: Outside, stream: bool) -> None:
    got = answered(outside, "tokens=5 cached=30", stream=stream)
    assert got.error is None
    assert got.counts == (PROMPT_TOKENS + 30, 30, 5, True)
    if stream:
        events = got.events()
        assert events[-1] == "[DONE]"
        chunks = [json.loads(event) for event in events[:-1]]
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "word " * 5
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    else:
        choice = got.json()["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("word " * 5, "stop")
        assert got.json()["usage"]["prompt_tokens"] == PROMPT_TOKENS + 30


def test_an_answer_ends_at_the_limit_that_is_held_for_it(outside: Outside, far: FakeAnthropic) -> None:
    got = answered(outside, "tokens=500", max_tokens=500)
    assert got.json()["choices"][0]["finish_reason"] == "length"
    assert got.counts[2] == 64
    assert far.stats()["last"]["max_tokens"] == 64


def test_a_tool_is_called(outside: Outside) -> None:
    got = answered(outside, "tool", tools=[TOOL], tool_choice="auto")
    (call,) = got.json()["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": '{"city":"Ulm"}'}


def test_the_provider_sees_the_key_and_the_request_and_not_who_asks(outside: Outside, far: FakeAnthropic) -> None:
    answered(outside, "tokens=1", user="anna", metadata={}, temperature=0.2)
    seen = far.stats()
    assert set(seen["last"]) == {"model", "max_tokens", "messages", "stream", "temperature"}
    assert seen["last"]["model"] == "claude-x"
    assert set(seen["headers"]) == {
        "host", "user-agent", "content-type", "accept", "anthropic-version", "x-api-key", "content-length",
    }  # fmt: skip
    assert seen["headers"]["x-api-key"] == KEY


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("orders", "code"),
    [
        ("status=400", "cloud-refused"),
        ("status=401", "cloud-key-refused"),
        ("status=402", "cloud-limit"),
        ("status=403", "cloud-key-refused"),
        ("status=404", "cloud-refused"),
        ("status=413", "cloud-refused"),
        ("status=429", "cloud-limit"),
        ("status=500", "cloud-unavailable"),
        ("status=529", "cloud-unavailable"),
        ("html", "cloud-failed"),
        ("garbage", "cloud-unavailable"),
    ],
)
def test_what_the_provider_refuses_is_an_error_without_the_key(
    outside: Outside, far: FakeAnthropic, orders: str, code: str, stream: bool
) -> None:
    asked = far.stats()["asked"]
    got = answered(outside, orders, stream=stream)
    assert got.error is not None
    assert (got.code, got.status) == (code, got.error.kind.http)
    assert KEY.encode() not in got.body
    assert far.stats()["asked"] == asked + 1, "what has been sent is never sent again"
    if orders in ("status=429", "status=529"):
        assert got.error.retry_after_s == 17


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("orders", "code"),
    [
        ("tokens=9 overload=4", "cloud-unavailable"),
        ("tokens=9 badkey=4", "cloud-failed"),
        ("tokens=9 drop=4", "cloud-failed"),
        ("nostop", "cloud-failed"),
        ("noise", "cloud-failed"),
    ],
)
def test_an_answer_that_breaks_off_is_never_taken_for_whole(
    outside: Outside, far: FakeAnthropic, orders: str, code: str, stream: bool
) -> None:
    asked = far.stats()["asked"]
    got = answered(outside, orders + " delay=5", stream=stream)
    assert got.code == code
    assert b"[DONE]" not in got.body
    assert b'"finish_reason":"' not in got.body
    assert KEY.encode() not in got.body
    assert far.stats()["asked"] == asked + 1
    if stream:
        assert got.status == 200
        assert json.loads(got.events()[-1])["error"]["code"] == code


def test_a_redirect_is_not_followed(outside: Outside, far: FakeAnthropic) -> None:
    got = answered(outside, "redirect")
    assert got.code == "cloud-refused"
    assert "redirects are never followed" in got.body.decode()
    assert far.stats()["elsewhere"] == 0


@pytest.mark.parametrize("orders", ["wait=5000", "tokens=3 delay=5000"], ids=["before", "within"])
def test_a_provider_that_says_nothing_is_given_up(outside: Outside, far: FakeAnthropic, orders: str) -> None:
    outside.silence_s = 0.3
    cancelled = far.stats()["cancelled"]
    got = answered(outside, orders)
    assert got.code == "cloud-unavailable"
    assert "said nothing" in got.body.decode()
    assert far.stats()["cancelled"] == cancelled + 1


def test_a_slow_answer_that_goes_on_is_waited_for(outside: Outside) -> None:
    outside.silence_s = 0.5
    assert answered(outside, "tokens=8 delay=150").error is None


def test_a_connection_is_used_again(outside: Outside) -> None:
    async def test(client: CloudClient) -> None:
        opened = []
        connect = client._connect

        async def counted() -> Any:
            opened.append(1)
            return await connect()

        client._connect = counted
        for _ in range(3):
            assert (await outside.answer(client, "tokens=2")).error is None
        assert (await outside.answer(client, "status=429")).code == "cloud-limit"
        assert (await outside.answer(client, "tokens=2")).error is None
        assert len(opened) == 2, "one that was refused is not trusted with another"

    run(outside, test)


@pytest.mark.parametrize("under_way", [False, True])
def test_the_switch_stops_the_next_request_and_those_under_way(
    outside: Outside, far: FakeAnthropic, under_way: bool
) -> None:
    async def test(client: CloudClient) -> None:
        before = far.stats()
        if under_way:
            task = asyncio.create_task(outside.answer(client, "tokens=50 delay=100", stream=True))
            await asyncio.sleep(0.4)
            outside.switch.touch()
            got = await asyncio.wait_for(task, 2)
            assert got.code == "cloud-off"
            assert json.loads(got.events()[-1])["error"]["code"] == "cloud-off"
            await asyncio.sleep(0.1)
            assert far.stats()["cancelled"] == before["cancelled"] + 1
        outside.switch.touch()
        asked = far.stats()["asked"]
        assert (await outside.answer(client, "tokens=2")).code == "cloud-off"
        assert far.stats()["asked"] == asked
        outside.switch.unlink()
        assert (await outside.answer(client, "tokens=2")).error is None

    run(outside, test)


def test_a_provider_that_is_silent_is_stopped_by_the_switch_too(outside: Outside, far: FakeAnthropic) -> None:
    async def test(client: CloudClient) -> None:
        task = asyncio.create_task(outside.answer(client, "wait=20000"))
        await asyncio.sleep(0.3)
        outside.switch.touch()
        assert (await asyncio.wait_for(task, 2)).code == "cloud-off"

    run(outside, test)


@pytest.mark.parametrize("permit", [None, 1, "yes", True])
def test_without_a_permit_nothing_is_sent(outside: Outside, far: FakeAnthropic, permit: Any) -> None:
    async def test(client: CloudClient) -> None:
        with pytest.raises(ApplianceError) as caught:
            await client.ask("/chat/completions", b'{"model":"x","messages":[{"role":"user","content":"x"}]}', permit)
        assert caught.value.code == "cloud-not-allowed"
        with pytest.raises(ApplianceError):
            await client._ask(b"GET / HTTP/1.1\r\n\r\n")
        assert await client.ready(), "asked of nobody"

    asked = far.stats()["asked"]
    run(outside, test)
    assert far.stats()["asked"] == asked


def test_a_model_that_nobody_gave_terms_for_sends_nothing(outside: Outside, far: FakeAnthropic) -> None:
    async def test(one: CloudClient) -> None:
        engine = one.engine
        board = Switchboard(Deployment("1", (engine,)), 0.0)
        _, client = board.now.route("far-model")
        assert isinstance(client, CloudClient)
        assert (await outside.answer(client, "tokens=1")).code == "cloud-off"
        board.close()
        board = Switchboard(Deployment("1", (engine,)), 0.0, CloudTerms(("*",), (), 1, 9, str(outside.switch)))
        _, client = board.now.route("far-model")
        assert isinstance(client, CloudClient)
        assert (await outside.answer(client, "tokens=1")).error is None
        board.take(Deployment("1", (engine,), serial=2))
        assert board.now.route("far-model")[1] is client
        board.close()

    run(outside, test)


def test_the_gate_looks_at_the_switch_and_the_header(tmp_path: Path) -> None:
    engine = Engine("cloud:far", "far", ("far",), "x", url="https://x/v1", provider="p", max_output=100)
    anna = Principal("anna", "key-1", team="dev")
    gate = CloudGate(CloudTerms(("dev",), (), 1, 9, str(tmp_path / "cloud-off")))
    assert gate.refusal(anna, []) is None
    assert gate.permit(anna, [], engine, None) == Permit(100)
    assert gate.permit(anna, [(b"x-appliance-data", b"any")], engine, 7) == Permit(7)
    for headers in ([(b"x-appliance-data", b"local-only")], [(b"x-appliance-data", b"\xff")]):
        with pytest.raises(ApplianceError) as caught:
            gate.permit(anna, headers, engine, 7)
        assert caught.value.code == "cloud-not-allowed"
    (tmp_path / "cloud-off").touch()
    for closed in (gate, CloudGate(None)):
        with pytest.raises(ApplianceError) as caught:
            closed.permit(anna, [], engine, 7)
        assert caught.value.code == "cloud-off"


def test_a_key_is_needed_and_a_new_one_holds_at_once(outside: Outside, far: FakeAnthropic) -> None:
    async def test(client: CloudClient) -> None:
        assert (await outside.answer(client, "tokens=1")).error is None
        outside.key_file.write_text("sk-wrong-one\n")
        got = await outside.answer(client, "tokens=1")
        assert got.code == "cloud-key-refused"
        assert b"sk-wrong-one" not in got.body
        outside.key_file.write_text(KEY)
        outside.key_file.chmod(0o644)
        asked = far.stats()["asked"]
        got = await outside.answer(client, "tokens=1")
        assert got.code == "cloud-key-missing"
        assert str(outside.folder).encode() not in got.body
        assert far.stats()["asked"] == asked

    run(outside, test)


def test_a_provider_that_is_not_there_is_tried_twice_and_named(tmp_path: Path) -> None:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        outside = Outside(tmp_path, f"http://127.0.0.1:{trial.getsockname()[1]}/v1")
        got = answered(outside, "tokens=1")
    assert (got.code, got.status) == ("cloud-unavailable", 503)
    assert "'far' cannot be reached" in got.body.decode()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody vouches for, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    found = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(found[0]), "-keyout", str(found[1])]
    subprocess.run([*command, *more], check=True, capture_output=True)
    return found


def test_a_certificate_that_nobody_vouches_for_stops_the_key(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    with FakeAnthropic(*certificate) as far:
        got = answered(Outside(tmp_path, far.url), "tokens=1")
        assert got.code == "cloud-unavailable"
        assert "certificate is not good" in got.body.decode()
        assert far.stats()["asked"] == 0


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 Connection established\r\n\r\n", b"HTTP/1.1 407 No\r\n\r\n", b""])
def test_a_proxy_is_asked_for_a_tunnel(
    tmp_path: Path, certificate: tuple[Path, Path], answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    heads: list[bytes] = []
    with FakeAnthropic(*certificate) as far:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            if b" 200 " in answer:
                there, back = await asyncio.open_connection("127.0.0.1", far.port)
                await asyncio.gather(pumped(reader, back), pumped(there, writer))
            writer.close()

        outside = Outside(tmp_path, far.url)

        async def test(_: CloudClient) -> None:
            async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
                outside.proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
                client = outside.client()
                for _turn in range(2):
                    got = await outside.answer(client, "tokens=3")
                    assert got.code == (None if b" 200 " in answer else "cloud-unavailable")
                    assert KEY.encode() not in got.body
                client.close()
                await asyncio.sleep(0.05)

        run(outside, test)
        assert far.stats()["asked"] == (2 if b" 200 " in answer else 0)
    wanted = f"CONNECT 127.0.0.1:{far.port} HTTP/1.1\r\nhost: 127.0.0.1:{far.port}\r\n\r\n".encode()
    assert heads == [wanted] * (1 if b" 200 " in answer else 4)


async def pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on all that comes."""
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()
