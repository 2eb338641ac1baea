"""A row's source as a value."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.artifacts.sources import Local, Package, Source, parse
from appliance.downloads.hub import HubFile
from appliance.downloads.web import Remote
from appliance.errors import ApplianceError

COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (f"hf:maker/model@{COMMIT}/model.gguf", HubFile("maker/model", COMMIT, "model.gguf")),
        ("hf:maker/model@main/deep/er.gguf", HubFile("maker/model", "main", "deep/er.gguf")),
        ("hf:maker/model@/a@b.gguf", HubFile("maker/model", "", "a@b.gguf")),
        ("hf:maker/model/a.gguf", HubFile("maker/model", "", "a.gguf")),
        ("https://models.example/a.gguf", Remote("https://models.example/a.gguf")),
        ("http://localhost:8000/a.gguf", Remote("http://localhost:8000/a.gguf")),
        ("file:/media/stick", Local(Path("/media/stick"))),
        ("file:///media/my stick/a.gguf", Local(Path("/media/my stick/a.gguf"))),
        ("pypi:name==1.0", Package("name==1.0")),
    ],
)
def test_what_a_row_may_say(text: str, source: Source) -> None:
    assert parse(text) == source


@pytest.mark.parametrize(
    "text", ["", "hf:", "hf:model/a.gguf", "http://10.0.0.1/a.gguf", "https:///a.gguf", "file:a.gguf", "s3://a/b"]
)
def test_what_a_row_may_not_say(text: str) -> None:
    with pytest.raises(ApplianceError) as caught:
        parse(text)
    assert caught.value.code == "source-not-allowed"


@pytest.mark.parametrize(("revision", "pinned"), [(COMMIT, True), ("main", False), ("", False), (COMMIT[1:], False)])
def test_only_a_whole_commit_stands_still(revision: str, pinned: bool) -> None:
    assert HubFile("maker/model", revision, "a.gguf").is_pinned is pinned
