"""Large bodies: what is made to be slow is refused before it is parsed, and long texts pass."""

from __future__ import annotations

import gc

import orjson
import pytest

from appliance.errors import ApplianceError
from appliance.policy import chat, embeddings

LARGE = 4 * 1024**2


def body(content: bytes, rest: bytes = b"") -> bytes:
    """A chat request with one message."""
    return b'{"model":"chat","messages":[{"role":"user","content":%s}]%s}' % (content, rest)


def repeated(piece: bytes) -> bytes:
    """A list of so many pieces as fit."""
    return b"[" + b",".join([piece] * (LARGE // (len(piece) + 1))) + b"]"


HOSTILE = {
    "numbers": body(b'"a"', b',"stop":' + repeated(b"0")),
    "objects": body(b'"a"', b',"stop":' + repeated(b"{}")),
    "lists": body(b'"a"', b',"stop":' + repeated(b"[]")),
    "strings": body(b'"a"', b',"stop":' + repeated(b'""')),
    "escaped quotes": body(b'"a"', b',"stop":' + repeated(rb'"\""')),
    "messages": b'{"model":"chat","messages":' + repeated(b'{"role":"user","content":"a"}') + b"}",
    "parts": body(repeated(b'{"type":"text","text":"a"}')),
    "keys": body(b'"a"', b"," + b",".join(b'"%x":0' % number for number in range(LARGE // 10))),
    "values after a text with commas": body(b'"' + b"," * LARGE + b'"', b',"stop":' + repeated(b"0")),
    "no end of a string": body(b'"' + b"a" * LARGE, b',"stop":' + repeated(b"0")),
}


@pytest.mark.parametrize("said", HOSTILE.values(), ids=HOSTILE)
def test_more_values_than_any_request_needs_are_refused_unparsed(said: bytes) -> None:
    with pytest.raises(ApplianceError) as caught:
        chat.read(said)
    assert caught.value.code in ("body-too-complex", "body-not-json")
    assert gc.isenabled()


TEXTS = {
    "table": "1,2,3,4\n" * (LARGE // 16),
    "json": '{"a": [1, 2]} ' * (LARGE // 28),
    "quotes": 'he said "no", ' * (LARGE // 28),
    "backslashes": "\\" * (LARGE // 4),
    "accents": "\u00e9, " * 10**5,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_long_text_passes_whatever_it_says(text: str) -> None:
    wanted = chat.read(orjson.dumps({"model": "chat", "messages": [{"role": "user", "content": text}]}))
    assert wanted.fields["messages"][0]["content"] == text
    assert gc.isenabled()


def test_many_texts_to_embed_pass() -> None:
    texts = ["a sentence, with a comma" * 100] * 2048
    assert len(embeddings.read(orjson.dumps({"model": "embed", "input": texts})).fields["input"]) == 2048


def test_a_large_body_that_is_no_json_leaves_the_collector_as_it_was() -> None:
    with pytest.raises(ApplianceError, match="not a JSON object"):
        chat.read(b"x" * LARGE)
    assert gc.isenabled()
