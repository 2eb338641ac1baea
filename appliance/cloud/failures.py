"""What a provider's refusal or failure means to the person who asked: pure, and never with the provider's key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from appliance.errors import ApplianceError
from appliance.units import show_duration

# Of a provider's own words at most this much is repeated.
_LONGEST: Final = 500
_RETRY_S: Final = 30
_LATER: Final = "Try again in a moment, or use a model of this box."
_ADMIN: Final = "Your admin finds the cause with `appliance cloud status`."

# What the types of Anthropic's errors are as HTTP statuses; OpenAI's codes that say the same.
_STATUS_OF: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


@dataclass(frozen=True, slots=True)
class Failures:
    """Makes the errors of one call. `key` is what must not stand in any of them."""

    provider: str
    key: str = field(default="", repr=False)

    def answered(self, status: int, said: bytes, retry_after_s: int | None) -> ApplianceError:
        """The error for an answer that is not a 200."""
        message, kind = self._words(said)
        if 300 <= status < 400:
            return ApplianceError(
                "cloud-refused",
                f"The provider '{self.provider}' sent us elsewhere (HTTP {status}), and redirects are never followed.",
                "Your admin corrects the provider's `url` in the settings.",
            )
        return self._of(status, message, kind, retry_after_s)

    def reported(self, event: Any) -> ApplianceError:
        """The error for a failure that was told in mid-answer, as parsed JSON."""
        message, kind = self._told(event)
        status = _STATUS_OF.get(kind, 0)
        if status:
            return self._of(status, message, kind, None)
        return ApplianceError("cloud-failed", f"The provider '{self.provider}' failed: {message}.", _LATER)

    def cut_off(self) -> ApplianceError:
        """The error for an answer without its end."""
        return ApplianceError(
            "cloud-failed", f"The provider '{self.provider}' stopped in the middle of the answer.", _LATER
        )

    def not_understood(self, what: str) -> ApplianceError:
        """The error for an answer that is none."""
        return ApplianceError(
            "cloud-failed", f"The provider '{self.provider}' answered with {self._clean(what)}.", _ADMIN
        )

    def silent(self, seconds: float) -> ApplianceError:
        """The error for a provider that has said nothing for too long."""
        return self._unavailable(f"has said nothing for {show_duration(seconds)}")

    def unreachable(self, why: str) -> ApplianceError:
        """The error for a provider that no connection reaches."""
        return self._unavailable(f"cannot be reached: {self._clean(why)}")

    def _of(self, status: int, message: str, kind: str, retry_after_s: int | None) -> ApplianceError:
        name = self.provider
        if status in (401, 403):
            # Providers repeat parts of the key here, so their words are not repeated.
            return ApplianceError(
                "cloud-key-refused",
                f"The provider '{name}' does not accept our key (HTTP {status}).",
                f"Your admin gives another with `appliance cloud key {name}`.",
            )
        if status in (402, 429):
            return ApplianceError(
                "cloud-limit",
                f"The limit at the provider '{name}' is reached: {message}.",
                "Try again later, or use a model of this box.",
                retry_after_s=retry_after_s or _RETRY_S,
            )
        if _is_too_long(status, message, kind):
            return ApplianceError(
                "context-too-long",
                f"This conversation is too long for the model: {message}.",
                "Shorten it, or start a new one.",
                param="messages",
            )
        if 400 <= status < 500:
            return ApplianceError(
                "cloud-refused",
                f"The provider '{name}' did not accept the request (HTTP {status}): {message}.",
                "Change the request, or use a model of this box.",
            )
        return self._unavailable(f"cannot answer now (HTTP {status}): {message}", retry_after_s)

    def _unavailable(self, what: str, retry_after_s: int | None = None) -> ApplianceError:
        return ApplianceError(
            "cloud-unavailable",
            f"The provider '{self.provider}' {what}.",
            _LATER,
            retry_after_s=retry_after_s or _RETRY_S,
        )

    def _words(self, said: bytes) -> tuple[str, str]:
        """A provider's message, without its full stop, and the type it gives the error."""
        try:
            return self._told(orjson.loads(said))
        except orjson.JSONDecodeError:
            return self._clean(said.decode("utf-8", "replace")), ""

    def _told(self, event: Any) -> tuple[str, str]:
        error = event.get("error") if isinstance(event, dict) else None
        if not isinstance(error, dict):
            return self._clean(str(error or "")), ""
        message, kind = str(error.get("message") or ""), str(error.get("type") or "")
        if kind not in _STATUS_OF and error.get("code") in _STATUS_OF:
            kind = str(error["code"])
        return self._clean(message), kind

    def _clean(self, words: str) -> str:
        """Words on one line, without the key, the full stop and whatever is too long."""
        if self.key:
            words = words.replace(self.key, "***")
        return " ".join(words.split()).rstrip(".")[:_LONGEST] or "no reason given"


def _is_too_long(status: int, message: str, kind: str) -> bool:
    words = message.lower()
    return status == 400 and (
        "context length" in words
        or "context window" in words
        or "too long" in words
        or kind.startswith("exceed_context")
    )
