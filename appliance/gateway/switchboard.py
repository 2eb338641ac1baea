"""What is served at this moment, and how one deployment follows another while requests are answered.

A request keeps the engine and the client that it was routed to, whatever is served later. So an
engine that is no longer served may be ended once no request is on it: `leaving` is then 0.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from appliance.cloud.client import CloudClient
from appliance.deployment import CloudTerms, Deployment, Engine
from appliance.engine.client import EngineClient
from appliance.errors import ApplianceError
from appliance.gateway.queue import Queue
from appliance.policy.fair import FairScheduler
from appliance.policy.routing import SEARCH_ROLES, Router, Rules
from appliance.terms import RoutingTerms

Target = tuple[Engine, EngineClient]
# An engine that others run has slots that nobody told us of, and a line of its own.
_SLOTS_ELSEWHERE: Final = 1024


@dataclass(frozen=True, slots=True)
class Served:
    """What is served, as one value. `clients` is by the engine's role, in the order of the engines.

    `cloud` are the public names of models that others run, `elsewhere` those of models that cannot converse.
    """

    deployment: Deployment
    clients: dict[str, EngineClient]
    router: Router
    cloud: tuple[str, ...] = ()
    elsewhere: frozenset[str] = frozenset()

    def route(self, name: str) -> Target:
        """The engine that serves a public name, and the client to ask it with. Raises model-not-found."""
        engine = self.deployment.find(name)
        if engine is None:
            known = ", ".join(sorted({name for engine in self.deployment.engines for name in engine.names}))
            raise ApplianceError(
                "model-not-found", f"There is no model '{name}' here.", f"Served are: {known}.", param="model"
            )
        return engine, self.clients[engine.role]

    def targets(self) -> list[Target]:
        """Every engine with its client."""
        return [(engine, self.clients[engine.role]) for engine in self.deployment.engines]


class Switchboard:
    """Holds what is served `now`, and exchanges it. Use it on one event loop."""

    def __init__(
        self,
        deployment: Deployment,
        wait_s: float,
        cloud: CloudTerms | None = None,
        routing: RoutingTerms = RoutingTerms(),  # noqa: B008 - a frozen value
        headroom_s: float = 20.0,
    ) -> None:
        """Raises config-bad-value."""
        self._wait_s = wait_s
        self._cloud = cloud
        self._rules = Rules(routing)
        self._headroom_s = headroom_s
        self._queues: dict[EngineClient, Queue] = {}
        self._leaving: list[EngineClient] = []
        self._changed = asyncio.Event()
        self.now = self._served(deployment, [])

    @property
    def leaving(self) -> int:
        """How many requests are on engines that are no longer served."""
        return sum(client.busy for client in self._leaving)

    def take(self, deployment: Deployment) -> None:
        """Serve this from now on. Raises config-bad-value, and then nothing has changed.

        An engine that stays keeps its connections and its count, and so does one that comes back
        while requests are still on it.
        """
        old = [*self.now.clients.values(), *self._leaving]
        self.now = self._served(deployment, old)
        stay = list(self.now.clients.values())
        for client in stay:
            client.reopen()
        gone = [client for client in old if client not in stay]
        for client in gone:
            client.close()
        self._leaving = [client for client in gone if client.busy]
        for client in gone:
            if not client.busy:
                self._queues.pop(client, None)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def serves(self, name: str, client: EngineClient) -> bool:
        """Whether a name is still served by this engine, and it is not held."""
        engine = self.now.deployment.find(name)
        return engine is not None and not engine.held and self.now.clients[engine.role] is client

    def queue(self, client: EngineClient) -> Queue:
        """The line in front of an engine."""
        found = self._queues.get(client)
        if found is None:
            slots = client.engine.slots or _SLOTS_ELSEWHERE
            found = self._queues[client] = Queue(FairScheduler(slots, headroom_s=self._headroom_s))
        return found

    def queues(self) -> list[tuple[Engine, Queue]]:
        """The engines that are served now, each with its line."""
        return [(engine, self.queue(client)) for engine, client in self.now.targets()]

    async def change(self) -> None:
        """Return once another deployment is served."""
        await self._changed.wait()

    def close(self) -> None:
        """Close all connections that wait."""
        for client in self.now.clients.values():
            client.close()

    def _served(self, deployment: Deployment, old: list[EngineClient]) -> Served:
        far = tuple(name for engine in deployment.engines if engine.provider for name in engine.names)
        clients, router = self._clients(deployment, old), Router(self._rules, deployment)
        other = frozenset(name for one in deployment.engines if one.role in SEARCH_ROLES for name in one.names)
        return Served(deployment, clients, router, far, other)

    def _clients(self, deployment: Deployment, old: list[EngineClient]) -> dict[str, EngineClient]:
        return {engine.role: self._client(engine, old) for engine in deployment.engines}

    def _client(self, engine: Engine, old: list[EngineClient]) -> EngineClient:
        known = next((client for client in old if client.engine.is_same(engine)), None)
        if known is not None:
            return known
        if engine.provider:
            return CloudClient(engine, self._cloud)
        # Whether it is held may change while the client stays, and is no business of a client.
        return EngineClient(replace(engine, held=False), self._wait_s)
