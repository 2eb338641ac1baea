"""`GET /metrics` with engines that answer, are slow, break off, or are somebody else's; and readings that take long."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop
from prometheus_client.parser import text_string_to_metric_families

from appliance.deployment import Deployment, Engine
from appliance.engine.arguments import EnginePlan, server_arguments
from appliance.engine.location import find
from appliance.errors import ApplianceError
from appliance.gateway.energy import EnergyMeter, metering
from appliance.gateway.engine_gauges import engine_samples, read_figures
from appliance.gateway.metrics import Gauges, Metrics
from appliance.gateway.metrics_route import MetricsPage, metrics
from appliance.gateway.sampler import Sampler
from appliance.gateway.switchboard import Switchboard
from appliance.hardware.cards import Card, Cards
from appliance.hardware.power import Reading
from appliance.http.asgi import Message, Request

FIGURES = b"""# HELP llamacpp:requests_processing Number of requests processing
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 2
llamacpp:requests_deferred 1
llamacpp:n_tokens_max 512
llamacpp:kv_cache_usage_ratio 0.25
llamacpp:prompt_tokens_total 1.5e3
llamacpp:tokens_predicted_total what?
llamacpp:n_decode_total 7
nonsense
"""


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on the event loop of the gateway."""

    async def limited() -> None:
        async with asyncio.timeout(20):
            await test()

    uvloop.run(limited())


def answer(body: bytes, status: str = "200 OK") -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


@asynccontextmanager
async def engine(socket: Path, answers: dict[bytes, bytes | None]) -> AsyncIterator[None]:
    """An engine that answers each path with its text, nothing where that is empty, and breaks off where it is None."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                said = answers[head.split()[1]]
                if said is None:
                    break
                writer.write(said)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_unix_server(serve, socket):
        yield


def named(folder: Path, role: str, slots: int | None = None, context: int | None = None) -> Engine:
    """An engine of ours, that may be there or not."""
    socket = str(folder / f"{role}.sock")
    return Engine(role, f"{role}-model", (role,), role, socket=socket, slots=slots, context=context)


def board(*engines: Engine) -> Switchboard:
    """These engines, served."""
    return Switchboard(Deployment("1", engines), 0.0)


@dataclass(frozen=True)
class OnlyPage:
    """A gateway that has nothing but its page."""

    metrics_page: MetricsPage


async def asked(page: MetricsPage) -> tuple[int, str, str]:
    """Status, content type and text of the page."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    await metrics(OnlyPage(page), Request({"headers": []}, receive, "req-1"), send)
    return sent[0]["status"], dict(sent[0]["headers"])[b"content-type"].decode(), sent[1]["body"].decode()


def test_engines_tell_what_they_know_and_nobody_waits_for_those_that_do_not(tmp_path: Path) -> None:
    models = answer(b"{}")
    behaviours: dict[str, dict[bytes, bytes | None]] = {
        "well": {b"/v1/models": models, b"/metrics": answer(FIGURES)},
        "reading": {b"/v1/models": models, b"/metrics": b""},
        "loading": {b"/v1/models": answer(b"{}", "503 Unavailable"), b"/metrics": answer(b"{}", "503 Unavailable")},
        "breaking": {b"/v1/models": None, b"/metrics": None},
        "stuck": {b"/v1/models": b"", b"/metrics": b""},
        "odd": {b"/v1/models": models, b"/metrics": answer(b"\xff\x00 odd\n")},
    }
    remote = Engine("remote", "theirs", ("theirs",), "theirs", url="http://127.0.0.1:9/v1")

    async def test() -> None:
        async with AsyncExitStack() as stack:
            for role, answers in behaviours.items():
                await stack.enter_async_context(engine(tmp_path / f"{role}.sock", answers))
            engines = [named(tmp_path, role, slots=4, context=8192) for role in (*behaviours, "absent")]
            switchboard = board(*engines, remote)
            began = time.monotonic()
            found = {name: dict(values) for name, values in (await engine_samples(switchboard.now, 0.3)).items()}
            assert time.monotonic() - began < 2
            switchboard.close()
        up = {role: value for (role, _), value in found["appliance_engine_up"].items()}
        assert up == {
            "well": 1, "reading": 1, "loading": 0, "breaking": 0, "stuck": 0, "odd": 1, "absent": 0, "remote": 0,
        }  # fmt: skip
        well = ("well", "well-model")
        assert {name: values[well] for name, values in found.items() if well in values} == {
            "appliance_engine_up": 1,
            "appliance_engine_slots": 4,
            "appliance_engine_context_tokens": 8192,
            **read_figures(FIGURES),
        }
        assert set(found["appliance_engine_slots_busy"]) == {well}
        assert ("remote", "theirs") not in found["appliance_engine_slots"]

    run(test)


def test_figures_that_are_not_understood_are_left_out() -> None:
    assert read_figures(FIGURES) == {
        "appliance_engine_slots_busy": 2,
        "appliance_engine_deferred_requests": 1,
        "appliance_engine_longest_tokens": 512,
        "appliance_engine_kv_used_ratio": 0.25,
        "appliance_engine_prompt_tokens_total": 1500,
    }
    assert read_figures(b"") == {}


def test_the_page_has_what_was_counted_the_engines_and_the_machine(tmp_path: Path) -> None:
    reading = Reading(time.monotonic(), Cards(up=True, cards=(Card(0, up=True, name="RTX"),)), 1000, None)

    async def test() -> None:
        sampler = Sampler(lambda: reading)
        counted = Metrics(Gauges(lambda: {"chat": 0}, dict, lambda: 0))
        counted.refused("key-missing")
        async with engine(tmp_path / "chat.sock", {b"/v1/models": answer(b"{}"), b"/metrics": answer(FIGURES)}):
            switchboard = board(named(tmp_path, "chat"))
            status, kind, text = await asked(MetricsPage(counted, switchboard, sampler, lambda request: None))
            switchboard.close()
        sampler.close()
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
        names = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
        assert {
            "appliance_refusals_total", "appliance_engine_slots_busy", "appliance_gpu_up",
            "appliance_energy_joules_total", "appliance_build_info", "appliance_requests_under_way",
        } <= names  # fmt: skip

    run(test)


def test_whoever_is_not_let_in_gets_nothing_and_costs_no_question() -> None:
    def admit(request: Request) -> None:
        raise ApplianceError("key-missing", "The request carries no API key.", "Send one.")

    async def test() -> None:
        asked_for: list[int] = []
        sampler = Sampler(lambda: Reading(len(asked_for), None, None, None))
        with pytest.raises(ApplianceError, match="no API key"):
            await asked(MetricsPage(Metrics(Gauges(dict, dict, lambda: 0)), board(), sampler, admit))
        assert threading.active_count() == before

    before = threading.active_count()
    run(test)


def test_two_who_ask_at_once_get_one_reading_and_within_a_second_the_same() -> None:
    readings: list[Reading] = []

    def read() -> Reading:
        time.sleep(0.05)
        readings.append(Reading(time.monotonic(), None, None, None))
        return readings[-1]

    async def test() -> None:
        sampler = Sampler(read)
        first, second = await asyncio.gather(sampler.now(), sampler.now())
        assert first is second is await sampler.now()
        await asyncio.sleep(0.95)
        assert await sampler.now() is not first
        assert len(readings) == 2
        sampler.close()

    run(test)


def test_a_driver_that_hangs_holds_nobody_up_and_its_cards_count_as_lost() -> None:
    hang = threading.Event()
    told: list[Reading] = []

    def read() -> Reading:
        if told:
            hang.wait(20)
        told.append(Reading(time.monotonic() - 10, Cards(up=True, cards=(Card(0, up=True),)), 5, None))
        return told[-1]

    async def test() -> None:
        sampler = Sampler(read)
        first = await sampler.now(5)
        assert first is told[0]
        for _ in range(2):
            found = await sampler.now(0.05)
            assert found is not None
            assert (found.cards, found.energy_mj) == (Cards(up=False), None)
        hang.set()
        assert await sampler.now(5) is told[1]
        sampler.close()

    run(test)


def test_a_first_reading_that_takes_long_is_nothing_yet() -> None:
    hang = threading.Event()

    def read() -> Reading:
        hang.wait(20)
        return Reading(time.monotonic(), None, None, None)

    async def test() -> None:
        sampler = Sampler(read)
        assert await sampler.now(0.05) is None
        hang.set()
        assert await sampler.now(5) is not None
        sampler.close()

    run(test)


@pytest.mark.slow
def test_energy_is_read_each_second_and_shared_out() -> None:
    began = time.monotonic()

    def read() -> Reading:
        at = time.monotonic()
        return Reading(at, None, round((at - began) * 100_000), None)

    async def test() -> None:
        sampler, meter = Sampler(read), EnergyMeter()
        task = asyncio.create_task(metering(meter, sampler))
        await asyncio.sleep(0.2)
        meter.enter(1)
        entered = time.monotonic()
        await asyncio.sleep(2.5)
        used, seconds = meter.leave(1), time.monotonic() - entered
        task.cancel()
        sampler.close()
        assert used == pytest.approx(seconds * 100_000, rel=0.1)

    run(test)


def test_without_a_reading_a_call_has_no_energy() -> None:
    async def test() -> None:
        sampler, meter = Sampler(lambda: Reading(time.monotonic(), None, None, None)), EnergyMeter()
        task = asyncio.create_task(metering(meter, sampler))
        await asyncio.sleep(0.1)
        meter.enter(1)
        assert meter.leave(1) is None
        task.cancel()
        sampler.close()

    run(test)


@pytest.mark.model
def test_llama_server_still_tells_what_is_passed_on(tmp_path: Path, model_file: Path) -> None:
    chat = Engine("chat", "m", ("chat",), "m", socket=str(tmp_path / "e.sock"), slots=2, context=512)
    assert chat.socket is not None
    plan = EnginePlan("chat", "m", str(model_file), chat.socket, 512, 2, 1)

    async def test() -> None:
        # The client waits until the engine is up.
        switchboard = Switchboard(Deployment("1", (chat,)), 15.0)
        client = switchboard.now.clients["chat"]
        body = b'{"messages":[{"role":"user","content":"Hello"}],"max_tokens":4,"stream":true}'
        connection, _ = await client.ask("/chat/completions", body)
        await connection.read(1 << 20)
        client.release(connection)
        found = {name: dict(values)["chat", "m"] for name, values in (await engine_samples(switchboard.now, 5)).items()}
        switchboard.close()
        assert (found["appliance_engine_up"], found["appliance_engine_slots"]) == (1, 2)
        assert found["appliance_engine_slots_busy"] == found["appliance_engine_deferred_requests"] == 0
        assert found["appliance_engine_prompt_tokens_total"] > 5
        assert found["appliance_engine_completion_tokens_total"] == 4
        assert found["appliance_engine_longest_tokens"] >= found["appliance_engine_prompt_tokens_total"]
        assert found["appliance_engine_completion_seconds_total"] > 0

    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(server_arguments(str(find()), plan), stdout=log, stderr=log) as process,
    ):
        try:
            run(test)
        finally:
            process.kill()
