"""The body of a request, whatever its endpoint: a JSON object of listed fields, each within its range."""

from __future__ import annotations

import gc
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from appliance.errors import ApplianceError
from appliance.policy.rules import Rule, Schema, object_schema

# A body of fewer bytes is read in a moment, whatever it says.
_SMALL: Final = 1 << 16
# The most values in a larger one. Each costs time, in which nobody else is served, and legitimate requests are long
# because of their texts: what has more is made to be slow.
_MOST_VALUES: Final = 300_000
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """A request that kept every rule. `fields` goes to the engine, `prompt_bytes` is a size for estimates.

    `prompt` names the field that holds what the engine has to read. `kept` is what the shape of the
    answer needs to know of the request, by the request's own names.
    """

    model: str
    streamed: bool
    wants_usage: bool
    fields: dict[str, Any]
    prompt_bytes: int
    prompt: str = "messages"
    kept: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Form:
    """What an endpoint's request may say: its `fields`, and those that are `needed`.

    `refused` are fields that official clients know and that are not taken here, each with the reason.
    """

    fields: Mapping[str, Rule]
    needed: tuple[str, ...]
    refused: Mapping[str, str] = field(default_factory=dict)

    def read(self, body: bytes) -> dict[str, Any]:
        """The fields that were given, checked.

        Raises body-not-json, body-too-complex, field-unknown, field-missing or field-bad-value.
        """
        try:
            data = orjson.loads(body) if len(body) < _SMALL else _read_large(body)
        except orjson.JSONDecodeError as error:
            raise _not_json(str(error)) from error
        if type(data) is not dict:
            raise _not_json("it is not an object")
        for name in self.needed:
            if name not in data:
                raise _missing(name)
        rules, needed = self.fields, self.needed
        given = {}
        for name, value in data.items():
            rule = rules.get(name)
            # Official clients send null for "not given".
            if value is None and name not in needed and (rule is not None or name in self.refused):
                continue
            if rule is None or rule.check(value) is not None:
                raise self._refusal(name, rule, value)
            given[name] = value
        return given

    @property
    def schema(self) -> Schema:
        """The JSON schema of a body. Whatever is not needed may be null, which stands for left out."""
        properties: dict[str, Schema] = {
            name: rule.schema if name in self.needed else {"anyOf": [rule.schema, {"type": "null"}]}
            for name, rule in self.fields.items()
        }
        unsupported = {
            name: {"type": "null", "description": f"Not supported: {why}."} for name, why in self.refused.items()
        }
        return object_schema({**properties, **unsupported}, self.needed)

    def _refusal(self, name: str, rule: Rule | None, value: Any) -> ApplianceError:
        """Why a field is refused."""
        if rule is not None:
            return bad_value(name, f"{rule.check(value)}")
        short = name[:60]
        why = self.refused.get(name)
        return ApplianceError(
            "field-unknown",
            f"The field '{short}' is not supported{f': {why}' if why else ''}.",
            "Leave it out; docs/reference/api.md lists the fields.",
            param=short,
        )


def _read_large(body: bytes) -> Any:
    """The value of a large body, without the garbage collector looking through it again and again as it grows."""
    if _values(body) > _MOST_VALUES:
        raise ApplianceError(
            "body-too-complex",
            f"The request body has more than {_MOST_VALUES:,} values.",
            "Send it in several requests; long texts are no problem.",
        )
    collecting = gc.isenabled()
    gc.disable()
    try:
        return orjson.loads(body)
    finally:
        if collecting:
            gc.enable()


def _values(body: bytes) -> int:
    """About how many values a body has, or how many of its strings if those are too many: without parsing it."""
    strings = (body.count(b'"') - body.count(b'\\"')) // 2
    if strings > _MOST_VALUES or _signs(body) <= _MOST_VALUES:
        return strings
    # Texts may hold as many commas as they like.
    return _signs(_STRING.sub(b"", body))


def _signs(text: bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def bad_value(name: str, why: str) -> ApplianceError:
    """The error for a field whose value is not right; `why` goes on from the field's name."""
    return ApplianceError(
        "field-bad-value", f"The field '{name}' {why}.", "Correct it and send the request again.", param=name
    )


def estimate_tokens(prompt_bytes: int) -> int:
    """Prompt tokens where no engine has counted them: four bytes each, the usual rule of thumb, rounded up."""
    return math.ceil(prompt_bytes / 4)


def _missing(name: str) -> ApplianceError:
    return ApplianceError(
        "field-missing", f"The request lacks '{name}'.", "See docs/reference/api.md for the fields.", param=name
    )


def _not_json(why: str) -> ApplianceError:
    return ApplianceError("body-not-json", f"The request body is not a JSON object: {why}.", "Send a JSON object.")
