"""Forms with a file, read in whatever pieces they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ApplianceError
from appliance.http.forms import Form

TYPE = "multipart/form-data; boundary=xyz"


def part(name: str, value: bytes, more: str = "") -> bytes:
    """One part of a form."""
    return f'--xyz\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A whole form."""
    return b"".join(parts) + b"--xyz--\r\n"


def read(data: bytes, sizes: tuple[int, ...] = (), kind: str | None = TYPE) -> tuple[Form, bytes]:
    """A form read in pieces of these sizes, and the file."""
    taken = bytearray()
    made = Form(kind, frozenset({"purpose"}), taken.extend)
    for size in sizes:
        made.feed(data[:size])
        data = data[size:]
    made.feed(data)
    made.close()
    return made, bytes(taken)


@given(st.binary(max_size=300), st.lists(st.integers(1, 60), max_size=20))
def test_a_file_comes_as_it_was_sent_in_whatever_pieces(content: bytes, sizes: list[int]) -> None:
    content = content.replace(b"--xyz", b"")
    data = form(part("purpose", b"batch"), part("file", content, '; filename="a b.jsonl"'))
    made, taken = read(data, tuple(sizes))
    assert (taken, made.fields, made.filename) == (content, {"purpose": "batch"}, "a b.jsonl")


@pytest.mark.parametrize(
    ("data", "kind", "code"),
    [
        (form(part("file", b"x")), None, "form-unreadable"),
        (form(part("file", b"x")), "application/json", "form-unreadable"),
        (form(part("file", b"x")), "multipart/form-data", "form-unreadable"),
        (b"{}", TYPE, "form-unreadable"),
        (part("file", b"x"), TYPE, "form-unreadable"),
        (form(b"--xyz\r\nx: y\r\n\r\nz\r\n"), TYPE, "form-unreadable"),
        (form(*[part("purpose", b"batch")] * 11), TYPE, "form-unreadable"),
        (form(part("purpose", b"batch")), TYPE, "field-missing"),
        (form(part("file", b"x"), part("file", b"y")), TYPE, "field-bad-value"),
        (form(part("purpose", b"x" * 2000), part("file", b"y")), TYPE, "field-bad-value"),
        (form(part("expires_after[anchor]", b"created_at"), part("file", b"y")), TYPE, "field-unknown"),
    ],
)
def test_what_is_no_form_with_a_file_is_refused(data: bytes, kind: str | None, code: str) -> None:
    with pytest.raises(ApplianceError) as caught:
        read(data, (), kind)
    assert caught.value.code == code


def test_a_file_without_a_name_has_one() -> None:
    assert read(form(part("file", b"x")))[0].filename == "file"
