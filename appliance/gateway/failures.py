"""What an engine's refusal or failure means to the person who asked."""

from __future__ import annotations

import orjson

from appliance.deployment import Engine
from appliance.engine.connection import Connection
from appliance.errors import ApplianceError

# Of an engine's own words at most this much is repeated.
_LONGEST = 500
_MOST_BYTES = 64 * 1024


async def refusal(answer: Connection, engine: Engine, prompt: str) -> ApplianceError:
    """The error for an answer that is not a 200. `prompt` is the field that holds what the engine had to read."""
    said = await answer.read(_MOST_BYTES)
    message, kind = _words(said)
    status = answer.status
    too_long = kind == "exceed_context_size_error" or ("context" in message and status == 400)
    # What embeds or sorts must take a text at one go.
    if too_long or "too large to process" in message:
        what = "conversation" if prompt == "messages" else "text"
        return ApplianceError(
            "context-too-long",
            f"This {what} is too long for the model: {message}.",
            "Shorten it, or start a new one.",
            param=prompt,
        )
    if status in (400, 404, 413, 422, 501):
        return ApplianceError(
            "engine-refused", f"The engine did not accept the request: {message}.", "Change the request."
        )
    if status in (429, 503):
        return ApplianceError(
            "engine-unavailable",
            f"The engine of '{engine.model}' is busy or starting.",
            "Try again in a moment.",
            retry_after_s=5,
        )
    return ApplianceError(
        "engine-failed",
        f"The engine of '{engine.model}' answered {status}: {message}.",
        "Your admin finds more with `appliance logs`.",
    )


def failure_of(event: bytes, engine: Engine) -> ApplianceError:
    """The error for an engine that reports a failure in mid-answer."""
    message, _ = _words(event.partition(b": ")[2] or event)
    return ApplianceError(
        "engine-failed",
        f"The engine of '{engine.model}' failed: {message}.",
        "Try again; your admin finds more with `appliance logs`.",
    )


def stopped(engine: Engine) -> ApplianceError:
    """The error for an engine that went away in mid-answer."""
    return ApplianceError(
        "engine-stopped",
        f"The engine of '{engine.model}' stopped in the middle of the answer.",
        "It is started again by itself: send the request again in a moment.",
        retry_after_s=2,
    )


def _words(said: bytes) -> tuple[str, str]:
    """An engine's message, without its full stop, and the type it gives the error."""
    try:
        error = orjson.loads(said)["error"]
        message, kind = str(error["message"]), str(error.get("type", ""))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        message, kind = said.decode("utf-8", "replace"), ""
    return message.strip().rstrip(".")[:_LONGEST] or "no reason given", kind
