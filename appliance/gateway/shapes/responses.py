"""OpenAI's Responses API: a response of items, and the numbered events in which it comes."""

from __future__ import annotations

import time
from typing import Any, Final

import orjson

from appliance.errors import ApplianceError
from appliance.gateway.events import Tally
from appliance.gateway.shapes.parts import Act, Kind, Part, Step
from appliance.gateway.shapes.shape import Shape, event
from appliance.policy.body import EngineRequest

_PREFIXES: Final = {Kind.TEXT: "msg", Kind.REASONING: "rs", Kind.CALL: "fc"}
_DELTAS: Final = {
    Kind.TEXT: "response.output_text",
    Kind.REASONING: "response.reasoning_text",
    Kind.CALL: "response.function_call_arguments",
}
_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
# What a response says of itself where its request said nothing.
_DEFAULTS: Final[dict[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}


class ResponseShape(Shape):
    """A response."""

    def __init__(self, wanted: EngineRequest, model: str, id: str) -> None:
        super().__init__(wanted, model, id)
        self._created_at = int(time.time())
        self._number = 0

    def begin(self, chunk: dict[str, Any]) -> bytes:
        if self._number:
            return b""
        begun = self._response("in_progress", None)
        created = self._event("response.created", response=begun)
        return created + self._event("response.in_progress", response=begun)

    def step(self, step: Step) -> bytes:
        if step.act is Act.OPEN:
            return self._open(step.part)
        if step.act is Act.CLOSE:
            return self._close(step.part, "completed")
        more: dict[str, Any] = {"logprobs": []} if step.part.kind is Kind.TEXT else {}
        return self._event(f"{_DELTAS[step.part.kind]}.delta", **self._where(step.part), delta=step.text, **more)

    def end(self, tally: Tally) -> bytes:
        begin = self.begin({})
        status = self._status()
        closing = b"".join(self._close(step.part, status) for step in self.parts.end())
        return begin + closing + self._event(f"response.{status}", response=self._response(status, tally))

    def whole(self, tally: Tally) -> bytes:
        return orjson.dumps(self._response(self._status(), tally))

    def failure(self, error: ApplianceError, request_id: str) -> bytes:
        message = f"{error.sentence} {error.hint}"
        told = self._event("error", code=error.code, message=message, param=error.param)
        failed = {**self._response("failed", None), "error": {"code": error.code, "message": message}}
        return told + self._event("response.failed", response=failed)

    def _event(self, type: str, **fields: Any) -> bytes:
        made = event({"type": type, "sequence_number": self._number, **fields})
        self._number += 1
        return made

    def _where(self, part: Part) -> dict[str, Any]:
        where = {"item_id": self._id(part), "output_index": part.place}
        return where if part.kind is Kind.CALL else {**where, "content_index": 0}

    def _open(self, part: Part) -> bytes:
        item = self._item(part, "in_progress", empty=True)
        added = self._event("response.output_item.added", output_index=part.place, item=item)
        if part.kind is Kind.CALL:
            return added
        return added + self._event("response.content_part.added", **self._where(part), part=_content(part, ""))

    def _close(self, part: Part, status: str) -> bytes:
        text, where = part.text, self._where(part)
        if part.kind is Kind.CALL:
            ended = self._event(f"{_DELTAS[part.kind]}.done", **where, name=part.name, arguments=text)
        else:
            more: dict[str, Any] = {"logprobs": []} if part.kind is Kind.TEXT else {}
            ended = self._event(f"{_DELTAS[part.kind]}.done", **where, text=text, **more)
            ended += self._event("response.content_part.done", **where, part=_content(part, text))
        item = self._item(part, status, empty=False)
        return ended + self._event("response.output_item.done", output_index=part.place, item=item)

    def _status(self) -> str:
        return "incomplete" if self.parts.finish in _INCOMPLETE else "completed"

    def _id(self, part: Part) -> str:
        return f"{_PREFIXES[part.kind]}_{self.id}_{part.place}"

    def _item(self, part: Part, status: str, empty: bool) -> dict[str, Any]:
        head = {"id": self._id(part), "status": status}
        if part.kind is Kind.CALL:
            called = {"call_id": part.call_id or f"call_{self.id}_{part.place}", "name": part.name}
            return {**head, "type": "function_call", **called, "arguments": "" if empty else part.text}
        content = [] if empty else [_content(part, part.text)]
        if part.kind is Kind.REASONING:
            return {**head, "type": "reasoning", "summary": [], "content": content}
        return {**head, "type": "message", "role": "assistant", "content": content}

    def _response(self, status: str, tally: Tally | None) -> dict[str, Any]:
        """The response as it is now; with a tally, all of it."""
        last = len(self.parts.all) - 1
        output = [
            self._item(part, status if part.place == last else "completed", empty=False) for part in self.parts.all
        ]
        why = _INCOMPLETE.get(self.parts.finish or "")
        return {
            "id": f"resp_{self.id}",
            "object": "response",
            "created_at": self._created_at,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": why} if status == "incomplete" else None,
            "model": self.model,
            "output": output if tally is not None else [],
            "previous_response_id": None,
            "store": False,
            "truncation": "disabled",
            "usage": None if tally is None else _usage(tally),
            **_DEFAULTS,
            **self.wanted.kept,
        }


def _content(part: Part, text: str) -> dict[str, Any]:
    if part.kind is Kind.REASONING:
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(tally: Tally) -> dict[str, Any]:
    """The engine does not tell thoughts from words when it counts."""
    return {
        "input_tokens": tally.prompt,
        "input_tokens_details": {"cached_tokens": tally.cached, "cache_write_tokens": 0},
        "output_tokens": tally.completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tally.prompt + tally.completion,
    }
