"""What the pages of docs/reference are made with."""

from __future__ import annotations

from typing import Any

HEAD = "<!-- Made by `python -m docs.generate`; changes by hand are lost. -->\n\n"


def table(head: tuple[str, ...], rows: list[Any]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def text(described: Any) -> str:
    """A docstring's text in one line."""
    return " ".join((described.__doc__ or "").split())
