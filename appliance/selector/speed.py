"""How fast a model will write: pure.

To write a token all active weights and the conversation's cache are read once, so memory bandwidth is
the limit; what is measured on the machine later takes this estimate's place.
"""

from __future__ import annotations

from typing import Final

from appliance.catalog.models import Model
from appliance.catalog.shape import Shape
from appliance.selector.memory import Load, kv_bytes

# Of the bandwidth, what writing reaches; the rest of a step is spent computing and waiting.
_REACHED_CPU: Final = 0.75
_REACHED_GPU: Final = 0.6
# A processor computes several conversations hardly faster than one; a GPU reads the weights once for all.
_TOGETHER_CPU: Final = 1.5
# Taken where no bandwidth is known: two channels of DDR4, and a small graphics card.
_BANDWIDTH_CPU: Final = 30_000_000_000
_BANDWIDTH_GPU: Final = 200_000_000_000


def tokens_per_second(
    model: Model, shape: Shape, load: Load, bandwidth: int | None, *, on_gpu: bool
) -> tuple[float, float]:
    """Tokens a second for one user alone, and for all slots together. `bandwidth` in bytes a second, if known."""
    family = model.family
    active = family.active_parameters / family.parameters if family.active_parameters else 1.0
    cache = kv_bytes(shape, load) / load.slots / 2
    weights = shape.file_size * active
    reached = (bandwidth or (_BANDWIDTH_GPU if on_gpu else _BANDWIDTH_CPU)) * (_REACHED_GPU if on_gpu else _REACHED_CPU)
    alone = reached / (weights + cache)
    if on_gpu:
        return alone, load.slots * reached / (weights + cache * load.slots)
    return alone, alone * min(load.slots, _TOGETHER_CPU)
