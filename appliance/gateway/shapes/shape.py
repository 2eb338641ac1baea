"""What a shape has to be able to do. Pure: parts of an answer in, bytes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import orjson

from appliance.errors import ApplianceError
from appliance.gateway.events import Tally
from appliance.gateway.shapes.parts import Parts, Step
from appliance.policy.body import EngineRequest


class Shape(ABC):
    """One answer in the shape of an API, as events or as a whole.

    `id` is the request's, `model` the public name of the model. Events are told apart by their `type`.
    """

    def __init__(self, wanted: EngineRequest, model: str, id: str) -> None:
        self.parts = Parts()
        self.wanted = wanted
        self.model = model
        self.id = id.removeprefix("req-")

    def add(self, chunk: dict[str, Any]) -> bytes:
        """The events that a chunk brings, in bytes."""
        return b"".join([self.begin(chunk), *map(self.step, self.parts.add(chunk))])

    @abstractmethod
    def begin(self, chunk: dict[str, Any]) -> bytes:
        """The events ahead of a chunk's; nothing once the answer has begun."""

    @abstractmethod
    def step(self, step: Step) -> bytes:
        """The events of one step."""

    @abstractmethod
    def end(self, tally: Tally) -> bytes:
        """The events that end a complete answer; `tally` has its tokens."""

    @abstractmethod
    def whole(self, tally: Tally) -> bytes:
        """The answer as one JSON document."""

    @abstractmethod
    def failure(self, error: ApplianceError, request_id: str) -> bytes:
        """The events for an answer that fails after it has begun."""


def event(data: dict[str, Any]) -> bytes:
    """A server-sent event that is named by its type."""
    return b"event: %s\ndata: %s\n\n" % (data["type"].encode(), orjson.dumps(data))
