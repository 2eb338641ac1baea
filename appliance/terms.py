"""The terms on which the box serves: how `auto` chooses, and what tokens cost. Values only, part of the hand-over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# What names a small task and hardly anything else, in the two languages that `bench.routing` has prompts in.
_ENGLISH: Final = (
    "translate translation spelling typo typos grammar rephrase reword shorten polite title subject headline synonym "
    "plural classify extract alphabetically"
)
_GERMAN: Final = (
    "übersetze übersetzen übersetzung rechtschreibung tippfehler grammatik korrigiere korrigieren umformulieren kürze "
    "höflicher freundlicher titel überschrift betreff sortiere klassifiziere ordne"
)


@dataclass(frozen=True, slots=True)
class RoutingTerms:
    """How `auto` chooses between the small and the large model; the settings of `[routing]` say what each means."""

    short_characters: int = 12
    small_characters: int = 240
    small_conversation: int = 4_000
    small_turns: int = 3
    small_answer_tokens: int = 4_096
    code_to_large: bool = True
    tools_to_large: bool = True
    schema_to_large: bool = True
    reasoning_to_large: bool = True
    small_words: tuple[str, ...] = (*_ENGLISH.split(), *_GERMAN.split())
    small_words_within: int = 4
    shadow: bool = False
    fallback: bool = True


@dataclass(frozen=True, slots=True)
class PriceRow:
    """What a model costs from a day on: micro-units of the currency for a million tokens.

    `model` is a catalogue id, a role such as `chat`, or `*` for every model without a row of its own. `since` is that
    day in UTC, as `2026-01-31`. `batch_share` is the part of the price that batches pay, in millionths.
    """

    model: str
    since: str
    input: int
    cached: int
    output: int
    batch_share: int = 1_000_000
