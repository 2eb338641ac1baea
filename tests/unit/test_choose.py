"""Which model runs, with what share of the machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.catalog.models import Catalogue, Model
from appliance.config.settings import EngineSettings
from appliance.errors import ApplianceError
from appliance.hardware.facts import Hardware
from appliance.selector.choose import EMBEDDED, choose

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
