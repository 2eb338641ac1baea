"""Amounts of money as people write them, and the whole micro-units that are kept."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

_MICRO: Final = 1_000_000
# Far beyond any budget, and the sum of many such still fits the database.
_MOST: Final = 10**15


def parse(text: str) -> int:
    """Micro-units of an amount such as `12.50`. Raises ValueError, with the reason, for anything else."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"'{text}' is no amount such as 12.50") from None
    if not amount.is_finite() or not 0 <= amount <= _MOST // _MICRO:
        raise ValueError(f"an amount is between 0 and {_MOST // _MICRO:,}")
    whole = amount * _MICRO
    if whole != int(whole):
        raise ValueError("an amount has at most six digits after the point")
    return int(whole)


def show(micro: int, currency: str) -> str:
    """An amount with its currency, two digits after the point or as many as it needs: `12.50 EUR`, `0.0031 EUR`."""
    sign = "-" if micro < 0 else ""
    units, rest = divmod(abs(micro), _MICRO)
    digits = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{units:,}.{digits} {currency}"
