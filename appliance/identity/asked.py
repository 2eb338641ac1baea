"""HTTP requests as Authlib knows them, and the answers that it makes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import OAuth2Payload, OAuth2Request

from appliance.errors import ApplianceError

# More fields than any request of the protocol has.
_MOST_FIELDS: Final = 50


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...]

    @property
    def location(self) -> str | None:
        """Where it sends the browser."""
        return next((value for name, value in self.headers if name.lower() == "location"), None)


def answer(status: int, body: Any, headers: Sequence[tuple[str, str]]) -> Answer:
    """An answer, its body as JSON unless it is text already."""
    text = body if isinstance(body, str) else json.dumps(body)
    return Answer(status, text.encode(), tuple(headers))


def fields(text: str) -> dict[str, list[str]]:
    """The fields of a query or a form, each with all its values. Raises field-bad-value for one that is none."""
    found: dict[str, list[str]] = defaultdict(list)
    try:
        for name, value in parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS):
            found[name].append(value)
    except ValueError as error:
        raise ApplianceError(
            "field-bad-value", f"The request's fields cannot be read: {error}.", "Send them as a form does."
        ) from error
    return dict(found)


class Payload(OAuth2Payload):
    """The fields of a request."""

    def __init__(self, found: Mapping[str, list[str]]) -> None:
        self._found = defaultdict(list, found)
        self._first = {name: values[0] for name, values in found.items()}

    @property
    def data(self) -> dict[str, str]:
        """Each field's first value."""
        return self._first

    @property
    def datalist(self) -> defaultdict[str, list[str]]:
        """All of each field's values."""
        return self._found


class Asked(OAuth2Request):
    """One request: what stands in its address, what in its form, and its headers by their usual names."""

    def __init__(
        self,
        method: str,
        uri: str,
        query: Mapping[str, list[str]],
        form: Mapping[str, list[str]],
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(method, uri, headers=dict(headers))
        self.payload = Payload({**query, **form})
        self._args = {name: values[0] for name, values in query.items()}
        self._form = {name: values[0] for name, values in form.items()}

    @property
    def args(self) -> dict[str, str]:
        """The fields of its address."""
        return self._args

    @property
    def form(self) -> dict[str, str]:
        """The fields of its form."""
        return self._form
