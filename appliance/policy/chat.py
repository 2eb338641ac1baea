"""What a chat completion request may say: the allow-list, field by field, with ranges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from appliance.policy.body import EngineRequest, Form
from appliance.policy.fields import (
    DESCRIPTION,
    EFFORT,
    I32,
    LABEL,
    LONGEST_TEXT,
    MAX_TOKENS,
    MAYBE,
    NAME,
    NO_FILES,
    NO_IMAGES,
    SCHEMA,
    SHARE,
    TEMPERATURE,
    TEXT,
    TOP_TOKENS,
    VERBOSITY,
    choose_tool,
    logit_bias,
)
from appliance.policy.rules import Rule, either, flag, labels, many, nothing, number, one_of, table, tagged, text, whole

_PART: Final = tagged(
    "type",
    {"text": table({"type": one_of("text"), "text": TEXT}, "type", "text")},
    {"image_url": NO_IMAGES, "input_audio": "no model that is served here takes sound", "file": NO_FILES},
)
_CONTENT: Final = either(TEXT, many(_PART, 500, least=1), nothing)
_FUNCTION_CALL: Final = table({"name": NAME, "arguments": TEXT}, "name", "arguments")
_TOOL_CALL: Final = table(
    # Programs that put an answer together from a stream often send its index back.
    {"id": NAME, "type": one_of("function"), "function": _FUNCTION_CALL, "index": whole(0, 127)},
    "function",
)
_MESSAGE: Final = table(
    {
        "role": one_of("system", "developer", "user", "assistant", "tool"),
        "content": _CONTENT,
        "name": NAME,
        "tool_calls": either(many(_TOOL_CALL, 128), nothing),
        "tool_call_id": NAME,
        "reasoning_content": either(TEXT, nothing),
        "refusal": either(TEXT, nothing),
        # Official clients send them back as they stand in their own answers.
        "annotations": either(many(nothing, 0), nothing),
        "audio": nothing,
        "function_call": nothing,
    },
    "role",
)
_FUNCTION: Final = table({"name": NAME, "description": DESCRIPTION, "parameters": SCHEMA, "strict": MAYBE}, "name")
_TOOL: Final = table({"type": one_of("function"), "function": _FUNCTION}, "type", "function")
_CHOSEN_TOOL: Final = table({"type": one_of("function"), "function": table({"name": NAME}, "name")}, "type", "function")
_SCHEMA: Final = table({"name": NAME, "description": DESCRIPTION, "schema": SCHEMA, "strict": MAYBE}, "schema")
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
    return type(role) is str and role in _ROLES and type(content) is str and len(content) <= LONGEST_TEXT


FIELDS: Final[dict[str, Rule]] = {
    "model": text(200),
    "messages": replace(_MESSAGES, check=_messages),
    "stream": flag,
    "stream_options": table({"include_usage": flag, "include_obfuscation": flag}),
    "max_tokens": MAX_TOKENS,
    "max_completion_tokens": MAX_TOKENS,
    "temperature": TEMPERATURE,
    "top_p": SHARE,
    "top_k": TOP_TOKENS,
    "min_p": SHARE,
    "repeat_penalty": number(0, 2),
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "seed": whole(-1, I32),
    "stop": either(text(200), many(text(200), 16)),
    "n": one_of(1),
    "logit_bias": logit_bias(300),
    "logprobs": flag,
    "top_logprobs": whole(0, 20),
    "response_format": _FORMAT,
    "tools": many(_TOOL, 128),
    "tool_choice": either(one_of("none", "auto", "required"), _CHOSEN_TOOL),
    "parallel_tool_calls": flag,
    "reasoning_effort": EFFORT,
    "reasoning_format": one_of("auto", "none", "deepseek"),
    "thinking_budget_tokens": whole(0, 1_048_576),
    "chat_template_kwargs": table({"enable_thinking": flag}),
    "user": LABEL,
    "store": one_of(False),  # noqa: FBT003 - the value itself
    "service_tier": one_of("auto", "default"),
    "metadata": labels(16, 512),
    "safety_identifier": LABEL,
    "prompt_cache_key": LABEL,
    "prompt_cache_retention": one_of("in_memory", "24h"),
    "verbosity": VERBOSITY,
    "prediction": table(
        {"type": one_of("content"), "content": either(TEXT, many(_PART, 500, least=1))}, "type", "content"
    ),
    "modalities": many(one_of("text"), 1, least=1),
}
FORM: Final = Form(
    FIELDS,
    ("model", "messages"),
    {
        "audio": "no model that is served here speaks",
        "functions": "use 'tools'",
        "function_call": "use 'tool_choice'",
        "web_search_options": "nothing leaves this machine",
        "moderation": "there is no moderation here",
        "prompt_cache_options": "what was read before is used again by itself",
    },
)
# Of use to the caller or to us, but no business of the engine.
_NOT_FOR_THE_ENGINE: Final = frozenset(
    {
        "user",
        "store",
        "service_tier",
        "metadata",
        "max_completion_tokens",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "verbosity",
        "prediction",
        "modalities",
    }
)


def read(body: bytes) -> EngineRequest:
    """Check a request body. Raises body-not-json, field-unknown, field-missing or field-bad-value."""
    data = FORM.read(body)
    fields = {name: value for name, value in data.items() if name not in _NOT_FOR_THE_ENGINE}
    if "max_completion_tokens" in data:
        fields["max_tokens"] = data["max_completion_tokens"]
    if b"null" in body:
        # For llama-server a field of a message is there or not: it takes null for content alone.
        fields["messages"] = [_without_nulls(message) for message in fields["messages"]]
    options = fields.pop("stream_options", {})
    if type(fields.get("tool_choice")) is dict:
        choose_tool(fields, fields["tool_choice"]["function"]["name"])
    return EngineRequest(
        model=data["model"],
        streamed=fields.pop("stream", False),
        wants_usage=options.get("include_usage", False),
        fields=fields,
        prompt_bytes=len(body),
    )


def _without_nulls(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if value is not None or name == "content"}
