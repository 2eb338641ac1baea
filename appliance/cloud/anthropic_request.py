"""A chat request in Anthropic's words, the Messages API: pure.

What cannot be said there is refused by name, and nothing is left out silently that would change the answer.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from appliance.errors import ApplianceError

PATH: Final = "/messages"
_VERSION: Final = "2023-06-01"
# Fields that have no counterpart, and the values that ask for nothing.
_WITHOUT_COUNTERPART: Final[dict[str, tuple[Any, ...]]] = {
    "min_p": (0,),
    "repeat_penalty": (1, 0),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "seed": (-1,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "response_format": ({"type": "text"},),
}
_CHOICES: Final = {"none": "none", "auto": "auto", "required": "any"}


def headers(key: str | None) -> list[str]:
    """The header lines that carry the key and the API's version."""
    return [f"anthropic-version: {_VERSION}", *([f"x-api-key: {key}"] if key else [])]


def request(fields: dict[str, Any], max_tokens: int, reasoning: bool) -> dict[str, Any]:
    """The request's fields in the form of the Messages API, always streamed.

    A model that reasons takes no sampling fields, and gets none. Thinking is not asked for. Raises field-bad-value.
    """
    for name, neutral in _WITHOUT_COUNTERPART.items():
        if name in fields and fields[name] not in neutral:
            raise _refused(name, f"The field '{name}' cannot be used with '{fields['model']}', which does not know it.")
    system, messages = _conversation(fields["messages"])
    wanted: dict[str, Any] = {
        "model": fields["model"],
        "max_tokens": max_tokens,
        "messages": messages,
        "stream": True,
    }
    if system:
        wanted["system"] = system
    if not reasoning:
        wanted |= _sampling(fields)
    stop = fields.get("stop")
    if stop:
        wanted["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if fields.get("tools"):
        wanted["tools"] = [_tool(tool["function"]) for tool in fields["tools"]]
        wanted["tool_choice"] = _choice(fields.get("tool_choice", "auto"), fields.get("parallel_tool_calls", True))
    return wanted


def _sampling(fields: dict[str, Any]) -> dict[str, Any]:
    """Temperature goes to 1 there and to 2 here; of it and top_p, models take one only."""
    found: dict[str, Any] = {}
    if "temperature" in fields:
        found["temperature"] = min(fields["temperature"], 1)
    elif "top_p" in fields:
        found["top_p"] = fields["top_p"]
    if fields.get("top_k"):
        found["top_k"] = fields["top_k"]
    return found


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    made = {"name": function["name"], "input_schema": function.get("parameters") or {"type": "object"}}
    if function.get("description"):
        made["description"] = function["description"]
    return made


def _choice(chosen: str | dict[str, Any], parallel: bool) -> dict[str, Any]:
    if isinstance(chosen, str):
        found: dict[str, Any] = {"type": _CHOICES[chosen]}
    else:
        found = {"type": "tool", "name": chosen["function"]["name"]}
    if not parallel and found["type"] != "none":
        found["disable_parallel_tool_use"] = True
    return found


def _conversation(messages: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """The system's words, wherever they stood, and the turns. Neighbours of one role become one turn."""
    system: list[str] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = message["role"]
        if role in ("system", "developer"):
            system += [block["text"] for block in _texts(message.get("content"))]
            continue
        blocks = _blocks(message)
        role = "assistant" if role == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise _refused("messages", "The conversation has no words of a user.")
    return "\n\n".join(system), turns


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    if message["role"] == "tool":
        answered = {"type": "tool_result", "tool_use_id": message.get("tool_call_id") or ""}
        return [{**answered, "content": _texts(message.get("content"))}]
    calls = [_call(call) for call in message.get("tool_calls") or ()]
    return [*_texts(message.get("content")), *_texts(message.get("refusal")), *calls]


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    try:
        arguments = orjson.loads(function["arguments"] or "{}")
    except orjson.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, dict):
        raise _refused("messages", f"The arguments of a call of the tool '{function['name']}' are no JSON object.")
    return {"type": "tool_use", "id": call.get("id") or "", "name": function["name"], "input": arguments}


def _texts(content: Any) -> list[dict[str, Any]]:
    """Blocks of text; empty ones, which the API refuses, are left out."""
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    for part in content or ():
        if part["type"] != "text":
            raise _refused("messages", "Only text can be sent to this model, no images or files.")
    return [{"type": "text", "text": part["text"]} for part in content or () if part["text"].strip()]


def _refused(name: str, sentence: str) -> ApplianceError:
    return ApplianceError("field-bad-value", sentence, "Leave it out, or use a model of this box.", param=name)
