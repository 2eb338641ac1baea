"""The settings of how long details are kept."""

from __future__ import annotations

from pydantic import Field

from appliance.config.section import Section


class RetentionSettings(Section):
    """How long details are kept; sums stay for good."""

    calls_days: int = Field(
        400,
        ge=62,
        le=36_500,
        description="Days for which the ledger has each call by itself. Older ones are put together by day, and lose "
        "their time and request id; no token and no cost is lost. `appliance doctor --fix` does it.",
    )
