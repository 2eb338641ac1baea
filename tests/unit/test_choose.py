"""Which model runs, with what share of the machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.catalog.models import Catalogue, Model
from appliance.config.settings import EngineSettings, Role
from appliance.control.plan import catalogue
from appliance.errors import ApplianceError
from appliance.hardware.facts import Hardware
from appliance.selector.choose import EMBEDDED, check_role, choose

MACHINE = Hardware("Test CPU", frozenset(), cores=6, memory=2**34)


def model(id: str, context: int = 4096) -> Model:
    """A model of the catalogue."""
    return Model(id, id.title(), "chat", "MIT", context, f"pypi:{id}==1", 10, "0" * 64, "Q4_1")


CATALOGUE = Catalogue((model(EMBEDDED), model("big", 131_072)))


def test_without_a_word_the_embedded_model_is_chosen() -> None:
    assert choose("chat", EngineSettings(), CATALOGUE, MACHINE).model.id == EMBEDDED


def test_the_model_that_the_settings_name_is_chosen() -> None:
    assert choose("chat", EngineSettings(model="big"), CATALOGUE, MACHINE).model.id == "big"


def test_a_model_that_is_not_in_the_catalogue_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(ApplianceError) as caught:
        choose("chat", EngineSettings(model="bigg"), CATALOGUE, MACHINE)
    assert caught.value.code == "model-unknown"
    assert f"{EMBEDDED}, big" in caught.value.hint


@pytest.mark.parametrize("role", ["embed", "rerank", "projector"])
def test_a_model_that_writes_no_text_cannot_chat(role: str) -> None:
    other = Catalogue((replace(model("eyes"), role=role),))
    with pytest.raises(ApplianceError, match=role) as caught:
        choose("chat", EngineSettings(model="eyes"), other, MACHINE)
    assert caught.value.code == "model-cannot-chat"


def test_no_slot_has_more_context_than_the_model_was_trained_for() -> None:
    assert choose("chat", EngineSettings(context=100_000), CATALOGUE, MACHINE).context == 4096
    assert choose("chat", EngineSettings(context=1000), CATALOGUE, MACHINE).context == 1000
    assert choose("chat", EngineSettings(model="big", context=100_000), CATALOGUE, MACHINE).context == 100_000


def test_threads_are_the_physical_cores_unless_said_otherwise() -> None:
    assert choose("chat", EngineSettings(), CATALOGUE, MACHINE).threads == 6
    assert choose("chat", EngineSettings(threads=2), CATALOGUE, MACHINE).threads == 2


PACKAGED = catalogue()


@pytest.mark.parametrize(
    ("role", "made_for", "id"),
    [("chat", "chat", EMBEDDED), ("small", "chat", EMBEDDED), ("embed", "embed", "all-minilm-l6-v2-q8_0")],
)
def test_each_role_but_reranking_has_a_model_that_comes_without_a_hub(role: Role, made_for: str, id: str) -> None:
    found = choose(role, EngineSettings(), PACKAGED, MACHINE).model
    assert (found.id, found.role, found.hub) == (id, made_for, None)


def test_reranking_without_a_model_is_refused_with_what_to_do() -> None:
    with pytest.raises(ApplianceError) as caught:
        choose("rerank", EngineSettings(), PACKAGED, MACHINE)
    assert caught.value.code == "config-bad-value"
    assert "[engines.rerank] without a model" in caught.value.sentence
    assert "models use ID --role rerank" in caught.value.hint


@pytest.mark.parametrize("role", ["embed", "rerank"])
def test_a_role_of_search_takes_only_a_model_that_is_made_for_it(role: Role) -> None:
    for made_for in ("chat", "small", "embed", "rerank", "projector"):
        other = replace(model("other"), role=made_for)
        if made_for == role:
            check_role(other, role)
            continue
        with pytest.raises(ApplianceError, match=f"for the role '{made_for}', and not for '{role}'") as caught:
            check_role(other, role)
        assert caught.value.code == "model-cannot-serve"


@pytest.mark.parametrize("role", ["chat", "small"])
def test_what_writes_may_chat_and_do_short_tasks(role: Role) -> None:
    for made_for in ("chat", "small"):
        check_role(replace(model("other"), role=made_for), role)


@pytest.mark.parametrize("role", ["embed", "rerank"])
@pytest.mark.parametrize(("trained", "context"), [(512, 512), (2048, 2048), (32_768, 2048), (0, 2048)])
def test_a_text_for_search_is_computed_in_one_piece(role: Role, trained: int, context: int) -> None:
    known = Catalogue((replace(model("search", trained), role=role),))
    found = choose(role, EngineSettings(model="search", context=8192), known, MACHINE)
    assert found.context == context
    assert found.options.micro_batch >= found.context
    assert found.load.micro_batch == found.options.micro_batch


def test_what_the_settings_say_of_slots_and_caches_is_taken() -> None:
    found = choose("chat", EngineSettings(slots=7, kv="q8_0", context=2048), CATALOGUE, MACHINE)
    assert (found.slots, found.kv, found.context) == (7, "q8_0", 2048)
    assert (found.load.slots, found.load.kv, found.load.context, found.load.micro_batch) == (7, "q8_0", 2048, 512)
