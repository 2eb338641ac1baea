"""A hundred thousand spoilt bodies: only refusals come of them, never a failure, a hang, or the end of an engine."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from appliance.cloud import anthropic_request, openai
from appliance.deployment import Engine
from appliance.errors import ApplianceError
from appliance.gateway.endpoints import ENDPOINTS, Endpoint
from appliance.http.asgi import Message, Request
from appliance.policy.body import EngineRequest
from tests.support.box import Box, wait_until
from tests.support.fuzz import VALID, Fuzz

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(600)]

OURS = Engine("chat", "ours", ("chat",), "ours", socket="/engine.sock")
THEIRS = Engine("chat", "theirs", ("chat",), "theirs", url="http://engine/v1")
# What the gateway may answer: good, or the client's own fault. No engine fails here, so nothing else is right.
FINE = {200, 400, 404, 413}
MIB = 1024 * 1024
# On a machine that does other work too; nearly all bodies take less than a millisecond.
SLOWEST_S = 1.0


async def nothing() -> Message:
    """No message ever comes."""
    raise AssertionError


def test_every_address_has_a_valid_body_to_begin_with() -> None:
    assert set(VALID) == {one.path for one in ENDPOINTS}
    for endpoint in ENDPOINTS:
        endpoint.read(orjson.dumps(VALID[endpoint.path]))


def upstream(endpoint: Endpoint, wanted: EngineRequest) -> None:
    """Make what engines and clouds of every kind would be asked of a request that may pass."""
    request = Request({"headers": []}, nothing, "req-1")
    for engine in (OURS, THEIRS):
        assert orjson.loads(endpoint.answer(wanted, engine, request).upstream_body())["model"] == engine.model
    if endpoint.upstream == "/chat/completions":
        for dialect in (anthropic_request, openai):
            try:
                orjson.dumps(dialect.request(dict(wanted.fields), 99, reasoning=wanted.streamed))
            except ApplianceError as error:
                assert error.kind.http == 400


def test_a_hundred_thousand_bodies_are_read_or_refused() -> None:
    fuzz = Fuzz(20_260_101)
    passed = 0
    for number, endpoint in enumerate(islice(cycle(ENDPOINTS), 100_000)):
        body = fuzz.body(endpoint.path)
        began = time.perf_counter()
        try:
            wanted = endpoint.read(body)
            upstream(endpoint, wanted)
            passed += 1
        except ApplianceError as error:
            assert error.kind.http == 400
            # What a client sees is short, and is JSON.
            assert len(endpoint.dialect.error(error, "req-1")) < 4_000
        except Exception as error:
            raise AssertionError(f"body {number}, {endpoint.name}: {body[:3_000]!r}") from error
        assert time.perf_counter() - began < SLOWEST_S, f"body {number} took long"
    # Neither are all of them hopeless, nor do most get through.
    assert 5_000 < passed < 60_000


def framed(path: str, key: str, body: bytes, chance: random.Random) -> tuple[bytes, bool]:
    """A request's bytes, and whether its length is right: else it may stay without an answer."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    way = chance.randrange(20)
    if way == 0:
        pieces = [body[start : start + 700] for start in range(0, len(body), 700)]
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        return f"{head}transfer-encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n", True
    wrong = {
        1: f"content-length: {len(body) + 5}",
        2: f"content-length: {max(0, len(body) - 5)}",
        3: "content-length: -1",
        4: "content-length: 9e9",
        5: f"content-length: {len(body)}\r\ncontent-length: {len(body) + 1}",
        6: "transfer-encoding: chunked",
        7: f"content-length: {len(body)}\r\ntransfer-encoding: chunked",
        8: "content-length: 99999999999999999999",
    }
    said = wrong.get(way, f"content-length: {len(body)}\r\nconnection: close")
    return f"{head}{said}\r\n\r\n".encode() + body, way not in wrong


def statuses(port: int, data: bytes, whole: bool) -> list[int]:
    """Send a request as it stands, and say with which statuses it was answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as opened:
        said = b""
        try:
            opened.sendall(data)
            # The gateway waits for what is still to come of a body: it is told that nothing is.
            opened.shutdown(socket.SHUT_WR) if not whole else None
            while piece := opened.recv(65_536):
                said += piece
                if whole and b"\r\n\r\n" in said and b"connection: close" not in data[:500]:
                    break
        except (ConnectionResetError, BrokenPipeError):
            assert not whole
    return [int(line.split()[1]) for line in said.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


def test_thousands_over_http_leave_the_gateway_as_it_was(served_all: Box) -> None:
    assert served_all.process is not None
    process = psutil.Process(served_all.process.pid)
    key, fuzz, chance = served_all.key(), Fuzz(2), random.Random(2)
    early = 0
    for number, endpoint in enumerate(islice(cycle(ENDPOINTS), 5_000)):
        data, whole = framed(endpoint.path, key, fuzz.body(endpoint.path), chance)
        found = statuses(served_all.port, data, whole)
        assert set(found) <= FINE, f"request {number}: {found} for {data[:3_000]!r}"
        assert len(found) == 1 or not whole, f"request {number}: {found} for {data[:3_000]!r}"
        if number == 1_500:
            early = process.memory_info().rss
    assert process.memory_info().rss < early + 16 * MIB
    assert served_all.answers("/ready")
    open_rows = [row for row in served_all.rows() if row["outcome"] is None]
    assert open_rows == []
    assert "bug" not in (served_all.folder / "serve.log").read_text()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Iterator[Box]:
    """A box that is up, with the embedded model."""
    box = Box(tmp_path_factory.mktemp("fuzz"))
    box.configure("[engines.chat]\ncontext = 1024\nslots = 2\n")
    (box.state / "models").mkdir(parents=True)
    (box.state / "models" / model_file.name).symlink_to(model_file)
    box.run("up", "--no-prove")
    wait_until(lambda: box.answers("/ready"), 60, "the engine")
    yield box
    box.run("down")


def engine_pid(box: Box) -> int:
    """The process that computes."""
    return int(next(one["pid"] for one in box.document("status")["processes"] if one["name"] == "chat"))


def good(fuzz: Fuzz, endpoint: Endpoint) -> dict[str, Any] | None:
    """A spoilt body that passes the allow-list, made to ask for few tokens of the one model; None where it does not."""
    body = fuzz.value(endpoint.path, most=4)
    if type(body) is not dict:
        return None
    body["model"] = "chat"
    short = "max_output_tokens" if "max_output_tokens" in endpoint.form.fields else "max_tokens"
    for name in {short, "max_completion_tokens"} & set(endpoint.form.fields):
        body[name] = 3
    try:
        data = json.dumps(body).encode()
        endpoint.read(data)
    except ApplianceError:
        return None
    return body


@pytest.mark.model
def test_what_passes_the_allow_list_does_not_end_the_engine(up: Box) -> None:
    key, fuzz, before = up.key(), Fuzz(3), engine_pid(up)
    found: dict[int, int] = {}
    sources = cycle(one for one in ENDPOINTS if not one.role)
    while sum(found.values()) < 500:
        endpoint = next(sources)
        body = good(fuzz, endpoint)
        if body is None:
            continue
        status, _, said = up.post(body, key, endpoint.path)
        assert status in FINE, f"{status} {said} for {endpoint.name}: {json.dumps(body)[:3_000]}"
        found[status] = found.get(status, 0) + 1
    assert engine_pid(up) == before
    assert found[200] > 200
