"""The catalogue that is shipped: sound, and pinned wherever it says so."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from appliance.catalog.models import Catalogue, Model, parse, problems
from appliance.catalog.rules import ROLES
from appliance.selector.choose import EMBEDDED
from tests.support.box import ROOT

TEXT = (resources.files("appliance.catalog") / "models.toml").read_text()
SHIPPED: Catalogue = parse(TEXT)


def test_the_shipped_catalogue_is_sound() -> None:
    assert problems(TEXT) == []
    assert SHIPPED.local == frozenset()
    assert (ROOT / "models.toml").resolve() == ROOT / "appliance/catalog/models.toml"


def test_the_embedded_model_keeps_its_name_and_comes_first() -> None:
    first = SHIPPED.models[0]
    assert (first.id, first.trial, first.role, first.context) == (EMBEDDED, True, "chat", 8192)
    assert [model.id for model in SHIPPED.models if model.trial] == [EMBEDDED]


@pytest.mark.parametrize("model", [model for model in SHIPPED.models if model.is_locked], ids=lambda model: model.id)
def test_a_pinned_file_is_pinned_whole(model: Model) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", model.sha256)
    assert model.size > 1_000_000
    assert model.hub is None or re.fullmatch(r"[0-9a-f]{40}", model.hub.revision)


def test_more_than_fifty_files_are_pinned_and_no_two_are_the_same() -> None:
    pinned = [model for model in SHIPPED.models if model.is_locked]
    assert len(pinned) > 50
    hashes = [model.sha256 for model in SHIPPED.models if model.sha256]
    assert len(set(hashes)) == len(hashes)
    assert len({model.source for model in SHIPPED.models}) == len(SHIPPED.models)


def test_a_box_without_a_hub_can_chat_and_embed() -> None:
    carried = {model.role: model.id for model in SHIPPED.models if model.hub is None}
    assert carried == {"chat": EMBEDDED, "embed": "all-minilm-l6-v2-q8_0"}
    assert all(model.is_locked for model in SHIPPED.models if model.hub is None)


@pytest.mark.parametrize("size_class", ["4b", "7b", "13b", "30b"])
def test_each_class_has_every_width_and_a_pinned_file(size_class: str) -> None:
    found = [model for model in SHIPPED.by_role("chat") if model.family.size_class == size_class]
    assert {4, 5, 6, 8} <= {model.bits for model in found}
    assert any(model.is_locked for model in found)


def test_every_role_has_a_pinned_file() -> None:
    unpinned = {role for role in ROLES if not any(model.is_locked for model in SHIPPED.by_role(role))}
    assert unpinned == set()


@pytest.mark.parametrize("model", SHIPPED.models, ids=lambda model: model.id)
def test_the_bits_are_those_that_the_quantization_names(model: Model) -> None:
    found = re.search(r"(?:^|-)(?:MXFP|BF|F|Q)(\d+)", model.quantization)
    assert found
    assert int(found[1]) == model.bits


def test_chat_models_stand_in_one_order_of_quality() -> None:
    ranks = {model.family.id: model.family.quality for model in SHIPPED.by_role("chat")}
    assert len(set(ranks.values())) == len(ranks)


def test_a_layer_counts_as_full_where_its_heads_say_so() -> None:
    """The lists of the models with a sliding window agree with their count of full layers."""
    lists = {model.family.id: model.family for model in SHIPPED.models if isinstance(model.family.kv_heads, tuple)}
    assert set(lists) == {"gemma-4-12b", "gemma-4-26b-a4b", "gemma-4-31b"}
    for family in lists.values():
        assert isinstance(family.kv_heads, tuple)
        assert isinstance(family.head_size, tuple)
        assert family.head_size.count(512) == family.full_layers
        assert family.kv_heads.count(min(family.kv_heads)) == family.full_layers


def test_full_multi_head_attention_is_told() -> None:
    assert {model.family.id for model in SHIPPED.models if model.needs_consent} == {"llama-2-7b", "smollm2-1.7b"}


def test_a_projector_goes_with_a_model_that_sees_and_such_a_model_has_one() -> None:
    seeing = {model.family.id for model in SHIPPED.models if "vision" in model.family.abilities}
    assert {other for model in SHIPPED.by_role("projector") for other in model.family.goes_with} == seeing


def test_layers_that_are_not_full_have_a_window_or_are_said_to_keep_a_state() -> None:
    for family in {model.family.id: model.family for model in SHIPPED.models}.values():
        assert family.full_layers <= family.layers
        assert family.full_layers == family.layers or family.hybrid, family.id
