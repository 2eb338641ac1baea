"""What a text completion request may say: one prompt, one answer."""

from __future__ import annotations

from typing import Final

from appliance.policy.body import EngineRequest, Form
from appliance.policy.fields import I32, LABEL, MAX_TOKENS, SHARE, TEMPERATURE, TEXT, TOP_TOKENS, logit_bias
from appliance.policy.rules import either, flag, many, number, one_of, table, text, whole

_TOKENS: Final = many(whole(0, I32), 1_000_000, least=1)

FORM: Final = Form(
    {
        "model": text(200),
        # Clients that complete many prompts at once send even one as a list.
        "prompt": either(TEXT, _TOKENS, many(either(TEXT, _TOKENS), 1, least=1)),
        "stream": flag,
        "stream_options": table({"include_usage": flag, "include_obfuscation": flag}),
        "max_tokens": MAX_TOKENS,
        "temperature": TEMPERATURE,
        "top_p": SHARE,
        "top_k": TOP_TOKENS,
        "min_p": SHARE,
        "repeat_penalty": number(0, 2),
        "presence_penalty": number(-2, 2),
        "frequency_penalty": number(-2, 2),
        "seed": whole(-1, I32),
        "stop": either(text(200), many(text(200), 16)),
        "n": one_of(1),
        "best_of": one_of(1),
        "echo": one_of(False),  # noqa: FBT003 - the value itself
        "logit_bias": logit_bias(300),
        "user": LABEL,
    },
    ("model", "prompt"),
    {
        "suffix": "the engine only goes on from a text",
        "logprobs": "the engine does not give them in this API's form; chat completions have them",
    },
)
_NOT_FOR_THE_ENGINE: Final = frozenset({"user", "best_of", "echo", "stream", "stream_options"})


def read(body: bytes) -> EngineRequest:
    """Check a request body. Raises body-not-json, field-unknown, field-missing or field-bad-value."""
    data = FORM.read(body)
    return EngineRequest(
        model=data["model"],
        streamed=data.get("stream", False),
        wants_usage=data.get("stream_options", {}).get("include_usage", False),
        fields={name: value for name, value in data.items() if name not in _NOT_FOR_THE_ENGINE},
        prompt_bytes=len(body),
        prompt="prompt",
    )
