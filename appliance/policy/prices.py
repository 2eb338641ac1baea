"""What tokens cost: whole numbers throughout, by model and day, and no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from appliance.terms import PriceRow

_MILLION: Final = 1_000_000
_DAY_US: Final = 86_400 * _MILLION
_FIRST_DAY: Final = date(1970, 1, 1).toordinal()
# Nobody serves that many models; whoever names that many gets no memory for it.
_MOST_KNOWN: Final = 1_000


@dataclass(frozen=True, slots=True)
class Price:
    """Micro-units of the currency for a million tokens of prompt, of prompt that was cached, and of answer."""

    input: int
    cached: int
    output: int

    def cost(self, prompt: int, cached: int, completion: int) -> int:
        """Micro-units for these tokens, rounded up to a whole one; `cached` of the `prompt` tokens were cached.

        More cached tokens than prompt, which an engine behind a URL may claim, count as all of the prompt.
        """
        cached = min(cached, prompt)
        parts = (prompt - cached) * self.input + cached * self.cached + completion * self.output
        return -(-parts // _MILLION)

    def share(self, millionths: int) -> Price:
        """A part of this price, rounded up to whole micro-units."""
        return Price(*(-(-one * millionths // _MILLION) for one in (self.input, self.cached, self.output)))


FREE: Final = Price(0, 0, 0)


class PriceTable:
    """Prices by model and day. A price that was looked up is kept for the rest of its day."""

    def __init__(self, rows: Iterable[PriceRow]) -> None:
        # By model, the latest day first; the day is counted from 1970.
        self._rows: dict[str, list[tuple[int, Price, Price]]] = {}
        for row in sorted(rows, key=lambda one: one.since, reverse=True):
            price = Price(row.input, row.cached, row.output)
            day = date.fromisoformat(row.since).toordinal() - _FIRST_DAY
            self._rows.setdefault(row.model, []).append((day, price, price.share(row.batch_share)))
        self._day = -1
        self._known: dict[tuple[str, str, bool], Price] = {}

    def at(self, model: str, role: str, instant_us: int, *, batch: bool = False) -> Price:
        """The price of a model, by its id, else by its role, else by `*`, at an instant; `FREE` where no row holds."""
        day = instant_us // _DAY_US
        if day != self._day or len(self._known) > _MOST_KNOWN:
            self._known.clear()
            self._day = day
        key = (model, role, batch)
        price = self._known.get(key)
        if price is None:
            price = self._known[key] = self._find(model, role, day, batch)
        return price

    def own(self, model: str, instant_us: int, *, batch: bool = False) -> Price | None:
        """The price that a model has by its own id at an instant; None where no row of its own holds."""
        day = instant_us // _DAY_US
        rows = self._rows.get(model, ())
        return next((batch_price if batch else price for since, price, batch_price in rows if since <= day), None)

    def _find(self, model: str, role: str, day: int, batch: bool) -> Price:
        for name in (model, role, "*"):
            for since, price, batch_price in self._rows.get(name, ()):
                if since <= day:
                    return batch_price if batch else price
        return FREE
