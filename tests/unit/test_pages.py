"""The words of the pages are there in every language."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from appliance.identity import pages
from appliance.identity.pages import Pages, chosen

WORDS = Pages().words
TEMPLATES = Path(pages.__file__).parent / "templates"


def names(text: str) -> set[str | None]:
    """What is put into a sentence."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("language", WORDS)
def test_a_language_says_all_that_the_others_say(language: str) -> None:
    assert WORDS[language].keys() == WORDS["en"].keys()
    assert {key: names(text) for key, text in WORDS[language].items()} == {
        key: names(text) for key, text in WORDS["en"].items()
    }


def test_every_word_of_a_template_is_there_and_none_is_left_over() -> None:
    templates = "\n".join(file.read_text() for file in TEMPLATES.glob("*.html"))
    code = "\n".join(file.read_text() for file in TEMPLATES.parent.glob("*.py"))
    used = set(re.findall(r"\bsay\.(\w+)", templates))
    assert used <= WORDS["en"].keys()
    built = {"owner_title", "owner_text", "new_title", "new_text", "welcome_text"}
    built |= {"device_allowed_text", "device_refused_text"}
    # Not on a page: the command line takes them for mail.
    built |= {"mail_invite", "mail_invite_title", "mail_reset", "mail_reset_title"}
    assert {key for key in WORDS["en"] if key not in used and f'"{key}"' not in code} == built


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("de", "de"),
        ("fr, de;q=0.1", "de"),
        ("en;q=0.1, de;q=0.2", "de"),
        ("de;q=0, en", "en"),
        ("*", "en"),
        (",;q=", "en"),
    ],
)
def test_the_browsers_wish_decides(accepted: str, language: str) -> None:
    assert chosen(accepted, WORDS) == language
