"""Rules that several endpoints share."""

from __future__ import annotations

from typing import Any, Final

from appliance.policy.body import bad_value
from appliance.policy.rules import Rule, any_json, either, flag, nothing, number, one_of, text, whole

LONGEST_TEXT: Final = 8_000_000
TEXT: Final = text(LONGEST_TEXT)
NAME: Final = text(200)
DESCRIPTION: Final = text(20_000)
SCHEMA: Final = any_json(5_000)
LABEL: Final = text(512)
MAX_TOKENS: Final = whole(1, 1_048_576)
TOP_TOKENS: Final = whole(0, 10_000)
EFFORT: Final = one_of("none", "minimal", "low", "medium", "high", "xhigh", "max")
VERBOSITY: Final = one_of("low", "medium", "high")
MAYBE: Final = either(flag, nothing)
TEMPERATURE: Final = number(0, 2)
SHARE: Final = number(0, 1)
I32: Final = 2**31 - 1

# Parts of a conversation that only some models take; none that is served here does.
NO_IMAGES: Final = "no model that is served here takes images"
NO_FILES: Final = "send the text of the file instead"
NOT_KEPT: Final = "nothing is kept here between requests; send the whole conversation"


def logit_bias(most: int) -> Rule:
    """Weights for tokens by their ids, at most `most`."""
    words = f"an object of at most {most} tokens"
    bias = number(-100, 100)

    def check(value: Any) -> str | None:
        if type(value) is not dict or len(value) > most:
            return f"must be {words}"
        for token, weight in value.items():
            if not (token.isascii() and token.isdigit() and len(token) <= 6):
                return f"has the key '{token[:20]}', which is no token id"
            wrong = bias.check(weight)
            if wrong:
                return wrong
        return None

    schema = {
        "type": "object",
        "maxProperties": most,
        "propertyNames": {"pattern": "^[0-9]{1,6}$"},
        "additionalProperties": bias.schema,
    }
    return Rule(check, f"{words}: the key a token id, the value {bias.words}", schema)


def choose_tool(fields: dict[str, Any], name: str) -> None:
    """Have the engine call just this one of a request's tools. Raises field-bad-value.

    llama-server knows no way to name one; with no other on offer and a call required, it is the one.
    """
    chosen = [tool for tool in fields.get("tools", ()) if tool["function"]["name"] == name]
    if not chosen:
        raise bad_value("tool_choice", f"names the tool '{name[:60]}', which is not among 'tools'")
    fields["tools"] = chosen[:1]
    fields["tool_choice"] = "required"
