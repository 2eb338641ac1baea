"""The request path's seven steps, in order; every address at which a model is asked runs them.

    1 authenticate   who asks
    2 decide         may they, and is the request one that may reach an engine
    3 route          which engine answers; while it is exchanged, the request waits here
    4 ledger.open    the call is on record before the engine is asked
    5 engine.stream  the answer, passed on as it comes
    6 ledger.settle  what it came to is on record before its end goes out
    7 audit          what did not end well is noted

What is particular to an address is in its `Endpoint`. Steps 1 to 4 stand in `ask` and `serve`: whatever they
raise leaves as a proper HTTP error, since no answer has begun. Steps 5 to 7 are `Call.run`, where an
answer may have. What generates nothing is on no record: it ends with `count`.
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
from appliance.gateway.answers import Answer
from appliance.gateway.batches import Batches
from appliance.gateway.endpoints import Endpoint
from appliance.gateway.files import Files
from appliance.gateway.hold import unheld
from appliance.gateway.limits import UnderWay
from appliance.gateway.switchboard import Switchboard
from appliance.gateway.watch import Watchman
from appliance.http.asgi import Request, Send
from appliance.ledger.entry import Opening, Outcome, Settlement
from appliance.ledger.writer import LedgerWriter
from appliance.policy.body import EngineRequest, estimate_tokens
from appliance.policy.grants import permit
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
    files: Files
    batches: Batches


async def ask(endpoint: Endpoint, box: Box, request: Request, send: Send) -> None:
    """Answer one request."""
    await serve(endpoint, box, box.credentials.resolve(request.credential(), request.peer), request, send)  # 1


async def serve(endpoint: Endpoint, box: Box, principal: Principal, request: Request, send: Send) -> None:
    """Steps 2 to 7, for a principal that is known."""
    began = time.monotonic()
    body = await request.body(box.max_body)
    wanted = endpoint.read(body)  # 2 decide
    engine, client = box.switchboard.now.route(wanted.model)  # 3 route
    endpoint.check(engine, wanted)
    held_s = 0.0
    box.under_way.enter(principal.key_id)
    try:
        if engine.held:
            held_at = time.monotonic()
            client = await unheld(box.switchboard, box.watchman, request, wanted.model)
            endpoint.check(client.engine, wanted)
            held_s = time.monotonic() - held_at
        permit(principal, endpoint.scope, (wanted.model, client.engine.model))  # 2 decide, now that the model is known
        # No await since it was routed: to an engine without a count nobody is on the way.
        client.busy += 1
        try:
            if not endpoint.on_record:
                await count(endpoint, request, wanted, client, send)
                return
            call = await open_call(endpoint, box, request, principal, wanted, client, began)  # 4 ledger.open
            call.held_s = held_s
            await call.run(send)  # 5, 6, 7
        finally:
            client.busy -= 1
    finally:
        box.under_way.leave(principal.key_id)


async def count(endpoint: Endpoint, request: Request, wanted: EngineRequest, client: EngineClient, send: Send) -> None:
    """Ask an engine for what costs nothing, and pass it on."""
    answer = endpoint.answer(wanted, client.engine, request)
    connection, _ = await client.ask(endpoint.upstream, answer.upstream_body())
    try:
        await answer.take(connection, send)
    finally:
        client.release(connection)
    await answer.finish(send)


async def open_call(
    endpoint: Endpoint,
    box: Box,
    request: Request,
    principal: Principal,
    wanted: EngineRequest,
    client: EngineClient,
    began: float,
) -> Call:
    """Put the call on record as open; returns once that is on disk. Raises disk-full or ledger-unavailable."""
    opening = Opening(
        id=box.ledger.take_id(),
        request_id=request.id,
        principal=principal.name,
        team=principal.team,
        key_id=principal.key_id,
        endpoint=endpoint.name,
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
    return Call(endpoint, box, request, wanted, client, opening, began)


class Call:
    """One call on record, from asking the engine to the settled row. `held_s` is how long it was held before."""

    def __init__(
        self,
        endpoint: Endpoint,
        box: Box,
        request: Request,
        wanted: EngineRequest,
        client: EngineClient,
        opening: Opening,
        began: float,
    ) -> None:
        self.held_s = 0.0
        self._endpoint = endpoint
        self._box = box
        self._request = request
        self._client = client
        self._opening = opening
        self._prompt_bytes = wanted.prompt_bytes
        self._began = began
        self._answer: Answer = endpoint.answer(wanted, client.engine, request)
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
            self._connection, self._waited_s = await self._client.ask(
                self._endpoint.upstream, self._answer.upstream_body()
            )
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
            opening = self._opening
            note(
                outcome.value, opening.request_id, code=error, principal=opening.principal, endpoint=self._endpoint.name
            )
