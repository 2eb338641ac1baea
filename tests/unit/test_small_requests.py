"""What requests for text completions, embeddings and sorted documents may say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.errors import ApplianceError
from appliance.policy import completions, embeddings, rerank
from appliance.policy.body import EngineRequest

NEEDED: dict[str, dict[str, Any]] = {
    "completions": {"model": "chat", "prompt": "One two"},
    "embeddings": {"model": "embed", "input": "One two"},
    "rerank": {"model": "rerank", "query": "One", "documents": ["two", {"text": "three"}]},
}
READERS = {"completions": completions.read, "embeddings": embeddings.read, "rerank": rerank.read}


def asked(endpoint: str, **more: Any) -> EngineRequest:
    """A request that must be accepted."""
    return READERS[endpoint](json.dumps({**NEEDED[endpoint], **more}).encode())


@pytest.mark.parametrize("endpoint", NEEDED)
def test_what_is_no_business_of_the_engine_stays_here(endpoint: str) -> None:
    request = asked(endpoint, user="anna")
    assert "user" not in request.fields
    assert request.prompt in NEEDED[endpoint]


@pytest.mark.parametrize("endpoint", NEEDED)
def test_what_is_needed_must_be_there(endpoint: str) -> None:
    for name in NEEDED[endpoint]:
        body = {key: value for key, value in NEEDED[endpoint].items() if key != name}
        with pytest.raises(ApplianceError) as caught:
            READERS[endpoint](json.dumps(body).encode())
        assert (caught.value.code, caught.value.param) == ("field-missing", name)


def test_a_text_completion_reaches_the_engine_as_it_is() -> None:
    request = asked(
        "completions", max_tokens=5, best_of=1, echo=False, stream=True, stream_options={"include_usage": True}
    )
    assert request.fields == {"model": "chat", "prompt": "One two", "max_tokens": 5}
    assert (request.streamed, request.wants_usage) == (True, True)


@pytest.mark.parametrize("prompt", ["x", [1, 2], ["x"], [[1, 2]]])
def test_one_prompt_in_every_form(prompt: Any) -> None:
    assert asked("completions", prompt=prompt).fields["prompt"] == prompt


@pytest.mark.parametrize("value", ["x", ["x", "y"], [1, 2], [[1], [2, 3]]])
def test_one_or_many_texts_to_embed_in_every_form(value: Any) -> None:
    assert asked("embeddings", input=value, encoding_format="base64").fields["input"] == value


def test_documents_are_texts_in_either_form() -> None:
    request = asked("rerank", top_n=1, return_documents=False)
    assert request.fields == {"model": "rerank", "query": "One", "documents": ["two", "three"], "top_n": 1}


@pytest.mark.parametrize(
    ("endpoint", "more"),
    [
        ("completions", {"prompt": ["x", "y"]}),
        ("completions", {"prompt": []}),
        ("completions", {"prompt": [-1]}),
        ("completions", {"prompt": [1, "x"]}),
        ("completions", {"prompt": {"prompt_string": "x", "multimodal_data": []}}),
        ("completions", {"n": 2}),
        ("completions", {"best_of": 2}),
        ("completions", {"echo": True}),
        ("completions", {"logprobs": 3}),
        ("completions", {"suffix": "x"}),
        ("completions", {"n_predict": 3}),
        ("embeddings", {"input": []}),
        ("embeddings", {"input": [[]]}),
        ("embeddings", {"input": [{"content": []}]}),
        ("embeddings", {"input": [1.5]}),
        ("embeddings", {"encoding_format": "hex"}),
        ("embeddings", {"dimensions": 0}),
        ("embeddings", {"content": "x"}),
        ("embeddings", {"embd_normalize": -1}),
        ("rerank", {"top_n": -1}),
        ("rerank", {"top_n": 0}),
        ("rerank", {"documents": []}),
        ("rerank", {"documents": [1]}),
        ("rerank", {"query": ["x"]}),
        ("rerank", {"texts": ["x"]}),
        ("rerank", {"return_documents": True}),
    ],
)
def test_what_is_not_listed_or_out_of_range_is_refused_by_name(endpoint: str, more: dict[str, Any]) -> None:
    with pytest.raises(ApplianceError) as caught:
        asked(endpoint, **more)
    assert caught.value.code in ("field-unknown", "field-bad-value")
    assert caught.value.param == next(iter(more))
