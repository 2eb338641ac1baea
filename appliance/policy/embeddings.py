"""What an embeddings request may say."""

from __future__ import annotations

from typing import Final

from appliance.policy.body import EngineRequest, Form
from appliance.policy.fields import I32, LABEL, TEXT
from appliance.policy.rules import either, many, one_of, text, whole

_MOST_INPUTS: Final = 2_048
_TOKENS: Final = many(whole(0, I32), 100_000, least=1)

FORM: Final = Form(
    {
        "model": text(200),
        "input": either(TEXT, many(TEXT, _MOST_INPUTS, least=1), _TOKENS, many(_TOKENS, _MOST_INPUTS, least=1)),
        "encoding_format": one_of("float", "base64"),
        "dimensions": whole(1, 65_536),
        "user": LABEL,
    },
    ("model", "input"),
)


def read(body: bytes) -> EngineRequest:
    """Check a request body. Raises body-not-json, field-unknown, field-missing or field-bad-value."""
    data = FORM.read(body)
    data.pop("user", None)
    return EngineRequest(
        model=data["model"],
        streamed=False,
        wants_usage=False,
        fields=data,
        prompt_bytes=len(body),
        prompt="input",
    )
