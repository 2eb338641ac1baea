"""The pages: templates, words by language, and the headers that keep them safe."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from appliance.identity.asked import Answer

DEFAULT: Final = "en"
_HTML: Final = ("Content-Type", "text/html; charset=utf-8")
_ALWAYS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    # Not "no-referrer": with that a browser says of our own forms that they come from nowhere.
    ("Referrer-Policy", "same-origin"),
)
_NO_KEEPING: Final = ("Cache-Control", "no-store")


class Pages:
    """Makes pages, in each language that has a file of words."""

    def __init__(self) -> None:
        package = resources.files("appliance.identity")
        self._templates = Environment(
            loader=FileSystemLoader(str(package / "templates")),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
        )
        self.words = {
            Path(file.name).stem: tomllib.loads(file.read_text(encoding="utf-8"))
            for file in (package / "words").iterdir()
            if file.name.endswith(".toml")
        }
        self._languages = sorted((tag, words["language"]) for tag, words in self.words.items())
        self._script = (package / "templates" / "passkeys.js").read_bytes()
        self._style = (package / "templates" / "style.css").read_bytes()

    def language(self, accepted: str, wish: str = "") -> str:
        """The language that somebody wishes, if there is one like that; else the one that their browser would have."""
        return wish if wish in self.words else chosen(accepted, self.words.keys())

    def say(self, language: str) -> dict[str, str]:
        """The words of a language."""
        return self.words[language]

    def page(self, name: str, language: str, status: int = 200, onward: str = "", **values: Any) -> Answer:
        """A page. Its form may lead on to `onward`, the origin of a program that waits, besides our own.

        One with `passkey` among its values, which is not empty, may run our script.
        """
        text = self._templates.get_template(f"{name}.html").render(
            tag=language, say=self.words[language], languages=self._languages, **values
        )
        targets = f"'self' {onward}".strip()
        policy = f"default-src 'none'; style-src 'self'; form-action {targets}; base-uri 'none'; frame-ancestors 'none'"
        if values.get("passkey"):
            policy += "; script-src 'self'"
        headers = (
            _HTML, _NO_KEEPING, ("Content-Security-Policy", policy), ("Content-Language", language),
            ("Vary", "Accept-Language, Cookie"), *_ALWAYS,
        )  # fmt: skip
        return Answer(status, text.encode(), headers)

    def style(self) -> Answer:
        """The one style sheet."""
        return _kept(self._style, "text/css; charset=utf-8")

    def script(self) -> Answer:
        """The one script: it asks the browser for a passkey. All else works without."""
        return _kept(self._script, "text/javascript; charset=utf-8")


def _kept(body: bytes, kind: str) -> Answer:
    return Answer(200, body, (("Content-Type", kind), ("Cache-Control", "max-age=3600"), *_ALWAYS))


def onward_to(location: str) -> Answer:
    """Go on to another page, with a GET."""
    return Answer(303, b"", (("Location", location), _NO_KEEPING, *_ALWAYS))


def chosen(accepted: str, known: Any) -> str:
    """The best of the known languages for an Accept-Language header (RFC 9110, 12.5.4)."""
    wishes: list[tuple[float, int, str]] = []
    for place, part in enumerate(accepted[:500].split(",")):
        tag, _, weight = part.strip().partition(";")
        found = re.fullmatch(r"\s*q=(0(?:\.\d{1,3})?|1(?:\.0{1,3})?)\s*", weight)
        wishes.append((-(float(found[1]) if found else 1.0), place, tag.strip().lower()))
    for less, _, tag in sorted(wishes):
        short = tag.partition("-")[0]
        if less < 0 and short in known:
            return short
    return DEFAULT
