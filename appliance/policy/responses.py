"""OpenAI's Responses API, as a chat request: what it may say, and what becomes of it.

Nothing is kept between requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from appliance.policy.body import EngineRequest, Form
from appliance.policy.fields import (
    DESCRIPTION,
    EFFORT,
    LABEL,
    MAX_TOKENS,
    MAYBE,
    NAME,
    NO_FILES,
    NO_IMAGES,
    NOT_KEPT,
    SCHEMA,
    SHARE,
    TEMPERATURE,
    TEXT,
    VERBOSITY,
    choose_tool,
)
from appliance.policy.rules import Rule, any_json, either, flag, labels, many, nothing, one_of, table, tagged, text

_BUILT_IN: Final = "only functions that the caller runs itself can be called"
_ID: Final = either(NAME, nothing)
_STATUS: Final = either(one_of("in_progress", "completed", "incomplete"), nothing)
_PHASE: Final = either(one_of("commentary", "final_answer"), nothing)


def _texts(*kinds: str) -> Rule:
    """A text, or a list of parts of these kinds that hold one."""
    whole_part = {
        "annotations": either(many(any_json(1_000), 1_000), nothing),
        "logprobs": either(many(nothing, 0), nothing),
    }
    cases = {
        kind: table({"type": one_of(kind), "text": TEXT, **(whole_part if kind == "output_text" else {})}, "text")
        for kind in kinds
        if kind != "refusal"
    }
    if "refusal" in kinds:
        cases["refusal"] = table({"type": one_of("refusal"), "refusal": TEXT}, "refusal")
    refused = {"input_image": NO_IMAGES, "input_file": NO_FILES}
    return either(TEXT, many(tagged("type", cases, refused), 500, least=1))


_MESSAGE: Final = table(
    {
        "type": one_of("message"),
        "role": one_of("user", "system", "developer", "assistant"),
        "content": _texts("input_text", "output_text", "refusal"),
        "id": _ID,
        "status": _STATUS,
        "phase": _PHASE,
    },
    "role",
    "content",
)
_CALL: Final = table(
    {
        "type": one_of("function_call"),
        "call_id": NAME,
        "name": NAME,
        "arguments": TEXT,
        "id": _ID,
        "status": _STATUS,
        "caller": nothing,
        "namespace": nothing,
        "async": either(one_of(False), nothing),  # noqa: FBT003 - the value itself
    },
    "call_id",
    "name",
    "arguments",
)
_OUTPUT: Final = table(
    {
        "type": one_of("function_call_output"),
        "call_id": NAME,
        "output": _texts("input_text"),
        "id": _ID,
        "status": _STATUS,
    },
    "call_id",
    "output",
)
_REASONING: Final = table(
    {
        "type": one_of("reasoning"),
        "id": _ID,
        "summary": many(table({"type": one_of("summary_text"), "text": TEXT}, "text"), 500),
        "content": either(many(table({"type": one_of("reasoning_text"), "text": TEXT}, "text"), 500), nothing),
        "encrypted_content": either(TEXT, nothing),
        "status": _STATUS,
    }
)
_ITEM: Final = tagged(
    "type",
    {"message": _MESSAGE, "function_call": _CALL, "function_call_output": _OUTPUT, "reasoning": _REASONING},
    {"item_reference": NOT_KEPT},
    default="message",
)
_BUILT_IN_TOOLS: Final = (
    "web_search", "web_search_preview", "file_search", "code_interpreter", "image_generation", "mcp", "computer",
    "computer_use_preview", "local_shell", "shell", "apply_patch", "custom", "namespace", "tool_search",
)  # fmt: skip
_TOOL: Final = tagged(
    "type",
    {
        "function": table(
            {
                "type": one_of("function"),
                "name": NAME,
                "description": either(DESCRIPTION, nothing),
                "parameters": either(SCHEMA, nothing),
                "strict": MAYBE,
            },
            "name",
        )
    },
    dict.fromkeys(_BUILT_IN_TOOLS, _BUILT_IN),
)
_FORMAT: Final = tagged(
    "type",
    {
        "text": table({"type": one_of("text")}),
        "json_object": table({"type": one_of("json_object")}),
        "json_schema": table(
            {"type": one_of("json_schema"), "name": NAME, "schema": SCHEMA, "strict": MAYBE,
             "description": either(DESCRIPTION, nothing)},
            "name",
            "schema",
        ),
    },
    {},
)  # fmt: skip
_SUMMARY: Final = either(one_of("auto", "concise", "detailed"), nothing)

_READ: Final[dict[str, Rule]] = {
    "model": text(200),
    "input": either(TEXT, many(_ITEM, 2_000, least=1)),
    "instructions": TEXT,
    "tools": many(_TOOL, 128),
    "tool_choice": either(
        one_of("none", "auto", "required"), table({"type": one_of("function"), "name": NAME}, "type", "name")
    ),
    "parallel_tool_calls": flag,
    "reasoning": table({"effort": either(EFFORT, nothing), "summary": _SUMMARY, "generate_summary": _SUMMARY}),
    "text": table({"format": either(_FORMAT, nothing), "verbosity": either(VERBOSITY, nothing)}),
    "truncation": one_of("disabled"),
}
_REFUSED: Final[dict[str, str]] = {
    "previous_response_id": NOT_KEPT,
    "conversation": NOT_KEPT,
    "context_management": NOT_KEPT,
    "prompt": "prompts are not stored here; send the text",
    "max_tool_calls": _BUILT_IN,
    "moderation": "there is no moderation here",
    "prompt_cache_options": "what was read before is used again by itself",
}
FORM: Final = Form(
    {
        **_READ,
        "stream": flag,
        "stream_options": table({"include_obfuscation": flag}),
        "max_output_tokens": MAX_TOKENS,
        "temperature": TEMPERATURE,
        "top_p": SHARE,
        "top_logprobs": one_of(0),
        # Reasoning stands in the answer as plain text, so there is nothing to encrypt.
        "include": many(one_of("reasoning.encrypted_content"), 10),
        "background": one_of(False),  # noqa: FBT003 - the value itself
        "store": one_of(False),  # noqa: FBT003 - the value itself
        "metadata": labels(16, 512),
        "service_tier": one_of("auto", "default"),
        "user": LABEL,
        "safety_identifier": LABEL,
        "prompt_cache_key": LABEL,
        "prompt_cache_retention": one_of("in_memory", "24h"),
    },
    ("model", "input"),
    _REFUSED,
)
# What is counted is what the engine would read.
COUNT_FORM: Final = Form(_READ, ("model", "input"), _REFUSED)
# What an answer repeats of its request, beside what every answer says of itself.
_KEPT: Final = (
    "instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "prompt_cache_key",
    "prompt_cache_retention", "reasoning", "safety_identifier", "temperature", "text", "tool_choice", "tools",
    "top_p", "user",
)  # fmt: skip


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
    for name, theirs in {"max_output_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p"}.items():
        if name in data:
            fields[theirs] = data[name]
    effort = data.get("reasoning", {}).get("effort")
    if effort is not None:
        fields["reasoning_effort"] = effort
    form = data.get("text", {}).get("format")
    if form is not None and form["type"] != "text":
        fields["response_format"] = _response_format(form)
    if data.get("tools"):
        fields["tools"] = [_tool(tool) for tool in data["tools"]]
        if "parallel_tool_calls" in data:
            fields["parallel_tool_calls"] = data["parallel_tool_calls"]
    choice = data.get("tool_choice")
    if type(choice) is dict:
        choose_tool(fields, choice["name"])
    elif choice is not None:
        fields["tool_choice"] = choice
    return EngineRequest(
        model=data["model"],
        streamed=data.get("stream", False),
        wants_usage=True,
        fields=fields,
        prompt_bytes=size,
        prompt="input",
        kept={name: data[name] for name in _KEPT if name in data},
    )


def _messages(data: dict[str, Any]) -> list[dict[str, Any]]:
    """A conversation's items as chat messages; what one turn of the assistant said and called becomes one message."""
    messages = []
    if data.get("instructions"):
        messages.append({"role": "system", "content": data["instructions"]})
    given = data["input"]
    for item in [{"role": "user", "content": given}] if type(given) is str else given:
        message = _FROM_ITEM[item.get("type", "message")](item)
        last = messages[-1] if messages else {}
        if message["role"] == "assistant" == last.get("role") and _joins(last, message):
            _join(last, message)
        else:
            messages.append(message)
    return messages


def _joins(last: dict[str, Any], message: dict[str, Any]) -> bool:
    """Whether what follows belongs to the same turn: thoughts come first, then words, then calls."""
    if "reasoning_content" in message:
        return False
    return not (message["content"] and (last["content"] or "tool_calls" in last))


def _join(last: dict[str, Any], message: dict[str, Any]) -> None:
    if message["content"]:
        last["content"] = message["content"]
    if "tool_calls" in message:
        last["tool_calls"] = [*last.get("tool_calls", ()), *message["tool_calls"]]


def _said(item: dict[str, Any]) -> dict[str, Any]:
    return {"role": item["role"], "content": _text(item["content"])}


def _called(item: dict[str, Any]) -> dict[str, Any]:
    function = {"name": item["name"], "arguments": item["arguments"]}
    call = {"id": item["call_id"], "type": "function", "function": function}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def _came_back(item: dict[str, Any]) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": item["call_id"], "content": _text(item["output"])}


def _thought(item: dict[str, Any]) -> dict[str, Any]:
    parts = item.get("content") or item.get("summary") or ()
    return {"role": "assistant", "content": "", "reasoning_content": "".join(part["text"] for part in parts)}


_FROM_ITEM: Final = {
    "message": _said,
    "function_call": _called,
    "function_call_output": _came_back,
    "reasoning": _thought,
}


def _text(content: str | list[dict[str, Any]]) -> str:
    """The text of a content, whatever parts it is in."""
    if type(content) is str:
        return content
    return "".join(part.get("text") or part.get("refusal") or "" for part in content if type(part) is dict)


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    names = ("name", "description", "parameters", "strict")
    given = {name: tool[name] for name in names if tool.get(name) is not None}
    return {"type": "function", "function": {"parameters": {"type": "object", "properties": {}}, **given}}


def _response_format(form: Mapping[str, Any]) -> dict[str, Any]:
    if form["type"] == "json_object":
        return {"type": "json_object"}
    names = ("name", "description", "schema", "strict")
    return {"type": "json_schema", "json_schema": {name: form[name] for name in names if form.get(name) is not None}}
