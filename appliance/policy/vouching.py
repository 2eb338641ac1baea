"""How long somebody stays signed in on another source's word (pure).

That word is of the moment in which it was given: whoever has left the company since is still signed in here. So it
ages, and is asked for anew. A source that does not answer says nothing about anybody: its people have some more time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from appliance.policy.directory import SOURCE

_HOUR_US: Final = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Ages:
    """For how many hours a provider's word holds, and how many more while a source does not answer."""

    provider_hours: int = 12
    grace_hours: int = 24

    def ends_at(self, source: str, seen_at: int, *, answers: bool) -> int:
        """Until when somebody may go on whom a source last vouched for at `seen_at`; both in µs since 1970.

        The directory is asked again and again, so what it says is only old once it does not answer.
        """
        grace = self.grace_hours * _HOUR_US
        if source == SOURCE:
            return seen_at + grace
        return seen_at + self.provider_hours * _HOUR_US + (0 if answers else grace)
