"""A peer: the gateway that one writes first, with FastAPI and httpx. No keys, no books.

    ENGINE_URL=http://127.0.0.1:9100/v1 python -m uvicorn bench.naive:app --port PORT

It runs in the peers' own environment: FastAPI is no requirement of the appliance.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

app = FastAPI()
client = httpx.AsyncClient(base_url=os.environ["ENGINE_URL"], timeout=None)


@app.post("/v1/chat/completions")
async def chat(request: Request) -> Any:
    """Passes one chat completion on."""
    body = await request.json()
    if body.get("stream"):
        return StreamingResponse(pieces(body), media_type="text/event-stream")
    answer = await client.post("/chat/completions", json=body)
    return Response(answer.content, answer.status_code, media_type="application/json")


async def pieces(body: dict[str, Any]) -> AsyncIterator[bytes]:
    """A streamed answer as it comes."""
    async with client.stream("POST", "/chat/completions", json=body) as answer:
        async for piece in answer.aiter_bytes():
            yield piece
