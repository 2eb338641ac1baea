"""The embedding model that comes without a hub: fetched, converted, and asked on the real engine."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.artifacts.shelf import Shelf
from appliance.config.paths import cache_folder
from appliance.control.plan import catalogue
from appliance.engine.location import find
from tests.support.box import free_port, wait_until

pytestmark = pytest.mark.model

PAY, BILL, CAT = "Please pay the invoice by Friday.", "The bill is due at the end of the week.", "The cat sleeps."


@pytest.fixture(scope="module")
def model_file() -> Path:
    """The embedding model, fetched, converted and verified once for all runs of the tests."""
    folder = cache_folder() / "tests-models"
    folder.mkdir(parents=True, exist_ok=True)
    model = catalogue().get("all-minilm-l6-v2-q8_0")
    path = Shelf(folder).pull(model, lambda done, total: None)
    Shelf(folder).verify(model)
    return path


@pytest.fixture(scope="module")
def engine(model_file: Path) -> Iterator[str]:
    """The address of an engine that embeds."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(find()), "--model", str(model_file), "--host", "127.0.0.1", "--port", str(port)]
    options = ["--embedding", "--pooling", "mean", "--threads", "1", "--offline"]
    with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: healthy(url), 60, "the engine")
            yield url
        finally:
            process.terminate()


def healthy(url: str) -> bool:
    """Whether the engine has loaded its model."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def embedded(url: str, *texts: str) -> list[list[float]]:
    """What the engine makes of texts."""
    body = json.dumps({"input": texts}).encode()
    request = urllib.request.Request(f"{url}/v1/embeddings", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return [one["embedding"] for one in json.load(answer)["data"]]


def product(one: list[float], other: list[float]) -> float:
    """The cosine of two embeddings of length 1."""
    return sum(left * right for left, right in zip(one, other, strict=True))


def test_texts_that_mean_the_same_lie_close_together(engine: str) -> None:
    pay, bill, cat = embedded(engine, PAY, BILL, CAT)
    assert {len(pay), len(bill), len(cat)} == {384}
    assert [product(one, one) for one in (pay, bill, cat)] == pytest.approx([1, 1, 1], abs=1e-5)
    assert product(pay, bill) > 0.4
    assert abs(product(pay, cat)) < 0.2
    assert abs(product(bill, cat)) < 0.2
