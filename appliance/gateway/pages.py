"""Lists a page at a time, as OpenAI's clients ask for them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from appliance.errors import ApplianceError
from appliance.http.asgi import Request
from appliance.policy.body import bad_value


def page(
    request: Request, found: list[dict[str, Any]], by: tuple[str, ...] = (), *, most: int, usual: int | None = None
) -> dict[str, Any]:
    """The page of a list that the request's query asks for: `limit`, `after`, `order` and equal values of `by`.

    `found` is oldest first, and without `order` stays so. Raises field-unknown or field-bad-value.
    """
    query = dict(parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True))
    for name in query.keys() - {"limit", "after", "order", *by}:
        short = name[:60]
        raise ApplianceError("field-unknown", f"The query '{short}' is not supported.", "Leave it out.", param=short)
    limit = query.get("limit", str(usual or most))
    if not limit.isdecimal() or len(limit) > 6 or not 1 <= int(limit) <= most:
        raise bad_value("limit", f"must be a whole number from 1 to {most}")
    if query.get("order", "asc") not in ("asc", "desc"):
        raise bad_value("order", 'must be "asc" or "desc"')
    kept = [one for one in found if all(one[name] == query[name] for name in by if name in query)]
    if query.get("order") == "desc":
        kept.reverse()
    if "after" in query:
        places = [place for place, one in enumerate(kept) if one["id"] == query["after"]]
        if not places:
            raise bad_value("after", "must be the id of one in the list")
        kept = kept[places[0] + 1 :]
    data = kept[: int(limit)]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(kept) > len(data),
    }
