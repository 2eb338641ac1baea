"""Any provider through a LiteLLM proxy: a real one, whose own upstream is the fake engine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from tests.support.clouds import Answered, Outside
from tests.support.engines import FakeEngine
from tests.support.fake_engine import PROMPT_TOKENS
from tests.support.litellm import MODEL, LiteLlm

# The first run sets LiteLLM up.
pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(1500)]

KEY = "sk-of-the-proxy-0123456789"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, fake_engine: FakeEngine) -> Iterator[LiteLlm]:
    """A proxy before the fake engine."""
    with LiteLlm(tmp_path_factory.mktemp("litellm"), fake_engine.url, KEY) as running:
        yield running


@pytest.fixture
def outside(tmp_path: Path, proxy: LiteLlm) -> Outside:
    """The proxy as a provider of the cloud."""
    return Outside(tmp_path, proxy.url, dialect="openai", key=KEY, upstream_model=MODEL)


def answered(outside: Outside, orders: str, stream: bool) -> Answered:
    """One request and what came of it."""

    async def ask() -> Answered:
        client = outside.client()
        try:
            return await outside.answer(client, orders, stream=stream)
        finally:
            client.close()

    return uvloop.run(ask())


def test_a_plain_answer_is_metered(outside: Outside, fake_engine: FakeEngine) -> None:
    got = answered(outside, "tokens=5", stream=False)
    assert got.error is None, got.error
    assert got.json()["choices"][0]["message"]["content"] == "word " * 5
    assert got.json()["choices"][0]["finish_reason"] == "stop"
    assert got.counts == (PROMPT_TOKENS, 0, 5, True)
    assert fake_engine.stats()["last"]["max_tokens"] == 64


def test_a_stream_is_metered_and_comes_as_it_is_written(outside: Outside) -> None:
    began = time.monotonic()
    got = answered(outside, "tokens=5 delay=20", stream=True)
    assert got.error is None, got.error
    assert time.monotonic() - began < 20
    events = got.events()
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text == "word " * 5
    assert got.counts == (PROMPT_TOKENS, 0, 5, True)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("orders", "codes"),
    [
        ("status=400", {"cloud-refused"}),
        ("status=429", {"cloud-limit"}),
        ("status=500", {"cloud-unavailable"}),
        ("status=401", {"cloud-key-refused"}),
        ("tokens=9 drop=4", {"cloud-failed", "cloud-unavailable"}),
    ],
)
def test_what_goes_wrong_behind_the_proxy_is_an_error_of_its_own(
    outside: Outside, orders: str, codes: set[str], stream: bool
) -> None:
    got = answered(outside, orders, stream)
    assert got.code in codes, got.body
    assert b"[DONE]" not in got.body
    assert KEY.encode() not in got.body


def test_a_key_that_the_proxy_does_not_know(outside: Outside) -> None:
    outside.key_file.write_text("sk-unknown-987654321")
    got = answered(outside, "tokens=1", stream=False)
    # Without a database the proxy says no more than this.
    assert got.code == "cloud-refused"
    assert b"No connected db" in got.body
    assert b"sk-unknown-987654321" not in got.body


def test_the_switch_ends_an_answer_that_is_under_way(outside: Outside, fake_engine: FakeEngine) -> None:
    outside.switch.touch()
    asked = fake_engine.stats()["asked"]
    assert answered(outside, "tokens=1", stream=True).code == "cloud-off"
    assert fake_engine.stats()["asked"] == asked
