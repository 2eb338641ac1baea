"""A model that this machine cannot hold is refused before its engine is started."""

from __future__ import annotations

import pytest

from appliance.control.plan import catalogue, insist_on_room
from appliance.errors import ApplianceError
from appliance.selector.choose import Choice
from appliance.selector.known import estimate
from docs.machines import computer

MODEL = catalogue().get("qwen3-8b-q4_k_m")


def test_a_model_that_fits_is_started_even_while_its_memory_is_taken() -> None:
    insist_on_room(estimate(MODEL), Choice(MODEL, 8192, 2, 4), computer(16))


@pytest.mark.parametrize(("memory", "context"), [(4, 4096), (16, 40960)])
def test_a_model_that_cannot_fit_is_refused_with_what_it_needs_and_what_there_is(memory: int, context: int) -> None:
    with pytest.raises(ApplianceError, match=r"needs .* GiB of memory, and this machine can give") as caught:
        insist_on_room(estimate(MODEL), Choice(MODEL, context, 4, 4), computer(memory))
    assert (caught.value.code, caught.value.kind.exit) == ("model-too-large", 3)
