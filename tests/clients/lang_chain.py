"""LangChain: an answer, a stream, a tool, a schema, vectors, an error."""

from __future__ import annotations

import json
import os

import openai
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

URL, KEY = os.environ["APPLIANCE_URL"], os.environ["APPLIANCE_KEY"]


class Place(BaseModel):
    """A place."""

    city: str


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"20 degrees in {city}"


def main() -> None:
    """Do everything once."""
    chat = ChatOpenAI(base_url=URL, api_key=KEY, model="chat", temperature=0, max_tokens=60, max_retries=0)
    said = chat.invoke([("system", "Be brief."), HumanMessage("Count from one to five.")])
    assert said.content
    assert said.usage_metadata is not None
    assert said.usage_metadata["output_tokens"] > 0
    pieces = list(chat.stream([("system", "Be brief."), HumanMessage("Count from one to five.")], stream_usage=True))
    assert "".join(piece.text for piece in pieces) == said.content
    assert sum((piece.usage_metadata or {}).get("output_tokens", 0) for piece in pieces) > 0
    called = chat.bind_tools([weather], tool_choice="weather").invoke(json.loads(os.environ["APPLIANCE_CALLS"]))
    assert [call["name"] for call in called.tool_calls] == ["weather"]
    result = weather.invoke(called.tool_calls[0])
    assert chat.invoke([HumanMessage("What is the weather?"), called, result]).response_metadata["finish_reason"]
    place = chat.with_structured_output(Place, method="json_schema").invoke("Name a city.")
    assert isinstance(place, Place)
    # Else it would make tokens of the text with another model's tokenizer, from the internet.
    vectors = OpenAIEmbeddings(base_url=URL, api_key=KEY, model="embed", check_embedding_ctx_length=False)
    assert [len(one) for one in vectors.embed_documents(["a bill", "a cat"])] == [384, 384]
    try:
        ChatOpenAI(base_url=URL, api_key=KEY, model="nobody", max_retries=0).invoke("Hello")
    except openai.NotFoundError as error:
        assert error.code == "model-not-found"
    else:
        raise AssertionError


main()
