"""What a chat completion request may say: the allow-list, field by field, with ranges."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from appliance.errors import ApplianceError
from appliance.policy.rules import Rule, any_json, either, flag, many, nothing, number, one_of, table, text, whole

_LONGEST_TEXT: Final = 8_000_000
_TEXT: Final = text(_LONGEST_TEXT)
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

_ROLES: Final = frozenset({"system", "developer", "user", "assistant"})
_MESSAGES: Final = many(_MESSAGE, 2_000, least=1)


def _messages(value: Any) -> str | None:
    """Nearly all messages are a role and a text: they pass without the whole rule, which says what is wrong."""
    if type(value) is list and 1 <= len(value) <= 2_000 and all(map(_is_plain, value)):
        return None
    return _MESSAGES.check(value)


def _is_plain(message: Any) -> bool:
    if type(message) is not dict or len(message) != 2:
        return False
    role, content = message.get("role"), message.get("content")
    return type(role) is str and role in _ROLES and type(content) is str and len(content) <= _LONGEST_TEXT


FIELDS: Final[dict[str, Rule]] = {
    "model": text(200),
    "messages": replace(_MESSAGES, check=_messages),
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
_REQUIRED: Final = ("model", "messages")
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
    for name in _REQUIRED:
        if name not in data:
            raise ApplianceError(
                "field-missing", f"The request lacks '{name}'.", "See docs/reference/api.md for the fields.", param=name
            )
    for name, value in data.items():
        rule = FIELDS.get(name)
        # Official clients send null for "not given".
        if rule is None or ((value is not None or name in _REQUIRED) and rule.check(value) is not None):
            raise _refusal(name, rule, value)
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


def _refusal(name: str, rule: Rule | None, value: Any) -> ApplianceError:
    """Why a field is refused."""
    short = name[:60]
    if rule is None:
        return ApplianceError(
            "field-unknown",
            f"The field '{short}' is not supported.",
            "Leave it out; docs/reference/api.md lists the fields.",
            param=short,
        )
    return ApplianceError(
        "field-bad-value",
        f"The field '{name}' {rule.check(value)}.",
        "Correct it and send the request again.",
        param=name,
    )


def _not_json(why: str) -> ApplianceError:
    return ApplianceError("body-not-json", f"The request body is not a JSON object: {why}.", "Send a JSON object.")
