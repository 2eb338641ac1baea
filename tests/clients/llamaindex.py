"""LlamaIndex: a completion, a conversation, a stream, a tool, vectors, an error."""

from __future__ import annotations

import json
import os

import openai
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai.utils import from_openai_message_dicts
from llama_index.llms.openai_like import OpenAILike

FIXED = {"api_base": os.environ["APPLIANCE_URL"], "api_key": os.environ["APPLIANCE_KEY"], "max_retries": 0}


def weather(city: str) -> str:
    """The weather in a city."""
    return f"20 degrees in {city}"


def main() -> None:
    """Do everything once."""
    fixed = {**FIXED, "temperature": 0, "max_tokens": 60, "context_window": 2048}
    chat = OpenAILike(model="chat", is_chat_model=True, is_function_calling_model=True, **fixed)
    ask = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="Count from one to five.")]
    said = chat.chat(ask).message.content
    assert said
    assert "".join(piece.delta or "" for piece in chat.stream_chat(ask)) == said
    assert OpenAILike(model="chat", is_chat_model=False, **fixed).complete("One two three").text
    tool = FunctionTool.from_defaults(weather)
    calls = from_openai_message_dicts(json.loads(os.environ["APPLIANCE_CALLS"]))
    answer = chat.chat_with_tools([tool], chat_history=calls, tool_choice="weather")
    assert [call.tool_name for call in chat.get_tool_calls_from_response(answer)] == ["weather"]
    vectors = OpenAILikeEmbedding(model_name="embed", **FIXED)
    assert [len(one) for one in vectors.get_text_embedding_batch(["a bill", "a cat"])] == [384, 384]
    try:
        OpenAILike(model="nobody", is_chat_model=True, **FIXED).chat(ask)
    except openai.NotFoundError as error:
        assert error.code == "model-not-found"
    else:
        raise AssertionError


main()
