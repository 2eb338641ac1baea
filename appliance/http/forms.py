"""A form with one file (multipart/form-data), read as it comes: nothing of the file is kept here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from appliance.errors import ApplianceError
from appliance.policy.body import bad_value

_LONGEST_FIELD: Final = 1024
_MOST_PARTS: Final = 10
FILE: Final = "file"


class Form:
    """Reads one form. The bytes of its part `file` go to `sink`; `fields` are the others that were allowed."""

    def __init__(self, content_type: str | None, allowed: frozenset[str], sink: Callable[[bytes], None]) -> None:
        """Raises form-unreadable when it is no form at all."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise _unreadable("its content type is not multipart/form-data with a boundary")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self._allowed = allowed
        self._sink = sink
        self._header = (bytearray(), bytearray())
        self._name = ""
        self._value = bytearray()
        self._parts = 0
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_part_data": self._data,
                    "on_part_end": self._part_end,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _unreadable(str(error)) from error

    def feed(self, data: bytes) -> None:
        """The next bytes of the body. Raises form-unreadable, field-unknown or field-bad-value."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _unreadable(str(error).rstrip(".")) from error

    def close(self) -> None:
        """The body is over. Raises form-unreadable or field-missing when the form is not."""
        if not self._ended:
            raise _unreadable("it ends in the middle")
        if self.filename is None:
            raise ApplianceError(
                "field-missing", f"The form lacks '{FILE}'.", "Send the file as a part of that name.", param=FILE
            )

    def _begin(self) -> None:
        self._name = ""
        self._value.clear()
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise _unreadable(f"it has more than {_MOST_PARTS} parts")

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _header_end(self) -> None:
        name, value = (bytes(part) for part in self._header)
        for part in self._header:
            part.clear()
        if name.lower() != b"content-disposition":
            return
        _, options = parse_options_header(value)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name == FILE:
            if self.filename is not None:
                raise bad_value(FILE, "comes twice")
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")[:255] or "file"
        elif self._name not in self._allowed:
            short = self._name[:60]
            raise ApplianceError(
                "field-unknown", f"The field '{short}' is not supported.", "Leave it out.", param=short
            )

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == FILE:
            self._sink(data[start:end])
            return
        self._value.extend(data[start:end])
        if len(self._value) > _LONGEST_FIELD:
            raise bad_value(self._name, f"must have at most {_LONGEST_FIELD} bytes")

    def _part_end(self) -> None:
        if not self._name:
            raise _unreadable("a part of it has no name")
        if self._name != FILE:
            self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self._ended = True


def _unreadable(why: str) -> ApplianceError:
    return ApplianceError(
        "form-unreadable",
        f"The request body is not a form with a file: {why}.",
        "Send multipart/form-data with the parts 'purpose' and 'file'; every OpenAI client does.",
    )
