"""What a request to sort documents by their fit to a query may say."""

from __future__ import annotations

from typing import Any, Final

from appliance.policy.body import EngineRequest, Form
from appliance.policy.fields import LABEL, TEXT
from appliance.policy.rules import either, many, one_of, table, text, whole

_MOST: Final = 2_048
_DOCUMENT: Final = either(TEXT, table({"text": TEXT}, "text"))

FORM: Final = Form(
    {
        "model": text(200),
        "query": TEXT,
        "documents": many(_DOCUMENT, _MOST, least=1),
        "top_n": whole(1, _MOST),
        "return_documents": one_of(False),  # noqa: FBT003 - the value itself
        "user": LABEL,
    },
    ("model", "query", "documents"),
    {"max_tokens_per_doc": "a document that is too long is refused", "rank_fields": "documents are texts"},
)


def read(body: bytes) -> EngineRequest:
    """Check a request body. Raises body-not-json, field-unknown, field-missing or field-bad-value."""
    data = FORM.read(body)
    fields: dict[str, Any] = {name: data[name] for name in ("model", "query", "top_n") if name in data}
    fields["documents"] = [one if type(one) is str else one["text"] for one in data["documents"]]
    return EngineRequest(
        model=data["model"],
        streamed=False,
        wants_usage=False,
        fields=fields,
        prompt_bytes=len(body),
        prompt="documents",
    )
