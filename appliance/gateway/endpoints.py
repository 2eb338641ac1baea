"""Every address at which a model is asked, as data: what it takes, which engines it is for, how it is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from appliance.deployment import Engine
from appliance.errors import ApplianceError
from appliance.gateway.answers import Answer, PassedAnswer, chat_answer, text_answer
from appliance.gateway.shapes.answer import ShapedAnswer
from appliance.gateway.shapes.counts import CountAnswer
from appliance.gateway.shapes.messages import MessageShape
from appliance.gateway.shapes.responses import ResponseShape
from appliance.http.asgi import Request
from appliance.http.dialects import ANTHROPIC, OPENAI, Dialect
from appliance.policy import chat, completions, embeddings, messages, rerank, responses
from appliance.policy.body import EngineRequest, Form


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address. `name` is what the books call it, `path` ours, `upstream` the engine's below its `/v1`.

    `role` is that of the engines it is for; empty stands for all that converse. `foreign` are fields that
    our own engines cannot do. Where nothing is generated, there is nothing `on_record`.
    """

    name: str
    path: str
    upstream: str
    about: str
    form: Form
    read: Callable[[bytes], EngineRequest]
    answer: Callable[[EngineRequest, Engine, Request], Answer]
    role: str = ""
    dialect: Dialect = OPENAI
    foreign: frozenset[str] = frozenset()
    on_record: bool = True

    @property
    def scope(self) -> str:
        """What a key must be for: counting the tokens of a request is part of making it."""
        return self.name.partition(".")[0]

    def check(self, engine: Engine, wanted: EngineRequest) -> None:
        """Whether an engine is one for this request. Raises model-wrong-kind or field-unknown."""
        if (engine.role if engine.role in _SPECIAL else "") != self.role:
            raise ApplianceError(
                "model-wrong-kind",
                f"The model '{engine.model}' is {_SPECIAL.get(engine.role, 'made for conversations')}.",
                "See /v1/models for the others.",
                param="model",
            )
        if self.foreign and engine.is_ours:
            for name in self.foreign & wanted.fields.keys():
                raise ApplianceError(
                    "field-unknown",
                    f"The model '{engine.model}' does not support the field '{name}'.",
                    "Leave it out.",
                    param=name,
                )


_SPECIAL: Final = {
    "embed": "made for embeddings, not for this",
    "rerank": "made for sorting documents, not for this",
}


def _message(wanted: EngineRequest, engine: Engine, request: Request) -> Answer:
    return ShapedAnswer(wanted, engine, request, MessageShape)


def _response(wanted: EngineRequest, engine: Engine, request: Request) -> Answer:
    return ShapedAnswer(wanted, engine, request, ResponseShape)


def _openai_count(wanted: EngineRequest, engine: Engine, request: Request) -> Answer:
    return CountAnswer(wanted, engine, request, {"object": "response.input_tokens"})


def _anthropic_count(wanted: EngineRequest, engine: Engine, request: Request) -> Answer:
    return CountAnswer(wanted, engine, request, {})


_CHAT: Final = "/chat/completions"
_COUNT: Final = "/chat/completions/input_tokens"

CHAT: Final = Endpoint(
    "chat", "/v1/chat/completions", _CHAT, "Answer one chat completion request.", chat.FORM, chat.read, chat_answer
)
ENDPOINTS: Final = (
    CHAT,
    Endpoint(
        "chat.count",
        "/v1/chat/completions/input_tokens",
        _COUNT,
        "Count the tokens of a chat completion request; nothing is generated.",
        chat.FORM,
        chat.read,
        _openai_count,
        on_record=False,
    ),
    Endpoint(
        "completions",
        "/v1/completions",
        "/completions",
        "Go on from a text.",
        completions.FORM,
        completions.read,
        text_answer,
    ),
    Endpoint(
        "responses",
        "/v1/responses",
        _CHAT,
        "Answer one request in the form of OpenAI's Responses API. Nothing is kept between requests.",
        responses.FORM,
        responses.read,
        _response,
    ),
    Endpoint(
        "responses.count",
        "/v1/responses/input_tokens",
        _COUNT,
        "Count the tokens of a Responses request; nothing is generated.",
        responses.COUNT_FORM,
        responses.read_to_count,
        _openai_count,
        on_record=False,
    ),
    Endpoint(
        "messages",
        "/v1/messages",
        _CHAT,
        "Answer one request in the form of Anthropic's Messages API.",
        messages.FORM,
        messages.read,
        _message,
        dialect=ANTHROPIC,
    ),
    Endpoint(
        "messages.count",
        "/v1/messages/count_tokens",
        _COUNT,
        "Count the tokens of a Messages request; nothing is generated.",
        messages.COUNT_FORM,
        messages.read_to_count,
        _anthropic_count,
        dialect=ANTHROPIC,
        on_record=False,
    ),
    Endpoint(
        "embeddings",
        "/v1/embeddings",
        "/embeddings",
        "Make a vector of each text, for searching by meaning.",
        embeddings.FORM,
        embeddings.read,
        PassedAnswer,
        role="embed",
        foreign=frozenset({"dimensions"}),
    ),
    Endpoint(
        "rerank",
        "/v1/rerank",
        "/rerank",
        "Sort documents by how well they fit a query.",
        rerank.FORM,
        rerank.read,
        PassedAnswer,
        role="rerank",
    ),
)
