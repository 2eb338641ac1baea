"""What tokens cost: whole micro-units, exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Micro-units of money per million tokens: read, read from a cache, and written."""

    input: int
    cached: int
    output: int

    def cost(self, prompt: int, cached: int, completion: int) -> int:
        """Micro-units for so many tokens, rounded up; `cached` are those of the prompt that came from a cache."""
        cached = min(cached, prompt)
        whole = (prompt - cached) * self.input + cached * self.cached + completion * self.output
        return -(-whole // _MILLION)


FREE: Final = Price(0, 0, 0)
