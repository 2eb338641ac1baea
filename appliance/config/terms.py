"""The settings of routing and prices. They are not read again while the gateway serves."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Final, TypeVar

from pydantic import BeforeValidator, Field

from appliance.config.section import Section
from appliance.terms import PriceRow, RoutingTerms

_TERMS: Final = RoutingTerms()
_AMOUNT: Final = re.compile(r"^\d{1,6}(\.\d{1,6})?$", re.ASCII)
_WHOLE: Final = 1_000_000


def _amount(value: object) -> int:
    # A TOML number with a point is a binary fraction, and 0.1 is none.
    if not isinstance(value, str) or not _AMOUNT.match(value):
        raise ValueError('it must be text such as "0.15", with at most six digits before and after the point')
    whole, _, part = value.partition(".")
    return int(whole) * _WHOLE + int(part.ljust(6, "0"))


def _share(value: object) -> int:
    share = _amount(value)
    if share > _WHOLE:
        raise ValueError('it must be text from "0" to "1"')
    return share


def _day(value: object) -> date:
    if type(value) is not date:
        raise ValueError("it must be a day such as 2026-01-31, without quotation marks")
    return value


# Held in millionths: of the currency, and of the whole.
Amount = Annotated[int, BeforeValidator(_amount), Field(ge=0, le=10**12 - 1)]
Share = Annotated[int, BeforeValidator(_share), Field(ge=0, le=_WHOLE)]
Day = Annotated[date, BeforeValidator(_day)]
Word = Annotated[str, Field(pattern=r"^\S+$", max_length=40)]


class RoutingSettings(Section):
    """How `auto` chooses between the small and the large model. Lengths are in characters."""

    short_characters: int = Field(
        _TERMS.short_characters, ge=0, le=10_000,
        description="A last message of at most so many goes to the small model, whatever it says.",
    )  # fmt: skip
    small_characters: int = Field(
        _TERMS.small_characters, ge=0, le=1_000_000,
        description="The longest last message that goes to the small model for its first words.",
    )  # fmt: skip
    small_words: list[Word] = Field(
        list(_TERMS.small_words), max_length=500,
        description="Words that name a small task, in any language.",
    )  # fmt: skip
    small_words_within: int = Field(
        _TERMS.small_words_within, ge=0, le=10,
        description="How many of the last message's first words are looked at for one of them.",
    )  # fmt: skip
    small_turns: int = Field(
        _TERMS.small_turns, ge=1, le=1_000,
        description="User messages in the longest conversation that goes to the small model.",
    )  # fmt: skip
    small_conversation: int = Field(
        _TERMS.small_conversation, ge=0, le=10_000_000,
        description="The longest conversation that goes to the small model, system message and all.",
    )  # fmt: skip
    small_answer_tokens: int = Field(
        _TERMS.small_answer_tokens, ge=1, le=1_048_576,
        description="The most tokens that a request for the small model may ask for.",
    )  # fmt: skip
    code_to_large: bool = Field(_TERMS.code_to_large, description="Whether code goes to the large model.")
    tools_to_large: bool = Field(_TERMS.tools_to_large, description="Whether requests with tools go there.")
    schema_to_large: bool = Field(_TERMS.schema_to_large, description="Whether requests for JSON go there.")
    reasoning_to_large: bool = Field(
        _TERMS.reasoning_to_large, description="Whether requests for medium or high reasoning effort go there."
    )
    shadow: bool = Field(
        _TERMS.shadow, description="Only note what the rule would do; the large model answers everything."
    )
    fallback: bool = Field(
        _TERMS.fallback, description="Whether another model answers when the one of the role cannot."
    )

    def terms(self) -> RoutingTerms:
        """These settings as the request path gets them."""
        return RoutingTerms(**{**self.model_dump(), "small_words": tuple(self.small_words)})


class PriceSettings(Section):
    """What a million tokens cost from a day on, in your currency. Each `[[prices]]` is one price of one model."""

    model: str = Field("*", min_length=1, description="Model id, role such as `chat`, or `*` for every other model.")
    since: Day = Field(date(1970, 1, 1), alias="from", description="First day of this price, in UTC.")
    input: Amount = Field(0, description="Prompt.")
    cached: Amount | None = Field(None, description="Prompt that the model had read before; none is as `input`.")
    output: Amount = Field(0, description="Answer.")
    batch_share: Share = Field(_WHOLE, description='Part of the price that batches pay; `"0.5"` is half of it.')

    def row(self) -> PriceRow:
        """This price as the request path gets it."""
        cached = self.input if self.cached is None else self.cached
        return PriceRow(self.model, self.since.isoformat(), self.input, cached, self.output, self.batch_share)


class ReferencePriceSettings(PriceSettings):
    """What the same tokens would have cost elsewhere, for the cost that was avoided. None of them: nothing was."""


Row = TypeVar("Row", bound=PriceSettings)


def no_two(rows: list[Row]) -> list[Row]:
    """Refuse two prices of one model from one day on."""
    seen = set()
    for row in rows:
        key = (row.model, row.since)
        if key in seen:
            raise ValueError(f"'{row.model}' has two prices from {row.since} on")
        seen.add(key)
    return rows
