"""`POST /v1/chat/completions`: the request path's seven steps, in order.

    1 authenticate   who asks
    2 decide         may they, and is the request one that may reach an engine
    3 route          which engine answers; while it is exchanged, the request waits here
    4 ledger.open    the call is on record before the engine is asked
    5 engine.stream  the answer, passed on as it comes
    6 ledger.settle  what it came to is on record before its end goes out
    7 audit          what did not end well is noted

Steps 1 to 4 stand in `chat`: whatever they raise leaves as a proper HTTP error, since no
answer has begun. Steps 5 to 7 are `Call.run`, where an answer may have.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from appliance.accounts.resolve import Credentials
from appliance.audit.log import note
from appliance.cloud.gate import CloudGate
from appliance.engine.client import EngineClient
from appliance.engine.connection import Connection
from appliance.errors import ApplianceError
from appliance.gateway.answers import Answer, make_answer
from appliance.gateway.hold import unheld
from appliance.gateway.limits import UnderWay
from appliance.gateway.switchboard import Switchboard
from appliance.gateway.watch import Watchman
from appliance.http.asgi import Request, Send
from appliance.ledger.entry import Opening, Outcome, Settlement
from appliance.ledger.writer import LedgerWriter
from appliance.policy.chat import ChatRequest, estimate_tokens, read
from appliance.policy.cloud import Permit
from appliance.policy.principals import Principal
from appliance.units import now_us


@dataclass(frozen=True, slots=True)
class Box:
    """What the seven steps work with. `max_body` in bytes."""

    credentials: Credentials
    switchboard: Switchboard
    ledger: LedgerWriter
    under_way: UnderWay
    watchman: Watchman
    max_body: int
    cloud: CloudGate


async def chat(box: Box, request: Request, send: Send) -> None:
    """Answer one chat completion request."""
    began = time.monotonic()
    principal = box.credentials.resolve(request.header(b"authorization"))  # 1 authenticate
    body = await request.body(box.max_body)
    wanted = read(body)  # 2 decide
    engine, client = box.switchboard.now.route(wanted.model)  # 3 route
    permit = None
    if engine.provider:
        permit = box.cloud.permit(principal, request.scope["headers"], engine, wanted.fields.get("max_tokens"))
    held_s = 0.0
    box.under_way.enter(principal.key_id)
    try:
        if engine.held:
            held_at = time.monotonic()
            client = await unheld(box.switchboard, box.watchman, request, wanted.model)
            held_s = time.monotonic() - held_at
        # No await since it was routed: to an engine without a count nobody is on the way.
        client.busy += 1
        try:
            call = await open_call(box, request, principal, wanted, client, began, permit)  # 4 ledger.open
            call.held_s = held_s
            await call.run(send)  # 5, 6, 7
        finally:
            client.busy -= 1
    finally:
        box.under_way.leave(principal.key_id)


async def open_call(
    box: Box, request: Request, principal: Principal, wanted: ChatRequest, client: EngineClient, began: float,
    permit: Permit | None = None,
) -> Call:  # fmt: skip
    """Put the call on record as open; returns once that is on disk. Raises disk-full or ledger-unavailable."""
    opening = Opening(
        id=box.ledger.take_id(),
        request_id=request.id,
        principal=principal.name,
        team=principal.team,
        key_id=principal.key_id,
        endpoint="chat",
        priority=principal.priority,
        task=None,
        model_asked=wanted.model,
        model=client.engine.model,
        provider=client.engine.provider,
        route=None,
        streamed=wanted.streamed,
        started_at=now_us(),
    )
    await box.ledger.open(opening)
    return Call(box, request, wanted, client, opening, began, permit)


class Call:
    """One call on record, from asking the engine to the settled row. `held_s` is how long it was held before."""

    def __init__(
        self, box: Box, request: Request, wanted: ChatRequest, client: EngineClient, opening: Opening, began: float,
        permit: Permit | None = None,
    ) -> None:  # fmt: skip
        self.held_s = 0.0
        self._permit = permit
        self._box = box
        self._request = request
        self._client = client
        self._opening = opening
        self._prompt_bytes = wanted.prompt_bytes
        self._began = began
        self._answer: Answer = make_answer(wanted, client.engine, request.id)
        self._connection: Connection | None = None
        self._waited_s = 0.0
        self._settled = False

    async def run(self, send: Send) -> None:
        """Steps 5 to 7. A client that hangs up cancels the engine at once, and is settled all the same."""
        task = asyncio.current_task()
        assert task is not None
        hung_up = False

        def cancel() -> None:
            nonlocal hung_up
            if not self._settled:
                hung_up = True
                task.cancel()

        watch = self._box.watchman.watch(self._request, cancel)
        try:
            await self._stream(send)
        except asyncio.CancelledError:
            await self._settle(Outcome.CANCELLED if hung_up else Outcome.INTERRUPTED, None)
            if not hung_up:
                raise
            task.uncancel()
        except ApplianceError as error:
            if not self._settled:
                await self._settle(Outcome.REFUSED if error.kind.http == 400 else Outcome.FAILED, error.code)
            await self._answer.fail(send, error)
        finally:
            watch.close()
            if self._connection is not None:
                self._client.release(self._connection)
            if not self._settled:
                # A bug of ours is on its way out, and leaves no row open behind it.
                await self._settle(Outcome.FAILED, "internal")

    async def _stream(self, send: Send) -> None:
        """Step 5: ask the engine and pass its answer on, all but the end; step 6; then the end."""
        asked = time.monotonic()
        try:
            self._connection, self._waited_s = await self._client.chat(self._answer.upstream_body(), self._permit)
        except ApplianceError:
            self._waited_s = time.monotonic() - asked
            raise
        await self._answer.take(self._connection, send)
        await self._settle(Outcome.COMPLETE, None)
        await self._answer.finish(send)

    async def _settle(self, outcome: Outcome, error: str | None) -> None:
        """Step 6, once: the row is on disk when this returns. Step 7: note what did not complete."""
        self._settled = True
        tally, first = self._answer.tally, self._answer.first_token_at
        tally.close()
        # A call that the engine worked on and could not count is charged by estimate; one that it
        # never took is charged nothing.
        worked = first is not None or outcome in (Outcome.CANCELLED, Outcome.INTERRUPTED)
        estimated = 0 if tally.exact or not worked else estimate_tokens(self._prompt_bytes)
        settlement = Settlement(
            prompt_tokens=tally.prompt or estimated,
            cached_tokens=tally.cached,
            completion_tokens=tally.completion,
            exact=tally.exact or not worked,
            queue_ms=round((self.held_s + self._waited_s) * 1000),
            first_token_ms=None if first is None else round((first - self._began) * 1000),
            total_ms=round((time.monotonic() - self._began) * 1000),
            outcome=outcome,
            error=error,
            cost=0,
            avoided_cost=0,
            energy_mj=None,
            settled_at=now_us(),
            id=self._opening.id,
        )
        await self._box.ledger.settle(settlement)  # 6 ledger.settle
        if outcome is not Outcome.COMPLETE:
            note(outcome.value, self._opening.request_id, code=error, principal=self._opening.principal)  # 7 audit
