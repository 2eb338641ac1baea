"""Where the parts of the request path are put together: the only module that names them all."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn

from appliance.accounts.books import Bookkeeper, cloud_of
from appliance.accounts.resolve import Credentials
from appliance.audit.actions import Action
from appliance.audit.log import note
from appliance.audit.writer import AuditWriter
from appliance.cloud.gate import CloudGate
from appliance.config.paths import Home
from appliance.config.version import VERSION
from appliance.deployment import Service
from appliance.errors import ApplianceError
from appliance.gateway.app import Application, BoxFactory
from appliance.gateway.batch_runner import working
from appliance.gateway.batches import Batches
from appliance.gateway.box import Box
from appliance.gateway.doorkeeper import Doorkeeper
from appliance.gateway.energy import EnergyMeter, metering
from appliance.gateway.files import Files
from appliance.gateway.limits import UnderWay
from appliance.gateway.metrics import BudgetUse, Gauges, Metrics
from appliance.gateway.metrics_route import MetricsPage
from appliance.gateway.reload import reloading
from appliance.gateway.sampler import Sampler
from appliance.gateway.switchboard import Switchboard
from appliance.gateway.watch import Watchman
from appliance.hardware.power import MachineReader
from appliance.http.asgi import Request
from appliance.http.listen import BACKLOG, listeners
from appliance.ledger.writer import LedgerWriter
from appliance.policy.fair import Priority
from appliance.policy.grants import permit
from appliance.policy.prices import PriceTable
from appliance.policy.windows import Crossing
from appliance.store import schema
from appliance.store.locks import Lock

# Seconds that answers under way get to finish when the gateway is told to end.
_GRACE_S = 5


def serve(service: Service) -> None:
    """Run the request path until a signal ends it.

    Raises already-serving, port-taken, state-read-only or a database error before
    the first request is taken.
    """
    home = Home(config=Path(service.config), state=Path(service.state))
    home.prepare()
    lock = Lock(home.run / "serve.lock")
    if not lock.acquire():
        raise ApplianceError(
            "already-serving",
            f"Another gateway works on {home.state}.",
            "Stop it with `appliance down`, or use another --state.",
        )
    sockets = listeners(service.host, service.port, "gateway.port", service.socket)
    schema.ensure(home.database)

    @asynccontextmanager
    async def open_box() -> AsyncIterator[Box]:
        async with AsyncExitStack() as parts:
            box = make_box(home, service, parts)
            await box.audit.write(Action.STARTED, "gateway", VERSION, version=VERSION, serial=service.deployment.serial)
            # What start-up made lives for ever: garbage collection need not walk it again and again.
            gc.collect()
            gc.freeze()
            try:
                with reloading(home.deployment, service.remote, box.switchboard, box.audit):
                    async with working(box, service.batch_lines):
                        yield box
            finally:
                with suppress(ApplianceError):
                    await box.audit.write(Action.STOPPED, "gateway", VERSION)

    _server(open_box).run(sockets=sockets)


def make_box(home: Home, service: Service, parts: AsyncExitStack) -> Box:
    """The parts of the request path; `parts` closes what is to be closed, the last one made first.

    Raises database errors, config-bad-value and budgets-unreadable.
    """
    ledger = LedgerWriter(home.database)
    parts.callback(ledger.close)
    credentials = Credentials(home.database, service.issuer, home.public_keys, home.chat_secrets)
    parts.callback(credentials.close)
    audit = AuditWriter(home)
    parts.push_async_callback(audit.close)
    cloud = cloud_of(service.remote, service.cloud)
    books = Bookkeeper(home.database, ledger.flush, _warn, service.answer_tokens, service.currency, cloud=cloud)
    parts.callback(books.close)
    switchboard = Switchboard(
        service.deployment, service.engine_wait_s, service.cloud, service.routing, service.headroom_s
    )
    parts.callback(switchboard.close)
    counted = Metrics(_gauges(switchboard, ledger, books))
    energy, sampler = EnergyMeter(), Sampler(MachineReader().read)
    parts.callback(sampler.close)
    doorkeeper = Doorkeeper(credentials)
    _meanwhile(parts, metering(energy, sampler), doorkeeper.keep())

    def admit(request: Request) -> None:
        permit(credentials.resolve(request.credential(), request.peer), "metrics", ())

    return Box(
        credentials=credentials,
        doorkeeper=doorkeeper,
        switchboard=switchboard,
        ledger=ledger,
        under_way=UnderWay(service.requests_at_once),
        watchman=Watchman(),
        books=books,
        audit=audit,
        cloud=CloudGate(service.cloud),
        prices=PriceTable(service.prices),
        reference=PriceTable(service.reference_prices),
        metrics=counted,
        metrics_page=MetricsPage(counted, switchboard, sampler, admit),
        energy=energy,
        files=Files(home.files, service.max_file),
        batches=Batches(home.files),
        max_body=service.max_body,
        queue_s=service.queue_s,
        doors=home.maintenance,
    )


def _meanwhile(parts: AsyncExitStack, *works: Coroutine[Any, Any, None]) -> None:
    """Do all of this beside what is asked for, until `parts` are closed."""
    for work in works:
        parts.callback(asyncio.get_running_loop().create_task(work).cancel)


def _gauges(switchboard: Switchboard, ledger: LedgerWriter, books: Bookkeeper) -> Gauges:
    """What the metrics ask of others at the moment when they are read."""
    return Gauges(
        under_way=lambda: {role: client.busy for role, client in switchboard.now.clients.items()},
        waiting=lambda: _waiting(switchboard),
        owed=lambda: ledger.owed,
        budgets=lambda: _used(books),
    )


def _waiting(switchboard: Switchboard) -> dict[str, int]:
    """How many requests wait for their turn at any engine, by priority."""
    found = Counter({priority.value: 0 for priority in Priority})
    for _, queue in switchboard.queues():
        found.update(queue.waiting_by_priority)
    return dict(found)


def _used(books: Bookkeeper) -> list[BudgetUse]:
    """How much of each budget is used; whose it is stays out."""
    return [
        BudgetUse(one.budget.kind, one.budget.unit, one.budget.period, one.used, one.budget.amount)
        for one in books.books.current()
    ]


def _warn(crossing: Crossing) -> None:
    """A budget is nearly or wholly used: one line in the log."""
    budget = crossing.budget
    note(
        "budget-warning",
        "",
        kind=budget.kind,
        name=crossing.name,
        unit=budget.unit,
        period=budget.period,
        percent=crossing.percent,
        used=crossing.used,
        amount=budget.amount,
    )


def _server(open_box: BoxFactory) -> uvicorn.Server:
    """The HTTP server around the gateway."""
    return uvicorn.Server(
        uvicorn.Config(
            Application(open_box),
            http="httptools",
            loop="uvloop",
            ws="none",
            lifespan="on",
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_GRACE_S,
            backlog=BACKLOG,
        )
    )
