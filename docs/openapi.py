"""The API's OpenAPI document as a file of docs/reference."""

from __future__ import annotations

import json

from appliance.gateway.app import routes
from appliance.gateway.box import Box
from appliance.gateway.openapi import document


def openapi_page() -> str:
    """The document that `GET /openapi.json` answers with. The routes are only read, so their box stays empty."""
    return json.dumps(document(routes(object.__new__(Box))), indent=1, ensure_ascii=False) + "\n"
