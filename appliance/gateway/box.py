"""What the seven steps work with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.accounts.books import Bookkeeper
from appliance.accounts.resolve import Credentials
from appliance.audit.writer import AuditWriter
from appliance.cloud.gate import CloudGate
from appliance.gateway.batches import Batches
from appliance.gateway.doorkeeper import Doorkeeper
from appliance.gateway.energy import EnergyMeter
from appliance.gateway.files import Files
from appliance.gateway.limits import UnderWay
from appliance.gateway.metrics import Metrics
from appliance.gateway.metrics_route import MetricsPage
from appliance.gateway.switchboard import Switchboard
from appliance.gateway.watch import Watchman
from appliance.ledger.writer import LedgerWriter
from appliance.policy.prices import PriceTable


@dataclass(frozen=True, slots=True)
class Box:
    """The parts of the request path, put together in `wiring`.

    `max_body` in bytes, `queue_s` how many seconds a request waits for its turn at most. `reference` are the prices
    that the same tokens would have had elsewhere. While the file `doors` is there, an update is under way.
    """

    credentials: Credentials
    doorkeeper: Doorkeeper
    switchboard: Switchboard
    ledger: LedgerWriter
    under_way: UnderWay
    watchman: Watchman
    books: Bookkeeper
    audit: AuditWriter
    cloud: CloudGate
    prices: PriceTable
    reference: PriceTable
    metrics: Metrics
    metrics_page: MetricsPage
    energy: EnergyMeter
    files: Files
    batches: Batches
    max_body: int
    queue_s: float = 600.0
    doors: Path | None = None
