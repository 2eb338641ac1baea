"""The books of the request path: the budgets in the database, and what the ledger says is used of them.

Written against the driver, like `accounts.resolve`. Budgets are read again when a command has written the database,
so a change holds from the next request on. The ledger is summed at the start, and for what has a budget anew; from
then on the books are kept in memory. Nothing is let through that could not be checked.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.deployment import CloudTerms, Engine
from appliance.errors import ApplianceError
from appliance.ledger.sums import sums
from appliance.policy.budgets import Books, Hold, Tell
from appliance.policy.periods import PERIODS
from appliance.policy.prices import FREE, Price
from appliance.policy.principals import Principal
from appliance.policy.windows import CLOUD, KINDS, UNITS, Budget, Sum
from appliance.store.generation import Generation
from appliance.store.schema import connect
from appliance.units import now_us

BUDGETS_SQL = "SELECT kind, subject, unit, period, amount FROM budget"
# Whoever writes the database without our commands is noticed after this many seconds.
_KEEP_S = 1.0
# Clocks are put right by fractions of a second; if one goes back further, the windows are looked up anew.
_PUT_BACK_US = 60_000_000
# Fewer bytes of a request make no token in nearly any text.
BYTES_A_TOKEN = 3


@dataclass(frozen=True, slots=True)
class Cloud:
    """The models of the cloud, and the cap on what they may cost together; no cap where there are none."""

    models: frozenset[str] = frozenset()
    cap: tuple[Budget, ...] = ()


def cloud_of(engines: tuple[Engine, ...], terms: CloudTerms | None) -> Cloud:
    """What the books need to know of the cloud."""
    models = frozenset(engine.model for engine in engines if engine.provider)
    if terms is None or not models:
        return Cloud(models)
    return Cloud(models, (Budget(CLOUD, CLOUD, "money", "month", terms.monthly_cap),))


class Bookkeeper:
    """Keeps the books of one database."""

    def __init__(
        self,
        path: Path,
        flush: Callable[[], None],
        tell: Tell,
        answer_tokens: int = 4096,
        currency: str = "EUR",
        clock: Callable[[], int] = now_us,
        cloud: Cloud = Cloud(),
    ) -> None:
        """Read the budgets and sum the ledger. `flush` writes what the ledger still has to write.

        Raises budgets-unreadable.
        """
        self._connection = connect(path)
        self._connection.execute("PRAGMA query_only = ON")
        self._generation = Generation(path)
        self._flush = flush
        self._clock = clock
        self.books = Books(answer_tokens, currency, tell, cloud.models)
        self._cap = cloud.cap
        self._budgets: tuple[Budget, ...] = ()
        self._seen = b""
        self._until = 0.0
        self._look(clock())

    def hold(
        self,
        who: Principal,
        model: str,
        prompt_bytes: int,
        max_tokens: int | None,
        price: Price = FREE,
        context: int | None = None,
    ) -> Hold:
        """Hold what a call may use at most.

        Raises budget-exhausted, budget-too-small, rate-limited or budgets-unreadable.

        `max_tokens` is the request's own cap, None without one, 0 where nothing is written; `context` is the
        model's, in tokens.
        """
        now = self._clock()
        if (
            self._generation.now() != self._seen
            or time.monotonic() > self._until
            or now < self.books.last - _PUT_BACK_US
        ):
            self._look(now)
        return self.books.hold(who, model, -(-prompt_bytes // BYTES_A_TOKEN), max_tokens, price, now, context)

    def _look(self, now: int) -> None:
        """Read the budgets again. What was read before does not count unless this ends well."""
        self._until = 0.0
        # The mark first: what is read after it is at least as new.
        seen, until = self._generation.now(), time.monotonic() + _KEEP_S
        if now < self.books.last - _PUT_BACK_US:
            self._budgets = ()
            self.books.forget(now)
        try:
            rows = self._connection.execute(BUDGETS_SQL)
            found = (*self._cap, *(_checked(Budget(*row)) for row in rows))
            if found != self._budgets:
                self._load(found, now)
        except (sqlite3.Error, ValueError) as error:
            raise ApplianceError(
                "budgets-unreadable",
                f"The budgets cannot be read: {error}.",
                "See `appliance budgets list`, and look at `appliance logs serve`.",
                retry_after_s=30,
            ) from error
        self._seen, self._until = seen, until

    def _load(self, budgets: tuple[Budget, ...], now: int) -> None:
        spans = self.books.unknown(budgets, now)
        if spans:
            self._flush()
        found = {
            (kind, period): {name: Sum(*row) for name, row in sums(self._connection, kind, *span).items()}
            for (kind, period), span in spans.items()
        }
        self.books.load(budgets, spans, found, now)
        self._budgets = budgets

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()
        self._generation.close()


def _checked(budget: Budget) -> Budget:
    """A budget that makes sense. Raises ValueError: one that is not understood must not be passed over."""
    timed = budget.unit != "at_once"
    if (
        budget.kind not in KINDS
        or budget.unit not in UNITS
        or (budget.period not in PERIODS if timed else budget.period != "")
        or type(budget.amount) is not int
        or budget.amount < 0
    ):
        raise ValueError(f"{budget} is not understood")
    return budget
