"""Request bodies that were good once: valid ones, spoilt at random, first as values and then as bytes.

The same seed makes the same bodies.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from typing import Any, Final

from appliance.gateway.endpoints import ENDPOINTS
from appliance.policy.rules import Rule

# Values over this many characters are repeated at most once: a body stays below what the gateway reads at most.
_LARGE: Final = 300
SCHEMA: Final[Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_CALL: Final[Any] = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
_FUNCTION: Final[Any] = {"name": "weather", "description": "The weather", "parameters": SCHEMA, "strict": True}
_CHAT: Final[Any] = {
    "model": "chat",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Weather in Ulm?"}], "name": "anna"},
        {"role": "assistant", "content": None, "tool_calls": [_CALL], "reasoning_content": "hm", "refusal": None},
        {"role": "tool", "tool_call_id": "c1", "content": "20 degrees"},
    ],
    "tools": [{"type": "function", "function": _FUNCTION}],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}},
    "stream": False,
    "stream_options": {"include_usage": True},
    "max_tokens": 4,
    "temperature": 0.5,
    "top_p": 1,
    "seed": 7,
    "stop": ["x"],
    "logit_bias": {"5": -3},
    "metadata": {"a": "b"},
    "chat_template_kwargs": {"enable_thinking": False},
}
_RESPONSE: Final[Any] = {
    "model": "chat",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}", "status": "completed"},
        {"type": "function_call_output", "call_id": "c", "output": "20 degrees"},
        {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "id": None},
        {"role": "user", "content": "And now?"},
    ],
    "instructions": "Be brief.",
    "tools": [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": None}],
    "tool_choice": {"type": "function", "name": "weather"},
    "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"},
}
_MESSAGES: Final[Any] = {
    "model": "chat",
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "5m"}}],
    "messages": [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": ""},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Ulm"}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [], "is_error": True}]},
    ],
    "tools": [{"name": "weather", "input_schema": SCHEMA}, {"type": "custom", "name": "b", "input_schema": {}}],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
}
# One valid body for every address.
VALID: Final[Mapping[str, Any]] = {
    "/v1/chat/completions": _CHAT,
    "/v1/chat/completions/input_tokens": _CHAT,
    "/v1/completions": {"model": "chat", "prompt": ["One two"], "max_tokens": 4, "stop": "x", "top_k": 4, "seed": -1},
    "/v1/responses": {**_RESPONSE, "max_output_tokens": 4, "stream": False, "store": False, "metadata": {"a": "b"}},
    "/v1/responses/input_tokens": _RESPONSE,
    "/v1/messages": {**_MESSAGES, "max_tokens": 4, "stream": False, "stop_sequences": ["x", ""], "temperature": 1},
    "/v1/messages/count_tokens": _MESSAGES,
    "/v1/embeddings": {"model": "embed", "input": ["a", "b"], "encoding_format": "float", "user": "anna"},
    "/v1/rerank": {"model": "rerank", "query": "a", "documents": ["a", {"text": "b"}], "top_n": 2},
}
# What stands in a text until it is JSON: numbers that no Python value becomes, and pieces that are no JSON.
_LITERALS: Final = {
    f"@{place}@": literal
    for place, literal in enumerate(
        ("1e400", "-1e400", "1" * 400, "-0", "-0.0", "1E+2", "1e-400", "NaN", "-Infinity", "0x10", "01", "1.", ".5",
         "tru", "nil", "'a'", "1.0", "18446744073709551616", "-9223372036854775809", "2147483648", "[" * 300,
         '{"a":' * 300, "[" * 60 + "]" * 60, '"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"\\x"', '"\t"', "")
    )
}  # fmt: skip
_TEXTS: Final = (
    "", " ", "\x00", "\ud800", "\U0001f600" * 50, "e\u0301" * 99, "\u202e", "<|im_end|>", "<|im_start|>system",
    "{{ 7*7 }}", "{% for x in range(9) %}", "%s%n", "../../etc/passwd", "' OR 1=1 --", "data: [DONE]\n\n", "\r\n\r\n",
    "a" * 201, "a" * 20_001, "word " * 300, "null", "NaN", "\ufeff", "[INST]",
)  # fmt: skip
_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 2, 0.5, 1.0, 1e308, -1e-300, 2**31, 2**53, 2**63, 2**64 - 1, 10**19, -(2**63), [], {},
    [[]], [None], {"": None}, {"type": "text"}, {"type": "image_url"}, {"type": []}, {"role": "user"}, ["text"],
    {"$ref": "#"}, {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}}, {"pattern": "(a+)+$"},
    {"type": "string", "pattern": "["}, {"enum": []}, [0] * 2_100, ["x"] * 2_049,
    {"minItems": 10**9, "type": "array"}, {"anyOf": [{}, {}]},
)  # fmt: skip


def _names(fields: Mapping[str, Rule]) -> Iterator[str]:
    for name, rule in fields.items():
        yield name
        yield from _names(rule.fields)


# Every field that any address knows, at any depth, and some that none does.
NAMES: Final = (
    *sorted({name for one in ENDPOINTS for name in (*_names(one.form.fields), *one.form.refused)}),
    *("", "\x00", "grammar", "n_predict", "samplers", "lora", "cache_prompt", "__class__", "a" * 5_000),
)


class Fuzz:
    """A source of spoilt bodies."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def value(self, path: str, most: int = 6) -> Any:
        """A valid body after some changes, of which most keep it an object. It may hold what no JSON can."""
        chance = self._random
        body = json.loads(json.dumps(VALID[path]))
        # With fewer fields, it takes less to be valid.
        for name in list(body):
            if name not in ("model", "messages", "input", "prompt") and chance.random() < 0.5:
                del body[name]
        for _ in range(chance.randint(0, most)):
            body = self._changed(body)
        return body

    def body(self, path: str) -> bytes:
        """A request's body."""
        chance = self._random
        text = json.dumps(self.value(path), ensure_ascii=chance.random() < 0.5, indent=chance.choice((None, 0)))
        for mark, literal in _LITERALS.items():
            text = text.replace(f'"{mark}"', literal)
        if chance.random() < 0.1:
            # The same name twice: the last one counts, as everywhere.
            text = text.replace("{", '{"model": 1, "messages": [], "type": "x", ', chance.randint(1, 3))
        data = text.encode(chance.choice(("utf-8",) * 30 + ("utf-16", "utf-32", "latin-1", "utf-8-sig")), "replace")
        if chance.random() < 0.1:
            data = text.encode("utf-8", "surrogatepass")
        return self._spoilt(data) if chance.random() < 0.2 else data

    def _spoilt(self, data: bytes) -> bytes:
        """The same bytes with some cut off, changed, repeated or put in between."""
        chance = self._random
        at = chance.randrange(len(data) + 1)
        return chance.choice(
            (
                lambda: data[:at],
                lambda: data[at:],
                lambda: data[:at] + chance.randbytes(chance.randint(1, 8)) + data[at:],
                lambda: data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :],
                lambda: data + data,
                lambda: data[:at] + b"\xc3\x28\xed\xa0\x80" + data[at:],
                lambda: b"[" * 100_000,
                lambda: b'{"model":' * 2_000,
                lambda: b"",
                lambda: b"\x1f\x8b\x08" + data,
            )
        )()

    def _changed(self, body: Any) -> Any:
        """A value with something else in one place, anywhere in it."""
        spots = [(holder, key) for holder in _holders(body) for key in _keys(holder)]
        if not spots:
            return self._any()
        holder, key = self._random.choice(spots)
        act = self._random.randrange(10)
        if act < 4:
            holder[key] = self._any()
        elif act < 5:
            del holder[key]
        elif act < 6:
            holder[key] = [holder[key]]
        elif type(holder) is dict:
            name = self._random.choice(NAMES)
            holder[name] = holder.pop(key) if act < 8 else self._any()
        else:
            copied = json.dumps(holder[key])
            many = self._random.choice((1, 1, 2, 20, 150))
            holder += [json.loads(copied) for _ in range(many if len(copied) < _LARGE else 1)]
        return body

    def _any(self) -> Any:
        """Any value."""
        chance = self._random
        kind = chance.randrange(4)
        if kind == 0:
            return chance.choice(_TEXTS)
        if kind == 1:
            return chance.choice(tuple(_LITERALS))
        if kind == 2:
            return json.loads(json.dumps(chance.choice(_VALUES)))
        deep: Any = chance.choice((0, "x", None))
        for _ in range(chance.choice((1, 2, 5, 31, 33, 60))):
            deep = {"a": deep} if chance.random() < 0.5 else [deep]
        return deep


def _holders(value: Any) -> Iterator[Any]:
    """Every object and list in a value, itself included."""
    if type(value) in (dict, list):
        yield value
        for child in value.values() if type(value) is dict else value:
            yield from _holders(child)


def _keys(holder: Any) -> list[Any]:
    """Where something stands in an object or a list."""
    return list(holder) if type(holder) is dict else list(range(len(holder)))
