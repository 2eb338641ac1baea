"""The request path's seven steps, in order; every address at which a model is asked runs them.

    1 authenticate   who asks
    2 decide         may they, is the request one that may reach an engine, and do their budgets hold it
    3 route          which model answers; the request waits for its turn, and while the engine is exchanged
    4 ledger.open    the call is on record before the engine is asked
    5 engine.stream  the answer, passed on as it comes
    6 ledger.settle  what it came to is on record before its end goes out
    7 audit          what did not end well is noted

What is particular to an address is in its `Endpoint`. Steps 1 to 4 stand here: whatever they raise leaves
as a proper HTTP error, since no answer has begun (but for those who wait long: they have been told so).
Steps 5 to 7 are `Call.run`, where an answer may have. What generates nothing is on no record: it ends with
`count`. A model that cannot answer, and has not begun to, is followed by the next one of the route.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

from appliance.engine.client import EngineClient
from appliance.errors import ApplianceError
from appliance.gateway.box import Box
from appliance.gateway.call import Call, Seat
from appliance.gateway.endpoints import Endpoint
from appliance.gateway.hold import unheld
from appliance.gateway.refusals import refused
from appliance.gateway.shapes.counts import cannot_count
from appliance.gateway.turn import turn
from appliance.gateway.visit import Visit, make
from appliance.http.asgi import Request, Send
from appliance.ledger.entry import Opening
from appliance.policy.body import EngineRequest, estimate_tokens
from appliance.policy.grants import permit
from appliance.policy.principals import Principal
from appliance.policy.routing import Route, next_target

# What the chat page says for whom it asks in, and what a proxy leaves behind in a request.
VOUCHER: Final = b"x-openwebui-user-jwt"
FORWARDED: Final = (b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip")


async def ask(endpoint: Endpoint, box: Box, request: Request, send: Send) -> None:
    """Answer one request of whoever its credential stands for."""
    voucher = _voucher(request) if endpoint.role else None
    principal = box.credentials.resolve(request.credential(), request.peer, voucher)  # 1 authenticate
    await serve(endpoint, box, principal, request, send)


async def serve(endpoint: Endpoint, box: Box, principal: Principal, request: Request, send: Send) -> None:
    """Answer one request of somebody who is known."""
    request.actor = principal.name
    box.doorkeeper.enter(request, principal)
    try:
        wanted = endpoint.read(await request.body(box.max_body))  # 2 decide
        request.check()
        visit = make(endpoint, box, request, principal, wanted, _routed(endpoint, box, principal, request, wanted))
        box.under_way.enter(principal.key_id)
        try:
            target: str | None = visit.route.target
            while target is not None:
                target = await _attempt(visit, target, send)
        finally:
            box.under_way.leave(principal.key_id)
    finally:
        box.doorkeeper.leave(request)


def _voucher(request: Request) -> str | None:
    """For whom the chat page asks, where it does not do so with their own token: embeddings and sorting.

    Whoever asks through a proxy is not the chat page, which stands beside us.
    """
    said = [value for name, value in request.scope["headers"] if name == VOUCHER]
    if len(said) != 1 or any(request.header(name) is not None for name in FORWARDED):
        return None
    return str(said[0].decode("latin-1"))


def _routed(endpoint: Endpoint, box: Box, principal: Principal, request: Request, wanted: EngineRequest) -> Route:
    """Step 3: the model, and those to ask if it cannot answer. Raises model-not-found, cloud-off and the like."""
    if endpoint.role:
        return Route(wanted.model)
    served = box.switchboard.now
    cloud: tuple[str, ...] = ()
    if served.cloud:
        refusal = box.cloud.refusal(principal, request.scope["headers"])
        if refusal is None:
            cloud = served.cloud
        elif wanted.model in served.cloud:
            raise refusal
    if wanted.model in served.elsewhere:
        # For something else than conversations: `check` says for what.
        return Route(wanted.model)
    return served.router.route(wanted, principal.models, cloud)


async def _attempt(visit: Visit, target: str, send: Send) -> str | None:
    """Have one model answer; returns the next to ask where it could not, and None once there is an answer."""
    visit.tried.append(target)
    try:
        while not await _answered(visit, target, send):
            pass
    except ApplianceError as error:
        following = _following(visit, error)
        if following is None and visit.begun:
            box = visit.box
            answer = visit.endpoint.answer(visit.wanted, box.switchboard.now.route(target)[0], visit.request)
            answer.started = True
            if error is visit.request.ended:
                with suppress(ApplianceError):
                    await refused(box, visit.request, error)
            await answer.fail(send, error)
        elif following is None:
            raise
        return following
    return None


async def _answered(visit: Visit, target: str, send: Send) -> bool:
    """Ask the engine that serves a name now. False when it was exchanged while the request waited for its turn."""
    box, endpoint, wanted = visit.box, visit.endpoint, visit.wanted
    engine, client = box.switchboard.now.route(target)
    endpoint.check(engine, wanted)
    if engine.held:
        held_at = time.monotonic()
        client = await unheld(box.switchboard, box.watchman, visit.request, target)
        visit.waited_s += time.monotonic() - held_at
        endpoint.check(client.engine, wanted)
    engine = client.engine
    permit(
        visit.principal, endpoint.scope, (wanted.model, target, engine.model)
    )  # 2 decide, now that the model is known
    if not endpoint.on_record:
        await _count(visit, client, send)
        return True
    leave, price = visit.permit(engine), visit.price(engine)
    hold = visit.hold(engine, leave, price)
    try:
        place = await turn(visit, box.switchboard.queue(client), send)
        tokens = 0
        try:
            if visit.waited_s and not box.switchboard.serves(target, client):
                return False
            # No await since the turn came: to an engine without a count nobody is on the way.
            client.busy += 1
            try:
                call = await _opened(visit, Seat(client, hold, price, leave))  # 4 ledger.open
                try:
                    await call.run(send, lambda error: _following(visit, error) is not None)  # 5, 6, 7
                finally:
                    tokens = call.tokens
            finally:
                client.busy -= 1
        finally:
            place.leave(tokens)
    finally:
        hold.release()
    return True


def _following(visit: Visit, error: ApplianceError) -> str | None:
    """Whom to ask after an error, if anybody."""
    return next_target(
        visit.route,
        error.code,
        visit.tried,
        begun=visit.request.answering,
        tokens=estimate_tokens(visit.wanted.prompt_bytes),
        contexts=visit.box.switchboard.now.router.contexts,
    )


async def _count(visit: Visit, client: EngineClient, send: Send) -> None:
    """Ask an engine for what costs nothing, and pass it on."""
    answer = visit.endpoint.answer(visit.wanted, client.engine, visit.request)
    if client.engine.provider:
        raise cannot_count(client.engine)
    client.busy += 1
    try:
        connection, _ = await client.ask(visit.endpoint.upstream, answer.upstream_body())
        try:
            await answer.take(connection, send)
        finally:
            client.release(connection)
    finally:
        client.busy -= 1
    await answer.finish(send)


async def _opened(visit: Visit, seat: Seat) -> Call:
    """Put the call on record as open; returns once that is on disk. Raises disk-full or ledger-unavailable."""
    box, principal, engine = visit.box, visit.principal, seat.client.engine
    again = len(visit.tried) - 1
    opening = Opening(
        id=box.ledger.take_id(),
        # One request may be several calls: the first has its id.
        request_id=f"{visit.request.id}.{again}" if again else visit.request.id,
        principal=principal.name,
        team=principal.team,
        key_id=principal.key_id,
        endpoint=visit.endpoint.name,
        priority=visit.priority,
        task=visit.task,
        model_asked=visit.wanted.model,
        model=engine.model,
        provider=engine.provider,
        route=f"after {visit.tried[-2]}"[:100] if again else visit.route.reason or None,
        streamed=visit.wanted.streamed,
        started_at=seat.hold.at,
    )
    await box.ledger.open(opening)
    return Call(visit, seat, opening)
