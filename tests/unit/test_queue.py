"""The line in front of an engine, with real tasks in a real loop."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Coroutine
from time import monotonic
from typing import Any

import pytest

from appliance.errors import ApplianceError
from appliance.gateway import queue as module
from appliance.gateway.queue import Place, Queue
from appliance.policy.fair import FairScheduler, Priority

CHAT, BATCH = Priority.CHAT, Priority.BATCH


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 60))


def timers(queue: Queue) -> int:
    return sum(timer is not None for timer in (queue._timer, queue._telling))


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_a_free_slot_is_given_without_a_wait() -> None:
    async def story() -> None:
        queue = Queue(FairScheduler(1))
        entering = queue.enter("anna", CHAT, 10, 5.0)
        with pytest.raises(StopIteration) as done:
            entering.send(None)
        place = done.value.value
        assert (place.admitted, place.waited_s, place.position, place.expected_s) == (True, 0.0, 0, 0.0)
        assert await place.news()
        place.leave(10)
        place.leave(10)
        assert (place.admitted, queue.running, queue.waiting) == (False, 0, 0)

    run(story())


def test_who_waits_is_woken_when_a_slot_is_given_back() -> None:
    async def story() -> None:
        queue = Queue(FairScheduler(1))
        first = await queue.enter("anna", CHAT, 10, 5.0)
        task = asyncio.create_task(queue.enter("bert", CHAT, 10, math.inf))
        await asyncio.sleep(0.05)
        assert (task.done(), queue.running, queue.waiting) == (False, 1, 1)
        first.leave(10)
        second = await task
        assert second.admitted
        assert 0.04 < second.waited_s < 5
        waited_s = second.waited_s
        await asyncio.sleep(0.01)
        assert second.waited_s == waited_s
        second.leave(10)
        assert (queue.running, queue.waiting) == (0, 0)

    run(story())


def test_a_full_line_refuses_at_once() -> None:
    async def story() -> None:
        queue = Queue(FairScheduler(1, most_waiting=1))
        held = await queue.enter("anna", CHAT, 10, 5.0)
        waits = queue.ask("bert", CHAT, 10, 5.0)
        with pytest.raises(ApplianceError) as caught:
            await queue.enter("carl", CHAT, 10, 5.0)
        assert (caught.value.code, caught.value.kind.http, caught.value.retry_after_s) == ("queue-full", 503, 20)
        held.leave(10)
        waits.leave(10)
        assert (queue.running, queue.waiting) == (0, 0)

    run(story())


def test_a_deadline_ends_the_wait_and_leaves_nothing_behind() -> None:
    async def story() -> None:
        queue = Queue(FairScheduler(1))
        held = await queue.enter("anna", CHAT, 10, 5.0)
        began = monotonic()
        with pytest.raises(ApplianceError) as caught:
            await queue.enter("bert", CHAT, 10, 0.05)
        assert 0.05 <= monotonic() - began < 5
        assert (caught.value.code, caught.value.kind.http) == ("queue-timeout", 503)
        assert caught.value.retry_after_s is not None
        assert caught.value.retry_after_s >= 1
        assert (queue.running, queue.waiting) == (1, 0)
        held.leave(10)
        assert queue.running == 0

    run(story())


def test_the_deadline_is_told_also_to_who_looks_late() -> None:
    async def story() -> None:
        queue = Queue(FairScheduler(1))
        await queue.enter("anna", CHAT, 10, 5.0)
        place = queue.ask("bert", CHAT, 10, 0.01)
        await asyncio.sleep(0.05)
        with pytest.raises(ApplianceError, match="as long as it may"):
            await place.news()
        place.leave()
        assert 0.01 <= place.waited_s < 5
        assert (queue.running, queue.waiting) == (1, 0)

    run(story())


def test_a_cancelled_wait_ends_at_once() -> None:
    async def story() -> None:
        queue = Queue(FairScheduler(1))
        held = await queue.enter("anna", CHAT, 10, 5.0)
        task = asyncio.create_task(queue.enter("bert", CHAT, 10, 5.0))
        await turns()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert (queue.running, queue.waiting) == (1, 0)
        held.leave(10)
        assert queue.running == 0

    run(story())


@pytest.mark.parametrize("cancel_first", [True, False])
@pytest.mark.parametrize("heir", [True, False])
def test_cancelled_and_admitted_in_one_turn_of_the_loop(cancel_first: bool, heir: bool) -> None:
    """The slot goes to whoever is next, or is free again."""

    async def story() -> None:
        queue = Queue(FairScheduler(1))
        held = await queue.enter("anna", CHAT, 10, 5.0)
        task = asyncio.create_task(queue.enter("bert", CHAT, 10, 5.0))
        await turns()
        next_one = asyncio.create_task(queue.enter("carl", CHAT, 10, 5.0)) if heir else None
        await turns()
        if cancel_first:
            task.cancel()
            held.leave(10)
        else:
            held.leave(10)
            task.cancel()
        assert queue.running == 1  # Bert's, until his task has run
        await asyncio.wait([task])
        assert task.cancelled()
        assert (queue.running, queue.waiting) == (1 if heir else 0, 0)
        if next_one is not None:
            (await next_one).leave(10)
        assert queue.running == 0

    run(story())


def test_deadline_and_admission_at_once_leak_nothing() -> None:
    async def story() -> None:
        queue = Queue(FairScheduler(1))
        for _ in range(20):
            held = await queue.enter("anna", CHAT, 10, 5.0)
            task = asyncio.create_task(queue.enter("bert", CHAT, 10, 0.005))
            await asyncio.sleep(0.0055)
            held.leave(10)
            with contextlib.suppress(ApplianceError):
                (await task).leave(10)
            assert (queue.running, queue.waiting) == (0, 0)

    run(story())


def test_places_in_the_line_are_told_when_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TELL_EVERY_S", 0.02)

    async def story() -> None:
        queue = Queue(FairScheduler(1))
        places = [queue.ask(person, CHAT, 10, 60.0) for person in "abcd"]
        last = places[-1]
        assert (last.position, last.expected_s) == (3, 30.0)
        told: list[tuple[int, float]] = []

        async def follow() -> None:
            while not await last.news():
                told.append((last.position, last.expected_s))

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.1)
        assert told == []
        for place in places[:2]:
            place.leave(10)
            await asyncio.sleep(0.1)
        places[2].leave(10)
        await following
        assert [position for position, _ in told] == [2, 1]
        assert told[-1][1] < 1
        assert (last.admitted, last.position) == (True, 0)
        last.leave(10)

    run(story())


def test_news_comes_within_the_time_that_was_asked_for_and_a_giving_up_frees_the_place() -> None:
    async def story() -> None:
        queue = Queue(FairScheduler(1))
        held = await queue.enter("anna", CHAT, 10, 5.0)
        place = queue.ask("bert", CHAT, 10, 60.0)
        began = monotonic()
        assert not await place.news(within_s=0.05)
        assert 0.04 <= monotonic() - began < 5
        place.leave()
        assert (queue.running, queue.waiting) == (1, 0)
        held.leave(10)

    run(story())


def test_a_slot_that_was_kept_free_is_given_when_the_time_is_over() -> None:
    async def story() -> None:
        queue = Queue(FairScheduler(2, headroom_s=0.1))
        (await queue.enter("anna", CHAT, 10, 5.0)).leave(10)
        first = await queue.enter("greedy", CHAT, 10, 5.0)
        assert first.admitted
        second = await queue.enter("greedy", CHAT, 10, 5.0)
        assert 0.03 < second.waited_s < 5
        batch = queue.ask("worker", BATCH, 10, 5.0)
        assert not batch.admitted
        first.leave(10)
        assert await batch.news()
        second.leave(10)
        batch.leave(10)
        assert (queue.running, queue.waiting) == (0, 0)

    run(story())


def test_more_slots_let_more_in() -> None:
    async def story() -> None:
        queue = Queue(FairScheduler(1))
        held = await queue.enter("anna", CHAT, 10, 5.0)
        task = asyncio.create_task(queue.enter("bert", CHAT, 10, 5.0))
        await turns()
        queue.resize(2)
        (await task).leave(10)
        held.leave(10)
        assert queue.running == 0

    run(story())


def test_an_empty_line_has_no_timers() -> None:
    async def story() -> None:
        queue = Queue(FairScheduler(1))
        held = await queue.enter("anna", CHAT, 10, 5.0)
        place = queue.ask("bert", CHAT, 10, 60.0)
        assert timers(queue) == 2
        held.leave(10)
        assert place.admitted
        assert timers(queue) == 0

    run(story())


@pytest.mark.parametrize("seed", range(5))
def test_a_crowd_that_comes_gives_up_and_leaves_loses_no_slot(seed: int) -> None:
    async def story() -> None:
        chance = random.Random(seed)
        queue = Queue(FairScheduler(3, most_waiting=30, headroom_s=0.01))
        inside = most = served = 0

        async def one(person: str) -> None:
            nonlocal inside, most, served
            await asyncio.sleep(chance.random() * 0.05)
            priority = chance.choice(list(Priority))
            try:
                place: Place = await queue.enter(person, priority, 10, chance.choice([0.002, 0.02, 5.0]))
            except ApplianceError as error:
                assert error.code in ("queue-full", "queue-timeout")
                return
            inside += 1
            most = max(most, inside)
            try:
                await asyncio.sleep(chance.random() * 0.004)
                served += 1
            finally:
                inside -= 1
                place.leave(chance.randrange(100))

        tasks = [asyncio.create_task(one(chance.choice("abcdef"))) for _ in range(150)]
        for _ in range(40):
            await asyncio.sleep(0.001)
            chance.choice(tasks).cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}
        assert most <= 3
        assert served > 20
        assert (queue.running, queue.waiting, len(queue._places)) == (0, 0, 0)

    run(story())
