"""What a principal may use: scopes of endpoints and models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ApplianceError
from appliance.policy.grants import may_use, permit
from appliance.policy.principals import Principal
from appliance.policy.terms import ENDPOINTS

NAMES = st.sampled_from(["chat", "embed", "fake", "small", "gpt-x"])
SCOPES = st.frozensets(NAMES)


def of(models: frozenset[str] = frozenset(), endpoints: frozenset[str] = frozenset()) -> Principal:
    """A principal with these scopes."""
    return Principal("anna", "key-1", models=models, endpoints=endpoints)


def refused(principal: Principal, endpoint: str, names: tuple[str, ...]) -> str | None:
    """The code of the refusal; None when it is permitted."""
    try:
        permit(principal, endpoint, names)
    except ApplianceError as error:
        assert (error.kind.http, error.kind.type) == (403, "permission_error")
        return error.code
    return None


@given(SCOPES, st.frozensets(st.sampled_from(ENDPOINTS)), st.sampled_from(ENDPOINTS), st.tuples(NAMES, NAMES))
def test_an_empty_scope_is_everything_and_any_other_just_what_it_names(
    models: frozenset[str], endpoints: frozenset[str], endpoint: str, names: tuple[str, str]
) -> None:
    found = refused(of(models, endpoints), endpoint, names)
    if endpoints and endpoint not in endpoints:
        assert found == "endpoint-not-allowed"
    elif models and names[0] not in models and names[1] not in models:
        assert found == "model-not-allowed"
    else:
        assert found is None
    assert may_use(of(models), names) == (refused(of(models), "chat", names) is None)


@given(SCOPES)
def test_without_a_model_only_the_endpoint_counts(models: frozenset[str]) -> None:
    assert refused(of(models), "models", ()) is None


def test_a_refusal_says_what_is_allowed() -> None:
    with pytest.raises(ApplianceError) as caught:
        permit(of(models=frozenset({"small", "embed"})), "chat", ("chat", "fake"))
    assert "'chat'" in caught.value.sentence
    assert "embed, small" in caught.value.hint
    assert caught.value.param == "model"
    with pytest.raises(ApplianceError) as caught:
        permit(of(endpoints=frozenset({"rerank", "embeddings"})), "chat", ("chat", "fake"))
    assert "embeddings, rerank" in caught.value.hint
