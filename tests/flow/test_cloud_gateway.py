"""Models of the cloud through the gateway: who gets an answer, what the ledger says of it, and what never leaves."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.box import Box, ask, environment, wait_until
from tests.support.clouds import KEY, FakeAnthropic
from tests.support.engines import FakeEngine
from tests.support.fake_anthropic import PROMPT_TOKENS

SETTINGS = """
engine_wait_s = 1
[engines.chat]
url = "{near}"
model = "near"
[cloud]
enabled = true
teams = ["*"]
local_only = ["user:hanna"]
monthly_cap = "20"
[cloud.providers.far]
kind = "anthropic"
url = "{far}"
[cloud.models.far-model]
provider = "far"
model = "claude-x"
max_tokens = 64
[[prices]]
model = "far-model"
input = "3"
cached = "0.3"
output = "15"
"""


@pytest.fixture(scope="module")
def far() -> Iterator[FakeAnthropic]:
    """A provider that does what the prompt tells it."""
    with FakeAnthropic() as running:
        yield running


@pytest.fixture(scope="module")
def cloudy(tmp_path_factory: pytest.TempPathFactory, fake_engine: FakeEngine, far: FakeAnthropic) -> Iterator[Box]:
    """A box with a model of its own and one of the cloud; the tests of this file share it."""
    box = Box(tmp_path_factory.mktemp("cloudy"))
    box.configure(SETTINGS.format(near=fake_engine.url, far=far.url))
    subprocess.run(
        box.argv("cloud", "key", "far"), input=KEY.encode(), check=True, capture_output=True, env=environment()
    )
    box.serve()
    yield box
    box.stop()


def far_ask(orders: str, **more: Any) -> dict[str, Any]:
    """A request for the model of the cloud."""
    return {**ask(orders, **more), "model": "far-model"}


@pytest.mark.parametrize("stream", [False, True])
def test_the_official_client_gets_an_answer_and_the_ledger_its_row(cloudy: Box, stream: bool) -> None:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{cloudy.port}/v1", api_key=cloudy.key("anna"), max_retries=0) as api:
        messages: Any = [{"role": "user", "content": "tokens=5 cached=7"}]
        if stream:
            chunks = list(api.chat.completions.create(model="far-model", messages=messages, stream=True))
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        else:
            text = api.chat.completions.create(model="far-model", messages=messages).choices[0].message.content or ""
    assert text == "word " * 5
    row = cloudy.rows()[0]
    assert (row["provider"], row["model"], row["outcome"], row["exact"]) == ("far", "far-model", "complete", True)
    assert (row["prompt_tokens"], row["cached_tokens"], row["completion_tokens"]) == (PROMPT_TOKENS + 7, 7, 5)


def test_the_boxs_own_model_is_asked_as_before(cloudy: Box, far: FakeAnthropic) -> None:
    asked = far.stats()["asked"]
    assert cloudy.post(ask("tokens=2"), cloudy.key())[0] == 200
    assert cloudy.rows()[0]["provider"] == ""
    assert far.stats()["asked"] == asked


@pytest.mark.parametrize(
    ("owner", "headers"),
    [("anna", {"x-appliance-data": "local-only"}), ("anna", {"X-Appliance-Data": "secret"}), ("hanna", {})],
)
def test_what_must_stay_stays_and_has_no_row(
    cloudy: Box, far: FakeAnthropic, owner: str, headers: dict[str, str]
) -> None:
    asked, rows = far.stats()["asked"], len(cloudy.rows())
    url = f"http://127.0.0.1:{cloudy.port}/v1"
    with openai.OpenAI(base_url=url, api_key=cloudy.key(owner), default_headers=headers, max_retries=0) as api:
        with pytest.raises(openai.PermissionDeniedError) as refused:
            api.chat.completions.create(model="far-model", messages=[{"role": "user", "content": "x"}])
        assert refused.value.code == "cloud-not-allowed"
        assert {model.id for model in api.models.list()} == {"auto", "chat", "near"}
    assert (far.stats()["asked"], len(cloudy.rows())) == (asked, rows)


def test_the_models_of_the_cloud_are_listed_for_those_who_may(cloudy: Box) -> None:
    names = [one["id"] for one in cloudy.get("/v1/models", cloudy.key("anna"))[2]["data"]]
    assert names == ["auto", "chat", "near", "far-model"]
    status, _, said = cloudy.get("/ready")
    assert (status, said["parts"]["cloud:far-model"]) == (200, "ready")


def test_the_switch_stops_the_next_request_and_the_one_under_way(cloudy: Box, far: FakeAnthropic) -> None:
    key, cancelled = cloudy.key("anna"), far.stats()["cancelled"]
    opened = cloudy.open(key, far_ask("tokens=60 delay=200", stream=True))
    said = b""
    while b"word" not in said:
        said += opened.recv(4096)
    cloudy.run("cloud", "off")
    switched = time.monotonic()
    while b"cloud-off" not in said:
        piece = opened.recv(4096)
        assert piece, said
        said += piece
    assert time.monotonic() - switched < 1.5
    opened.close()
    wait_until(lambda: far.stats()["cancelled"] == cancelled + 1, 2, "the provider's cancellation")
    row = cloudy.rows()[0]
    assert (row["outcome"], row["error"], row["provider"]) == ("failed", "cloud-off", "far")
    asked = far.stats()["asked"]
    status, _, error = cloudy.post(far_ask("tokens=1"), key)
    assert (status, error["error"]["code"]) == (403, "cloud-off")
    assert far.stats()["asked"] == asked
    assert cloudy.post(ask("tokens=1"), key)[0] == 200
    cloudy.run("cloud", "on")
    assert cloudy.post(far_ask("tokens=1"), key)[0] == 200


def test_a_client_that_hangs_up_cancels_the_provider(cloudy: Box, far: FakeAnthropic) -> None:
    cancelled = far.stats()["cancelled"]
    opened = cloudy.open(cloudy.key(), far_ask("tokens=60 delay=100"))
    wait_until(lambda: far.stats()["asked"] > far.stats()["finished"] + far.stats()["cancelled"], what="it at work")
    opened.close()
    wait_until(lambda: far.stats()["cancelled"] == cancelled + 1, 2, "the provider's cancellation")
    wait_until(lambda: cloudy.rows()[0]["outcome"] == "cancelled", 2, "the settled row")


def test_no_failure_shows_the_key_anywhere(cloudy: Box) -> None:
    key = cloudy.key()
    for orders in ("status=400", "status=401", "status=500", "redirect", "html", "badkey=2", "overload=2", "drop=2"):
        for stream in (False, True):
            said = cloudy.post(far_ask(orders, stream=stream), key)[2]
            assert KEY not in str(said), orders
    holding = [path for path in cloudy.folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert holding == [cloudy.state / "secrets" / "far"]


CAPPED = SETTINGS.replace('monthly_cap = "20"', 'monthly_cap = "5"').replace(
    'input = "3"\ncached = "0.3"\noutput = "15"', 'input = "0"\ncached = "0"\noutput = "100000"'
)
_MONTH = 31  # days


@pytest.mark.slow
def test_the_monthly_cap_is_never_passed_and_outlives_a_restart(
    tmp_path: Path, fake_engine: FakeEngine, far: FakeAnthropic
) -> None:
    """Ten words cost 1, and the month has 5."""
    box = Box(tmp_path)
    box.configure(CAPPED.format(near=fake_engine.url, far=far.url))
    subprocess.run(
        box.argv("cloud", "key", "far"), input=KEY.encode(), check=True, capture_output=True, env=environment()
    )
    before = far.stats()["asked"]
    body = far_ask("tokens=10 delay=20", max_tokens=10)
    try:
        box.serve()
        key = box.key("anna")
        with ThreadPoolExecutor(8) as people:
            told = Counter(status for status, _, _ in people.map(lambda _: box.post(body, key), range(8)))
        assert told == {200: 5, 429: 3}
        assert far.stats()["asked"] == before + 5
        status, _, said = box.post(body, key)
        assert (status, said["error"]["code"]) == (429, "budget-exhausted")
        assert box.post(ask("tokens=1"), key)[0] == 200, "the box's own model has nothing to do with it"
        box.stop()
        box.serve()
        assert box.post(body, key)[0] == 429
        assert far.stats()["asked"] == before + 5
        box.stop()
        with closing(sqlite3.connect(box.state / "appliance.db")) as books, books:
            books.execute("UPDATE call SET started_at = started_at - ?", (_MONTH * 86_400_000_000,))
            books.execute("UPDATE usage_day SET day = day - ?", (_MONTH,))
        box.serve()
        assert box.post(body, key)[0] == 200, "a month later there is a new one"
    finally:
        box.stop()
