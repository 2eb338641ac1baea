"""QR codes: on a terminal of any colours, and as an element of a page."""

from __future__ import annotations

import re

import segno

from appliance.identity import qr

LINK = "https://ai.example.com:8443/welcome/GGDvyZ8H4Iadaogr1pOv47k19GSgcmQZyg5yIqzQH5E"
SQUARES = {"█": (1, 1), "▀": (1, 0), "▄": (0, 1), " ": (0, 0)}


def squares(shown: str) -> list[list[int]]:
    """The squares of a code on a terminal, from the top, with its margin."""
    rows: list[list[int]] = []
    for line in shown.splitlines():
        found = re.fullmatch("\x1b\\[30;107m([█▀▄ ]+)\x1b\\[0m", line)
        assert found, line
        pairs = [SQUARES[one] for one in found[1]]
        rows += [[upper for upper, _ in pairs], [lower for _, lower in pairs]]
    return rows


def test_a_terminal_shows_every_square_of_the_code_with_its_margin() -> None:
    code = segno.make_qr(LINK, error="l")
    size = len(list(code.matrix_iter(border=4)))
    found = squares(qr.terminal(LINK))
    assert found[:size] == [list(row) for row in code.matrix_iter(border=4)]
    assert not any(map(any, found[size:]))
    assert size < 80


def test_an_element_of_a_page_needs_neither_styles_nor_another_address() -> None:
    shown = qr.svg("otpauth://totp/x?secret=ABC&issuer=<b>")
    assert shown.startswith("<svg viewBox=")
    assert set(re.findall(r"<(\w+)", shown)) == {"svg", "path"}
    assert "style" not in shown
    assert "http" not in shown
