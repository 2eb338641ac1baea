"""LiteLLM as a library: OpenAI's and Anthropic's way, a stream, a tool, responses, vectors, sorting, an error."""

from __future__ import annotations

import json
import os
from typing import Any

import litellm

URL, KEY = os.environ["APPLIANCE_URL"], os.environ["APPLIANCE_KEY"]
ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Count from one to five."}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather", "parameters": SCHEMA}}


def main() -> None:
    """Do everything once."""
    there: Any = {"api_base": URL, "api_key": KEY, "num_retries": 0}
    fixed: Any = {**there, "model": "openai/chat", "temperature": 0, "max_tokens": 40}
    said = litellm.completion(messages=ASK, **fixed)
    text = said.choices[0].message.content
    assert text
    assert said.usage.completion_tokens > 0
    pieces = list(litellm.completion(messages=ASK, stream=True, stream_options={"include_usage": True}, **fixed))
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == text
    assert pieces[-1].usage.completion_tokens == said.usage.completion_tokens
    chosen = {"type": "function", "function": {"name": "weather"}}
    called = litellm.completion(
        messages=json.loads(os.environ["APPLIANCE_CALLS"]), tools=[TOOL], tool_choice=chosen, **fixed
    )
    assert called.choices[0].message.tool_calls[0].function.name == "weather"
    theirs = {**there, "api_base": URL.removesuffix("/v1"), "model": "anthropic/chat"}
    assert litellm.completion(messages=ASK, max_tokens=20, **theirs).choices[0].message.content
    vectors = litellm.embedding(model="openai/embed", input=["a bill", "a cat"], **there)
    assert [len(one["embedding"]) for one in vectors.data] == [384, 384]
    try:
        litellm.completion(messages=ASK, **{**fixed, "model": "openai/nobody"})
    # It takes whatever is an invalid_request_error for this, unless the code is OpenAI's own word for it.
    except (litellm.BadRequestError, litellm.NotFoundError) as error:
        assert "nobody" in str(error)
    else:
        raise AssertionError


main()
