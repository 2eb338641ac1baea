"""`appliance chat`: ask the box, and see what it cost."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.common import Json, home_of, settings_of
from appliance.cli.output import document, say, write

if TYPE_CHECKING:
    from appliance.config.settings import GatewaySettings

_ANSWER_S = 600.0


def chat(
    context: typer.Context,
    prompt: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[str, typer.Option(help="Name of the model.")] = "chat",
    max_tokens: Annotated[int, typer.Option(min=1, max=1_048_576, help="Longest answer, in tokens.")] = 512,
    as_json: Json = False,
) -> None:
    """Ask one question; the answer comes word by word, then its tokens and speed.

    Example: appliance chat "Write a thank-you note to a customer"
    """
    from appliance.control.local_key import local_key

    home = home_of(context)
    gateway = settings_of(home).gateway
    body = {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    result = _listen(_stream(gateway, local_key(home), body), shown=not as_json)
    if as_json:
        document(result)
        return
    write("\n")
    tokens, speed = result["completion_tokens"], result["tokens_per_second"]
    say(f"{tokens} tokens at {speed} tok/s, after {result['prompt_tokens']} tokens of prompt")


def _listen(chunks: Iterator[dict[str, Any]], shown: bool) -> dict[str, Any]:
    """Take an answer as it comes, word by word on the screen if `shown`; returns it with its figures."""
    began = time.monotonic()
    first: float | None = None
    pieces: list[str] = []
    usage: dict[str, Any] = {}
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices", ()):
            piece = (choice.get("delta") or {}).get("content")
            if piece:
                first = first or time.monotonic()
                pieces.append(piece)
                if shown:
                    write(piece)
    seconds = time.monotonic() - (first or began)
    return {
        "answer": "".join(pieces),
        "prompt_tokens": usage.get("prompt_tokens", 0),
        "completion_tokens": usage.get("completion_tokens", 0),
        "first_token_seconds": round((first or began) - began, 3),
        "tokens_per_second": round(usage.get("completion_tokens", 0) / seconds, 1) if seconds > 0 else 0.0,
    }


def _stream(gateway: GatewaySettings, key: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks of one answer. Raises the gateway's errors, and not-running."""
    from appliance.errors import ApplianceError

    connection = http.client.HTTPConnection(gateway.host, gateway.port, timeout=_ANSWER_S)
    try:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            raise _refused(response.read(), f"{gateway.host}:{gateway.port}")
        for line in response:
            if line.startswith(b"data: {"):
                chunk = json.loads(line[6:])
                if "error" in chunk:
                    raise _error(chunk["error"])
                yield chunk
            if line.startswith(b"data: [DONE]"):
                return
        raise ApplianceError(
            "not-running",
            "The gateway ended in the middle of the answer.",
            "See `appliance status` and `appliance logs serve`, then ask again.",
        )
    except (OSError, http.client.HTTPException) as error:
        raise ApplianceError(
            "not-running",
            f"The gateway at {gateway.host}:{gateway.port} does not answer.",
            "Start it with `appliance up`.",
        ) from error
    finally:
        connection.close()


def _refused(said: bytes, address: str) -> Exception:
    """The gateway's refusal as our error; whoever answers otherwise is not the gateway."""
    from appliance.errors import KINDS, ApplianceError

    try:
        found = json.loads(said)["error"]
        if found["code"] in KINDS:
            return _error(found)
    except (ValueError, KeyError, TypeError):
        pass
    return ApplianceError(
        "not-running",
        f"What answers at {address} is not the gateway.",
        "Set a free gateway.port in the settings, then start it with `appliance up`.",
    )


def _error(found: dict[str, Any]) -> Exception:
    """The gateway's error as ours."""
    from appliance.errors import KINDS, ApplianceError

    code = found.get("code") if found.get("code") in KINDS else "internal"
    hint = found.get("hint") or "See `appliance logs serve`."
    return ApplianceError(str(code), str(found.get("message", "")).removesuffix(hint).strip(), hint)
