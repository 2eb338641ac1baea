"""`appliance models list` and `show`, as a person and a script meet them."""

from __future__ import annotations

import pytest

from appliance.selector.choose import EMBEDDED
from tests.support.box import Box

pytestmark = pytest.mark.slow


def test_the_list_has_what_is_here_or_chosen_and_says_how_to_see_the_rest(box: Box) -> None:
    done = box.run("models", "list")
    head, only = done.stdout.splitlines()
    assert head.split() == ["id", "for", "class", "bits", "size", "licence", "state", "measured", "here"]
    assert only.startswith(EMBEDDED)
    assert only.endswith("chosen, not fetched, trial model")
    assert done.stderr.endswith("more are in the catalogue: `appliance models list --all`.\n")


def test_all_lists_the_catalogue_and_role_a_part_of_it(box: Box) -> None:
    everything = box.document("models", "list", "--all")
    part = box.document("models", "list", "--all", "--role", "embed")
    assert part == [model for model in everything if model["role"] == "embed"]
    assert 0 < len(part) < len(everything)
    assert {model["state"] for model in everything} == {"not fetched", "locked on first contact"}


def test_show_tells_one_model(box: Box) -> None:
    assert "\nlicence     Apache-2.0, free for business\n" in box.run("models", "show", "qwen3-8b-q4_k_m").stdout
    found = box.document("models", "show", "qwen3-8b-q4_k_m")
    assert (found["locked"], found["family"]["kv_heads"]) == (True, 8)
    assert box.document("models", "show", "qwen3-8b", code=2)["error"]["code"] == "model-unknown"


def test_a_bad_file_of_the_admins_own_is_wrong_use_with_file_line_and_key(box: Box) -> None:
    (box.folder / "models.local.toml").write_text("[qwen3-8b]\nheads = 0\n")
    found = box.document("models", "list", code=2)["error"]
    assert found["code"] == "catalogue-bad"
    assert "models.local.toml, line 2: 'qwen3-8b.heads' must be a whole number from 1 up" in found["message"]
