"""One call on record: steps 5 to 7."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from appliance.audit.actions import Action
from appliance.audit.log import note
from appliance.engine.client import EngineClient
from appliance.engine.connection import Connection
from appliance.errors import ApplianceError
from appliance.gateway.answers import Answer
from appliance.gateway.refusals import refused
from appliance.gateway.visit import Visit
from appliance.http.asgi import Send
from appliance.ledger.entry import Opening, Outcome, Settlement
from appliance.policy.body import estimate_tokens
from appliance.policy.budgets import Hold
from appliance.policy.cloud import Permit
from appliance.policy.prices import Price
from appliance.units import now_us

# Seconds that a client has to take the last word of an answer that was ended.
_LAST_WORD_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Seat:
    """The engine that is to answer, what is held for it, its price, and the word to leave the box if it is outside."""

    client: EngineClient
    hold: Hold
    price: Price
    permit: Permit | None


class Call:
    """From asking the engine to the settled row. `tokens` is what it came to."""

    def __init__(self, visit: Visit, seat: Seat, opening: Opening) -> None:
        self.tokens = 0
        self._visit = visit
        self._seat = seat
        self._opening = opening
        self._answer: Answer = visit.endpoint.answer(visit.wanted, seat.client.engine, visit.request)
        self._answer.cap = seat.hold.max_tokens
        self._answer.started = visit.begun
        self._connection: Connection | None = None
        self._waited_s = 0.0
        self._settled = False
        visit.request.told += [(b"x-appliance-model", seat.client.engine.model.encode()), *seat.hold.headers()]

    async def run(self, send: Send, passes: Callable[[ApplianceError], bool]) -> None:
        """Steps 5 to 7. A client that hangs up cancels the engine at once, and is settled all the same.

        So does whoever is shut out, or whose key is taken back; they are told.

        Raises an error that somebody else may mend, as `passes` says; all others are answered.
        """
        task = asyncio.current_task()
        assert task is not None
        hung_up = False

        def cancel() -> None:
            nonlocal hung_up
            if not self._settled and not hung_up:
                hung_up = True
                task.cancel()

        watch = self._visit.box.watchman.watch(self._visit.request, cancel)
        try:
            await self._stream(send)
        except asyncio.CancelledError:
            self._let_go()
            ended = self._visit.request.ended
            await self._settle(
                Outcome.CANCELLED if hung_up else Outcome.INTERRUPTED, None if ended is None else ended.code
            )
            if not hung_up:
                raise
            task.uncancel()
            await self._tell(ended, send)
        except ApplianceError as error:
            if not self._settled:
                await self._settle(Outcome.REFUSED if error.kind.http == 400 else Outcome.FAILED, error.code)
                if passes(error):
                    raise
            await self._tell(error, send)
        finally:
            watch.close()
            self._let_go()
            if not self._settled:
                # A bug of ours is on its way out, and leaves no row open behind it.
                await self._settle(Outcome.FAILED, "internal")

    async def _stream(self, send: Send) -> None:
        """Step 5: ask the engine and pass its answer on, all but the end; step 6; then the end."""
        visit, client = self._visit, self._seat.client
        visit.request.check()
        if client.engine.provider:
            await self._note_sending()
        if client.engine.is_ours:
            visit.box.energy.enter(self._opening.id)
        asked = time.monotonic()
        try:
            self._connection, self._waited_s = await client.ask(
                visit.endpoint.upstream, self._answer.upstream_body(), self._seat.permit
            )
        except ApplianceError:
            self._waited_s = time.monotonic() - asked
            raise
        await self._answer.take(self._connection, send)
        await self._settle(Outcome.COMPLETE, None)
        await self._answer.finish(send)

    def _let_go(self) -> None:
        """Give the engine's connection back: in mid-answer, that cancels it."""
        if self._connection is not None:
            self._seat.client.release(self._connection)
            self._connection = None

    async def _tell(self, error: ApplianceError | None, send: Send) -> None:
        """Tell a client what went wrong, if it is there to hear that.

        Whoever is shown out may have stopped to listen, so they are not waited for: their slot is needed.
        """
        if error is None:
            return
        if error is not self._visit.request.ended:
            await self._answer.fail(send, error)
            return
        with suppress(ApplianceError):
            await refused(self._visit.box, self._visit.request, error)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD_S):
                await self._answer.fail(send, error)

    async def _note_sending(self) -> None:
        """What leaves the box is on the audit log before it does."""
        opening = self._opening
        await self._visit.box.audit.write(
            Action.CLOUD_SENT,
            opening.principal,
            opening.provider,
            opening.request_id,
            model=opening.model,
            team=opening.team,
            key_id=opening.key_id,
            bytes=self._visit.wanted.prompt_bytes,
        )

    async def _settle(self, outcome: Outcome, error: str | None) -> None:
        """Step 6, once: the row is on disk when this returns. Step 7: note what did not complete."""
        self._settled = True
        settlement = self._settlement(outcome, error)
        self.tokens = settlement.prompt_tokens + settlement.completion_tokens
        # In one turn of the loop with the row: whoever sums the rows knows which calls are in them.
        self._seat.hold.settle(self.tokens, settlement.cost)
        await self._visit.box.ledger.settle(settlement)  # 6 ledger.settle
        self._visit.box.metrics.settled(self._opening, settlement)
        if outcome is not Outcome.COMPLETE:
            opening = self._opening
            facts = {"code": error, "principal": opening.principal, "endpoint": opening.endpoint}
            note(outcome.value, opening.request_id, **facts)  # 7 audit

    def _settlement(self, outcome: Outcome, error: str | None) -> Settlement:
        visit, opening = self._visit, self._opening
        tally, first = self._answer.tally, self._answer.first_token_at
        tally.close()
        # A call that the engine worked on and could not count is charged by estimate; one that it
        # never took is charged nothing.
        worked = first is not None or outcome in (Outcome.CANCELLED, Outcome.INTERRUPTED)
        exact = tally.exact or not worked
        prompt = tally.prompt or (0 if exact else estimate_tokens(visit.wanted.prompt_bytes))
        counts = (prompt, tally.cached, tally.completion)
        cost, avoided = self._seat.price.cost(*counts), 0
        if opening.provider:
            # Whoever cannot be counted has cost all that was held, or the cap would be none.
            cost = cost if exact else self._seat.hold.cost
        else:
            role = self._seat.client.engine.role
            avoided = visit.box.reference.at(opening.model, role, opening.started_at).cost(*counts)
        now = time.monotonic()
        return Settlement(
            prompt_tokens=prompt,
            cached_tokens=tally.cached,
            completion_tokens=tally.completion,
            exact=exact,
            queue_ms=round((visit.waited_s + self._waited_s) * 1000),
            first_token_ms=None if first is None else round((first - visit.began) * 1000),
            total_ms=round((now - visit.began) * 1000),
            outcome=outcome,
            error=error,
            cost=cost,
            avoided_cost=avoided,
            energy_mj=visit.box.energy.leave(opening.id),
            settled_at=now_us(),
            id=opening.id,
        )
