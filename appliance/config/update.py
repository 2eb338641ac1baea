"""The settings of updates: where releases come from, and whose signatures they must have."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from appliance.config.section import Section

_Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class UpdateSettings(Section):
    """Updates of the appliance itself: `appliance update`."""

    source: str | None = Field(
        None,
        alias="from",
        pattern=r"^(/|https://).+$",
        description="Where releases come from: a folder, or an address that begins with `https://`.",
    )
    keys: list[_Key] = Field(
        default_factory=list,
        description="The public keys of those who sign releases, as `appliance update new-key` shows them.",
    )
    signatures: int = Field(2, ge=2, le=9, description="How many of these keys must have signed a release.")
