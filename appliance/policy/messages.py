"""Anthropic's Messages API, as a chat request: what it may say, and what becomes of it."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from appliance.policy.body import EngineRequest, Form
from appliance.policy.fields import (
    DESCRIPTION,
    MAX_TOKENS,
    NAME,
    NO_FILES,
    NO_IMAGES,
    NOT_KEPT,
    SCHEMA,
    SHARE,
    TEXT,
    TOP_TOKENS,
    choose_tool,
)
from appliance.policy.rules import (
    Rule,
    any_json,
    either,
    flag,
    many,
    nothing,
    number,
    one_of,
    table,
    tagged,
    text,
    whole,
)

_OURS: Final = "only tools that the caller runs itself can be used"
# One program writes a check number ahead of its instructions, another in each request: nothing after it could be
# taken from what the engine has read before.
_STAMP: Final = re.compile(r"x-anthropic-billing-header:[^\n]{0,300}?cch=[0-9a-f]+;")
# What was read before is used again by itself, so where to begin is taken and not needed.
_CACHE: Final = either(table({"type": one_of("ephemeral"), "ttl": one_of("5m", "1h")}, "type"), nothing)
_TEXT_BLOCK: Final = table(
    {
        "type": one_of("text"),
        "text": TEXT,
        "cache_control": _CACHE,
        "citations": either(many(nothing, 0), nothing),
    },
    "text",
)
_PICTURES: Final = {"image": NO_IMAGES, "document": NO_FILES}
_RESULT: Final = table(
    {
        "type": one_of("tool_result"),
        "tool_use_id": NAME,
        "content": either(TEXT, many(tagged("type", {"text": _TEXT_BLOCK}, _PICTURES), 500), nothing),
        "is_error": either(flag, nothing),
        "cache_control": _CACHE,
    },
    "tool_use_id",
)
_USE: Final = table(
    {
        "type": one_of("tool_use"),
        "id": NAME,
        "name": NAME,
        "input": any_json(5_000),
        "cache_control": _CACHE,
        "caller": either(table({"type": one_of("direct")}, "type"), nothing),
    },
    "id",
    "name",
    "input",
)
_THINKING: Final = table({"type": one_of("thinking"), "thinking": TEXT, "signature": TEXT}, "thinking")
_HIDDEN: Final = table({"type": one_of("redacted_thinking"), "data": TEXT}, "data")
_BLOCK: Final = tagged(
    "type",
    {
        "text": _TEXT_BLOCK,
        "tool_use": _USE,
        "tool_result": _RESULT,
        "thinking": _THINKING,
        "redacted_thinking": _HIDDEN,
    },
    {
        **_PICTURES,
        "search_result": NO_FILES,
        "server_tool_use": _OURS,
        "web_search_tool_result": _OURS,
        "container_upload": NOT_KEPT,
    },
)
_MESSAGE: Final = table(
    {"role": one_of("user", "assistant", "system"), "content": either(TEXT, many(_BLOCK, 500))}, "role", "content"
)
_CUSTOM: Final = table(
    {
        "type": either(one_of("custom"), nothing),
        "name": NAME,
        "description": DESCRIPTION,
        "input_schema": SCHEMA,
        "cache_control": _CACHE,
        "strict": flag,
        "eager_input_streaming": either(flag, nothing),
        "input_examples": many(any_json(1_000), 20),
        "defer_loading": one_of(False),  # noqa: FBT003 - the value itself
        "allowed_callers": many(one_of("direct"), 1),
    },
    "name",
    "input_schema",
)
# Those that the API's own servers run have types of their own.
_TOOL: Final = tagged("type", {"custom": _CUSTOM}, {}, default="custom")
_PARALLEL: Final = {"disable_parallel_tool_use": flag}
_CHOICE: Final = tagged(
    "type",
    {
        "auto": table({"type": one_of("auto"), **_PARALLEL}),
        "any": table({"type": one_of("any"), **_PARALLEL}),
        "none": table({"type": one_of("none")}),
        "tool": table({"type": one_of("tool"), "name": NAME, **_PARALLEL}, "name"),
    },
    {},
)
_SHOWN: Final = {"display": either(one_of("summarized", "omitted"), nothing)}
_THINK: Final = tagged(
    "type",
    {
        "enabled": table(
            {"type": one_of("enabled"), "budget_tokens": whole(1_024, 1_048_576), **_SHOWN}, "budget_tokens"
        ),
        "adaptive": table({"type": one_of("adaptive"), **_SHOWN}),
        "disabled": table({"type": one_of("disabled")}),
    },
    {},
)
_OUTPUT: Final = table(
    {
        "effort": either(one_of("low", "medium", "high", "xhigh", "max"), nothing),
        "format": either(table({"type": one_of("json_schema"), "schema": SCHEMA}, "type", "schema"), nothing),
    }
)

_READ: Final[dict[str, Rule]] = {
    "model": text(200),
    "messages": many(_MESSAGE, 2_000, least=1),
    "system": either(TEXT, many(_TEXT_BLOCK, 500)),
    "tools": many(_TOOL, 128),
    "tool_choice": _CHOICE,
    "thinking": _THINK,
    "output_config": _OUTPUT,
    "cache_control": _CACHE,
}
_REFUSED: Final[dict[str, str]] = {
    "container": NOT_KEPT,
    "context_management": NOT_KEPT,
    "mcp_servers": _OURS,
    "inference_geo": "nothing leaves this machine",
    "speed": "there is one speed",
    "diagnostics": "there are none",
}
FORM: Final = Form(
    {
        **_READ,
        "max_tokens": MAX_TOKENS,
        "stream": flag,
        "temperature": number(0, 1),
        "top_p": SHARE,
        "top_k": TOP_TOKENS,
        "stop_sequences": many(text(200), 16),
        "metadata": table({"user_id": either(text(512), nothing)}),
        "service_tier": one_of("auto", "standard_only"),
    },
    ("model", "max_tokens", "messages"),
    _REFUSED,
)
# What is counted is what the engine would read.
COUNT_FORM: Final = Form(_READ, ("model", "messages"), _REFUSED)


def read(body: bytes) -> EngineRequest:
    """Check a request and make a chat request of it.

    Raises body-not-json, field-unknown, field-missing or field-bad-value.
    """
    return _chat_request(FORM.read(body), len(body))


def read_to_count(body: bytes) -> EngineRequest:
    """The same for a request whose tokens are only to be counted."""
    return _chat_request(COUNT_FORM.read(body), len(body))


def _chat_request(data: dict[str, Any], size: int) -> EngineRequest:
    fields: dict[str, Any] = {"model": data["model"], "messages": _messages(data)}
    for name in ("max_tokens", "temperature", "top_p", "top_k"):
        if name in data:
            fields[name] = data[name]
    stops = [stop for stop in data.get("stop_sequences", ()) if stop]
    if stops:
        fields["stop"] = stops
    if data.get("tools"):
        fields["tools"] = [_tool(tool) for tool in data["tools"]]
    _choose(fields, data.get("tool_choice", {"type": "auto"}))
    thinks = _think(fields, data)
    return EngineRequest(
        model=data["model"],
        streamed=data.get("stream", False),
        wants_usage=True,
        fields=fields,
        prompt_bytes=size,
        kept={"thinking": thinks, "stop_sequences": stops},
    )


def _think(fields: dict[str, Any], data: dict[str, Any]) -> bool:
    """Whether the model is to think before it answers; only whoever asks for it gets to see it."""
    said = data.get("thinking", {"type": "disabled"})
    output = data.get("output_config", {})
    thinks: bool = said["type"] != "disabled"
    fields["chat_template_kwargs"] = {"enable_thinking": thinks}
    if "budget_tokens" in said:
        fields["thinking_budget_tokens"] = said["budget_tokens"]
    if thinks and output.get("effort"):
        fields["reasoning_effort"] = output["effort"]
    if output.get("format"):
        schema = {"name": "answer", "schema": output["format"]["schema"]}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    return thinks and said.get("display") != "omitted"


def _messages(data: dict[str, Any]) -> list[dict[str, Any]]:
    """A conversation as chat messages: what tools gave back comes first of what a user says."""
    messages: list[dict[str, Any]] = []
    if data.get("system"):
        messages.append({"role": "system", "content": _STAMP.sub("", _text(data["system"]), count=1).lstrip()})
    for given in data["messages"]:
        content = given["content"]
        if type(content) is str:
            messages.append({"role": given["role"], "content": content})
            continue
        messages += [_result(block) for block in content if block["type"] == "tool_result"]
        rest = [block for block in content if block["type"] != "tool_result"]
        if rest or not content:
            messages.append(_turn(given["role"], rest))
    return messages


def _turn(role: str, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": role, "content": _text(blocks)}
    thoughts = "".join(block["thinking"] for block in blocks if block["type"] == "thinking")
    if thoughts:
        message["reasoning_content"] = thoughts
    calls = [_call(block) for block in blocks if block["type"] == "tool_use"]
    if calls:
        message["tool_calls"] = calls
    return message


def _call(block: dict[str, Any]) -> dict[str, Any]:
    function = {"name": block["name"], "arguments": json.dumps(block["input"], ensure_ascii=False)}
    return {"id": block["id"], "type": "function", "function": function}


def _result(block: dict[str, Any]) -> dict[str, Any]:
    said = _text(block.get("content") or "")
    failed = "Error: " if block.get("is_error") else ""
    return {"role": "tool", "tool_call_id": block["tool_use_id"], "content": failed + said}


def _text(content: str | list[dict[str, Any]]) -> str:
    """The text of a content, whatever blocks it is in."""
    if type(content) is str:
        return content
    return "\n".join(block["text"] for block in content if type(block) is dict and "text" in block)


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = {"name": tool["name"], "parameters": tool["input_schema"]}
    if tool.get("description"):
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


def _choose(fields: dict[str, Any], choice: dict[str, Any]) -> None:
    kind = choice["type"]
    if kind == "tool":
        choose_tool(fields, choice["name"])
    elif "tools" in fields:
        fields["tool_choice"] = {"auto": "auto", "any": "required", "none": "none"}[kind]
    if choice.get("disable_parallel_tool_use") and "tools" in fields:
        fields["parallel_tool_calls"] = False
