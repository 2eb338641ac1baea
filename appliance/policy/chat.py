"""What a chat completion request may say: the allow-list, field by field, with ranges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import orjson

from appliance.errors import ApplianceError
from appliance.policy.rules import Rule, any_json, either, flag, many, nothing, number, one_of, table, text, whole

_TEXT: Final = text(8_000_000)
_NAME: Final = text(200)
_I32: Final = 2**31 - 1


def _logit_bias(most: int) -> Rule:
    words = f"an object of at most {most} tokens"
    bias = number(-100, 100)

    def check(value: Any) -> str | None:
        if type(value) is not dict or len(value) > most:
            return f"must be {words}"
        for token, weight in value.items():
            if not (token.isascii() and token.isdigit() and len(token) <= 6):
                return f"has the key '{token[:20]}', which is no token id"
            wrong = bias.check(weight)
            if wrong:
                return wrong
        return None

    return Rule(check, f"{words}: the key a token id, the value {bias.words}")


_PART: Final = table({"type": one_of("text"), "text": _TEXT}, "type", "text")
_CONTENT: Final = either(_TEXT, many(_PART, 500, least=1), nothing)
_FUNCTION_CALL: Final = table({"name": _NAME, "arguments": _TEXT}, "name", "arguments")
_TOOL_CALL: Final = table({"id": _NAME, "type": one_of("function"), "function": _FUNCTION_CALL}, "function")
_MESSAGE: Final = table(
    {
        "role": one_of("system", "developer", "user", "assistant", "tool"),
        "content": _CONTENT,
        "name": _NAME,
        "tool_calls": either(many(_TOOL_CALL, 128), nothing),
        "tool_call_id": _NAME,
        "reasoning_content": either(_TEXT, nothing),
        "refusal": either(_TEXT, nothing),
    },
    "role",
)
_FUNCTION: Final = table(
    {"name": _NAME, "description": text(20_000), "parameters": any_json(5_000), "strict": either(flag, nothing)},
    "name",
)
_TOOL: Final = table({"type": one_of("function"), "function": _FUNCTION}, "type", "function")
_CHOSEN_TOOL: Final = table(
    {"type": one_of("function"), "function": table({"name": _NAME}, "name")}, "type", "function"
)
_SCHEMA: Final = table(
    {"name": _NAME, "description": text(20_000), "schema": any_json(5_000), "strict": either(flag, nothing)}, "schema"
)
_FORMAT: Final = table({"type": one_of("text", "json_object", "json_schema"), "json_schema": _SCHEMA}, "type")

FIELDS: Final[dict[str, Rule]] = {
    "model": text(200),
    "messages": many(_MESSAGE, 2_000, least=1),
    "stream": flag,
    "stream_options": table({"include_usage": flag, "include_obfuscation": flag}),
    "max_tokens": whole(1, 1_048_576),
    "max_completion_tokens": whole(1, 1_048_576),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "top_k": whole(0, 10_000),
    "min_p": number(0, 1),
    "repeat_penalty": number(0, 2),
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "seed": whole(-1, _I32),
    "stop": either(text(200), many(text(200), 16)),
    "n": one_of(1),
    "logit_bias": _logit_bias(300),
    "logprobs": flag,
    "top_logprobs": whole(0, 20),
    "response_format": _FORMAT,
    "tools": many(_TOOL, 128),
    "tool_choice": either(one_of("none", "auto", "required"), _CHOSEN_TOOL),
    "parallel_tool_calls": flag,
    "reasoning_effort": one_of("none", "minimal", "low", "medium", "high"),
    "user": text(512),
    "store": one_of(False),  # noqa: FBT003 - the value itself
    "service_tier": one_of("auto", "default"),
    "metadata": table({}),
}
# Of use to the caller or to us, but no business of the engine.
_NOT_FOR_THE_ENGINE: Final = frozenset({"user", "store", "service_tier", "metadata", "max_completion_tokens"})


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A request that kept every rule. `fields` goes to the engine, `prompt_bytes` is a size for estimates."""

    model: str
    streamed: bool
    wants_usage: bool
    fields: dict[str, Any]
    prompt_bytes: int


def read(body: bytes) -> ChatRequest:
    """Check a request body. Raises body-not-json, field-unknown, field-missing or field-bad-value."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _not_json(str(error)) from error
    if type(data) is not dict:
        raise _not_json("it is not an object")
    for name in ("model", "messages"):
        if name not in data:
            raise ApplianceError(
                "field-missing", f"The request lacks '{name}'.", "See docs/reference/api.md for the fields.", param=name
            )
    for name, value in data.items():
        _check(name, value)
    fields = {name: value for name, value in data.items() if value is not None and name not in _NOT_FOR_THE_ENGINE}
    if data.get("max_completion_tokens") is not None:
        fields["max_tokens"] = data["max_completion_tokens"]
    options = fields.pop("stream_options", {})
    return ChatRequest(
        model=data["model"],
        streamed=fields.pop("stream", False),
        wants_usage=options.get("include_usage", False),
        fields=fields,
        prompt_bytes=len(body),
    )


def estimate_tokens(prompt_bytes: int) -> int:
    """Prompt tokens where no engine has counted them: four bytes each, the usual rule of thumb, rounded up."""
    return math.ceil(prompt_bytes / 4)


def _check(name: str, value: Any) -> None:
    rule = FIELDS.get(name)
    if rule is None:
        short = name[:60]
        raise ApplianceError(
            "field-unknown",
            f"The field '{short}' is not supported.",
            "Leave it out; docs/reference/api.md lists the fields.",
            param=short,
        )
    # Official clients send null for "not given".
    if value is None and name not in ("model", "messages"):
        return
    wrong = rule.check(value)
    if wrong:
        raise ApplianceError(
            "field-bad-value", f"The field '{name}' {wrong}.", "Correct it and send the request again.", param=name
        )


def _not_json(why: str) -> ApplianceError:
    return ApplianceError("body-not-json", f"The request body is not a JSON object: {why}.", "Send a JSON object.")
