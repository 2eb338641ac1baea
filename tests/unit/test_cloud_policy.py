"""What may leave the box: the whole truth table, and what a call can cost at most."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.deployment import CloudTerms, Engine
from appliance.policy.cloud import DataClass, answer_limit, data_class, may_send, most_prompt, without_price
from appliance.policy.principals import Principal

TERMS = CloudTerms(teams=("dev",), local_only=(), monthly_cap=10**8, silence_s=60, switch="/off")
ANNA = Principal("anna", "key-1", team="dev")
FAR = Engine("cloud:far", "far", ("far",), "x", url="https://x/v1", provider="p", max_output=1000, context=10_000)


def test_only_a_request_that_everything_allows_is_sent() -> None:
    """Enabled, not switched off, no local data, nobody kept here, and consent: each alone stops it."""
    sent = []
    for enabled, off, data, kept, consent in product(
        (True, False), (False, True), DataClass, ("", "team:dev", "user:anna", "key:key-1"), ("dev", "*", "other", "")
    ):
        terms = replace(TERMS, teams=tuple(filter(None, [consent])), local_only=tuple(filter(None, [kept])))
        refusal = may_send(terms if enabled else None, ANNA, data, off)
        if refusal is None:
            sent.append((enabled, off, data, kept, consent))
        else:
            assert refusal.kind.http == 403
            assert refusal.code == ("cloud-off" if off or not enabled else "cloud-not-allowed")
    assert sent == [(True, False, DataClass.ANY, "", "dev"), (True, False, DataClass.ANY, "", "*")]


def test_each_refusal_has_a_sentence_of_its_own() -> None:
    kept = [replace(TERMS, local_only=(name,)) for name in ("team:dev", "user:anna", "key:key-1")]
    refusals = [
        may_send(None, ANNA, DataClass.ANY, False),
        may_send(TERMS, ANNA, DataClass.ANY, True),
        may_send(TERMS, ANNA, DataClass.LOCAL_ONLY, False),
        *(may_send(terms, ANNA, DataClass.ANY, False) for terms in kept),
        may_send(replace(TERMS, teams=("hr",)), ANNA, DataClass.ANY, False),
        may_send(TERMS, replace(ANNA, team=""), DataClass.ANY, False),
    ]
    assert all(refusals)
    assert len({refusal.sentence for refusal in refusals if refusal}) == len(refusals)


def test_an_empty_name_among_the_teams_is_no_consent_for_those_without_a_team() -> None:
    assert may_send(replace(TERMS, teams=("",)), replace(ANNA, team=""), DataClass.ANY, False) is not None


def test_who_is_kept_here_is_kept_however_the_name_is_written() -> None:
    assert may_send(replace(TERMS, local_only=("TEAM:Dev",)), ANNA, DataClass.ANY, False) is not None
    assert may_send(replace(TERMS, teams=("Dev",)), ANNA, DataClass.ANY, False) is not None, "consent is to the letter"


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], "any"),
        (["any"], "any"),
        ([" ANY "], "any"),
        ([""], "any"),
        (["local-only"], "local-only"),
        (["Local-Only"], "local-only"),
        (["local_only"], "local-only"),
        (["public"], "local-only"),
        (["any", "local-only"], "local-only"),
        (["any, local-only"], "local-only"),
    ],
)
def test_a_word_that_nobody_knows_keeps_the_data_here(values: list[str], found: str) -> None:
    assert data_class(values) == found


def test_an_answer_has_at_most_the_tokens_of_the_setting() -> None:
    assert [answer_limit(FAR, asked) for asked in (None, 10, 1000, 99_999)] == [1000, 10, 1000, 1000]


@given(st.text(max_size=300), st.integers(1, 3))
def test_no_prompt_has_more_tokens_than_are_held_for_it(words: str, bytes_a_token: int) -> None:
    """At most a token for each byte, and at most the model's context."""
    size = len(words.encode())
    assert size // bytes_a_token <= most_prompt(FAR, size) <= 10_000
    assert most_prompt(FAR, 10**9) == 10_000
    assert most_prompt(replace(FAR, context=None), 10**9) > 10**9


def test_a_model_without_a_price_for_today_is_refused() -> None:
    error = without_price(FAR)
    assert (error.code, error.kind.http) == ("cloud-no-price", 403)
    assert "'far'" in error.sentence
