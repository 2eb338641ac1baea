"""One request on its way through the seven steps: what is known of it before an engine is asked."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from appliance.accounts.books import BYTES_A_TOKEN
from appliance.deployment import Engine
from appliance.gateway.answers import SSE, UNBUFFERED
from appliance.gateway.box import Box
from appliance.gateway.endpoints import Endpoint
from appliance.http.asgi import Request, Send, start
from appliance.policy.body import EngineRequest, estimate_tokens
from appliance.policy.budgets import Hold
from appliance.policy.cloud import Permit, most_prompt, without_price
from appliance.policy.fair import Priority
from appliance.policy.prices import Price
from appliance.policy.principals import Principal
from appliance.policy.routing import Route
from appliance.policy.tasks import task_of
from appliance.units import now_us

# What an answer is reckoned to come to in the line, where the request does not say.
_ANSWER_TOKENS: Final = 256
_PRIORITIES: Final = {one.value: one for one in Priority}
_ORDER: Final = tuple(Priority)


@dataclass(slots=True)
class Visit:
    """One request. `began` by the monotonic clock; `waited_s` is how long it waited for its turn.

    `begun` is whether the head of a stream went out, so that errors are events of it.
    """

    endpoint: Endpoint
    box: Box
    request: Request
    principal: Principal
    wanted: EngineRequest
    route: Route
    began: float
    priority: Priority
    task: str | None
    waited_s: float = 0.0
    begun: bool = False
    tried: list[str] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """What it is reckoned to come to, for the line."""
        asked = 0 if self.endpoint.role else self.wanted.fields.get("max_tokens") or _ANSWER_TOKENS
        return estimate_tokens(self.wanted.prompt_bytes) + int(asked)

    async def begin(self, send: Send) -> None:
        """Send the head of the stream."""
        self.begun = True
        await start(send, self.request, 200, SSE, UNBUFFERED)
        # Words about the line are no answer yet.
        self.request.answering = False

    def price(self, engine: Engine) -> Price:
        """What its tokens cost. Raises cloud-no-price: what is unknown cannot be capped."""
        now, batch = now_us(), self.priority is Priority.BATCH
        if engine.provider:
            own = self.box.prices.own(engine.model, now, batch=batch)
            if own is None:
                raise without_price(engine)
            return own
        return self.box.prices.at(engine.model, engine.role, now, batch=batch)

    def permit(self, engine: Engine) -> Permit | None:
        """The word that it may leave this box; None where it stays. Raises cloud-off or cloud-not-allowed."""
        if not engine.provider:
            return None
        headers, asked = self.request.scope["headers"], self.wanted.fields.get("max_tokens")
        return self.box.cloud.permit(self.principal, headers, engine, asked)

    def hold(self, engine: Engine, permit: Permit | None, price: Price) -> Hold:
        """Hold what it may use at most in all budgets. Raises budget-exhausted, budget-too-small or rate-limited."""
        if permit is not None:
            prompt = most_prompt(engine, self.wanted.prompt_bytes) * BYTES_A_TOKEN
            return self.box.books.hold(self.principal, engine.model, prompt, permit.max_tokens, price, engine.context)
        answer = 0 if self.endpoint.role else self.wanted.fields.get("max_tokens")
        return self.box.books.hold(
            self.principal, engine.model, self.wanted.prompt_bytes, answer, price, engine.context
        )


def make(
    endpoint: Endpoint, box: Box, request: Request, principal: Principal, wanted: EngineRequest, route: Route
) -> Visit:
    """A visit. Headers may lower its priority, never raise it: a background task says so itself."""
    priority, task = _PRIORITIES[principal.priority], None
    for name, value in request.scope["headers"]:
        if name == b"x-appliance-task":
            task = task_of(value.decode("latin-1"), by_chat_page=principal.by_chat_page) or task
            if task is not None:
                priority = _lower(priority, Priority.BACKGROUND)
        elif name == b"x-appliance-priority":
            said = _PRIORITIES.get(value.decode("latin-1"))
            if said is not None:
                priority = _lower(priority, said)
    return Visit(endpoint, box, request, principal, wanted, route, time.monotonic(), priority, task)


def _lower(one: Priority, other: Priority) -> Priority:
    return max(one, other, key=_ORDER.index)
