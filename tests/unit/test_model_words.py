"""A model in words: what the list and the page of one model say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.catalog.models import Model
from appliance.cli.model_words import COLUMNS, details, row, sentences, suggestion, summary
from appliance.config.paths import Home
from appliance.control.plan import catalogue
from appliance.errors import ApplianceError
from appliance.selector.choose import EMBEDDED
from appliance.selector.known import size_of
from appliance.selector.plan import Wishes, plan_set
from appliance.units import show_bytes
from docs.machines import computer

SHIPPED = catalogue()


def told(id: str, *, here: bool = False, chosen: bool = False) -> dict[str, str]:
    """The page of a shipped model."""
    return dict(sentences(SHIPPED.get(id), here=here, chosen=chosen))


@pytest.mark.parametrize(
    ("id", "here", "chosen", "state"),
    [
        ("qwen3-8b-q4_k_m", False, False, "not fetched"),
        ("qwen3-8b-q4_k_m", True, True, "chosen, here"),
        ("qwen3-8b-q8_0", False, False, "locked on first contact"),
        ("llama-2-7b-q4_k_m", False, False, "not fetched, needs a yes"),
        (EMBEDDED, True, False, "here, trial model"),
    ],
)
def test_a_state_is_said_in_plain_words(id: str, here: bool, chosen: bool, state: str) -> None:
    model = SHIPPED.get(id)
    line = dict(zip(COLUMNS, row(model, here=here, chosen=chosen), strict=True))
    assert line["state"] == state == told(id, here=here, chosen=chosen)["state"]


def test_the_line_of_the_list_says_size_and_licence() -> None:
    assert row(SHIPPED.get("llama-3.1-8b-q4_k_m"), here=False, chosen=False) == (
        "llama-3.1-8b-q4_k_m", "chat", "7b", 4, "4.6 GiB", "Llama 3.1 Community License (conditions)",
        "not fetched", "",
    )  # fmt: skip
    assert row(SHIPPED.get("phi-4-q8_0"), here=False, chosen=False)[4] == ""


def test_a_suggestion_says_what_there_is_to_fetch_also_where_no_size_is_pinned() -> None:
    models = plan_set(SHIPPED, computer(24, bandwidth=9), Wishes()).models
    assert any(not one.model.size for one in models)
    size = show_bytes(sum(size_of(one.model) for one in models))
    assert f"{models[0].model.title} ({models[0].model.quantization})" in suggestion(models)
    assert f"To fetch about {size} and serve them: `appliance models use`." in suggestion(models)
    assert suggestion(()) == ""
    assert suggestion(plan_set(SHIPPED, computer(24, bandwidth=1), Wishes(floor=1000)).models) == ""


def test_the_page_of_a_model_says_what_is_known_and_leaves_out_the_rest() -> None:
    page = told("gemma-4-12b-q8_0")
    assert page["attention"].startswith(
        "48 layers, 8 of them full; a window of 1,024 tokens in the others; every sixth"
    )
    assert page["attention"].endswith("16 heads, 1 or 8 of them with keys and values of their own; heads of 256 or 512")
    assert page["can"] == "use tools, think first, see pictures"
    assert page["licence"] == "Apache-2.0, free for business"
    assert not {"locking", "needs a yes", "goes with"} & set(page)
    assert told("qwen3.6-35b-a3b-q8_0")["parameters"] == "35 billion, 3 billion of them active"
    assert told("gemma-4-12b-mmproj-f16")["goes with"] == "gemma-4-12b"


def test_the_page_names_conditions_and_what_needs_a_yes() -> None:
    page = told("llama-2-7b-q4_k_m")
    assert ", for business on conditions: free below 700 million monthly users" in page["licence"]
    assert page["needs a yes"].startswith("every head keeps its own keys and values")


def test_the_page_names_what_is_still_open() -> None:
    assert told("qwen3-8b-q8_0")["locking"].startswith("SHA-256: looked up when the model is first fetched")
    assert told("phi-4-q8_0")["locking"].startswith("revision, size, SHA-256: looked up")


def test_a_file_of_the_admins_own_is_marked() -> None:
    own = replace(SHIPPED.get("qwen3-8b-q4_k_m"), local=True)
    assert row(own, here=True, chosen=False)[-2] == "here, your own"


def test_the_line_of_the_list_ends_with_what_was_measured_here() -> None:
    assert row(SHIPPED.get("phi-4-q8_0"), here=True, chosen=True, measured="20 tok/s")[-1] == "20 tok/s"


def test_a_file_that_is_made_here_says_so() -> None:
    model = SHIPPED.get("all-minilm-l6-v2-q8_0")
    assert told(model.id)["source"] == f"{model.source}, converted on this machine"
    assert details(model, here=False, chosen=False)["convert"] == "all-minilm-l6-v2"


@pytest.mark.parametrize("model", SHIPPED.models, ids=lambda model: model.id)
def test_every_model_can_be_told_as_text_and_as_json(model: Model) -> None:
    assert all(text.strip() for _, text in sentences(model, here=False, chosen=False))
    found = json.loads(json.dumps(details(model, here=False, chosen=False)))
    assert (found["id"], found["family"]["class"] or None) == (model.id, found["class"])
    assert summary(model, here=False, chosen=False).items() <= details(model, here=False, chosen=False).items()


def test_the_admins_models_stand_beside_the_settings_file(tmp_path: Path) -> None:
    home = Home(tmp_path / "appliance.toml", tmp_path / "var")
    assert catalogue(home) == SHIPPED, "a missing file adds nothing"
    home.local_models.write_text("[qwen3-8b]\nquality = 99\n")
    assert catalogue(home).get("qwen3-8b-q4_k_m").family.quality == 99
    home.local_models.write_text("[qwen3-8b]\nqualitty = 99\n")
    with pytest.raises(
        ApplianceError, match=r"models\.local\.toml, line 2: 'qwen3-8b\.qualitty' is not known"
    ) as caught:
        catalogue(home)
    assert caught.value.hint == "Correct models.local.toml, beside the settings file."


def test_an_admins_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / "appliance.toml", tmp_path / "var")
    home.local_models.write_bytes(b"\xff")
    with pytest.raises(ApplianceError) as caught:
        catalogue(home)
    assert (caught.value.code, str(home.local_models) in caught.value.sentence) == ("catalogue-bad", True)
