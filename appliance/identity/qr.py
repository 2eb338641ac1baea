"""QR codes: links that a phone opens, and secrets that an authenticator app reads (pure)."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import segno

# The light margin that readers need, in squares.
_MARGIN: Final = 4
_BLACK_ON_WHITE: Final = "\x1b[30;107m"
_RESET: Final = "\x1b[0m"
_BLOCKS: Final = {(True, True): "█", (True, False): "▀", (False, True): "▄", (False, False): " "}


def terminal(text: str) -> str:
    """A QR code for a terminal, black on white whatever its colours are: two rows of squares on each line."""
    rows = [[bool(square) for square in row] for row in _made(text).matrix_iter(border=_MARGIN)]
    white = [False] * len(rows[0])
    lines = zip_longest(rows[::2], rows[1::2], fillvalue=white)
    return "".join(f"{_BLACK_ON_WHITE}{_line(upper, lower)}{_RESET}\n" for upper, lower in lines)


def svg(text: str) -> str:
    """A QR code as an SVG element, black on white, without styles: a page may carry it under a strict policy."""
    return _made(text).svg_inline(
        border=_MARGIN, dark="#000", light="#fff", omitsize=True, svgclass=None, lineclass=None
    )


def _made(text: str) -> segno.QRCode:
    # Few ever ask for one, and it takes memory.
    import segno

    return segno.make_qr(text, error="l")


def _line(upper: list[bool], lower: list[bool]) -> str:
    return "".join(_BLOCKS[pair] for pair in zip(upper, lower, strict=True))
