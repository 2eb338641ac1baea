"""A model's shape from its row in the catalogue, for planning before its file is here: pure.

What no source states is taken on the large side, so that the plan made with the file in hand is seldom larger.
"""

from __future__ import annotations

from typing import Final

from appliance.catalog.gguf import Tensor
from appliance.catalog.models import Family, Model
from appliance.catalog.shape import Cache, Layer, Shape

# Bits for each weight, as llama.cpp's documentation gives them for an 8B model.
_BITS: Final = {"Q4_0": 4.66, "MXFP4": 4.7, "Q4_K_M": 4.9, "Q4_K_XL": 5.0, "Q5_K_M": 5.71, "Q6_K": 6.57, "Q8_0": 8.51}
_MOST_BITS: Final = 16.1
# Mixed types: how much of the file is in the type that is named first, at most.
_MAIN_SHARE: Final = 0.85
_HEAD_SIZE: Final = 128
# Of a mixture of experts, those that work on one token at most.
_EXPERTS: Final = 8
_EMBEDDING: Final = 4096
_VOCABULARY: Final = 262_144
# Numbers that a layer with a state keeps, for each of its embedding's: two inner widths of 128 and a convolution.
_STATE_FACTOR: Final = 2 * 128 + 8


def size_of(model: Model) -> int:
    """The file's size in bytes: the pinned one, or what its parameters come to at its bits."""
    if model.size:
        return model.size
    return int(model.family.parameters * 1e9 * _BITS.get(_plain(model.quantization), _MOST_BITS) / 8)


def estimate(model: Model) -> Shape:
    """The shape that the catalogue lets expect."""
    family = model.family
    embedding = family.embedding or _EMBEDDING
    vocabulary = family.vocabulary or _VOCABULARY
    head = _first(family.head_size) or max(_HEAD_SIZE, embedding // max(1, family.heads))
    return Shape(
        architecture="",
        context=model.context,
        embedding=embedding,
        feed_forward=(family.feed_forward or 4 * embedding) * (_EXPERTS if family.active_parameters else 1),
        queries=family.heads * head or embedding,
        vocabulary=vocabulary,
        merges=vocabulary,
        window=family.window,
        layers=_layers(family, head, embedding) if model.can_write else (),
        tensors=_tensors(model, embedding, vocabulary),
        file_size=size_of(model),
    )


def _plain(quantization: str) -> str:
    return quantization.removeprefix("UD-").removesuffix("_QAT")


def _first(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else max(value)


def _layers(family: Family, head: int, embedding: int) -> tuple[Layer, ...]:
    """Each layer's cache; where only their numbers are known, those with full attention come last."""
    count = family.layers
    heads = family.kv_heads if isinstance(family.kv_heads, tuple) else (family.kv_heads,) * count
    sizes = family.head_size if isinstance(family.head_size, tuple) else (family.head_size or head,) * count
    rest = Cache.WINDOW if family.window else Cache.STATE
    full = _full_layers(family, heads)
    layers = []
    for layer in range(count):
        width = heads[layer] * sizes[layer]
        if layer in full:
            layers.append(Layer(Cache.FULL, width, width))
        elif rest is Cache.WINDOW:
            layers.append(Layer(Cache.WINDOW, width, width))
        else:
            layers.append(Layer(Cache.STATE, state=embedding * _STATE_FACTOR))
    return tuple(layers)


def _full_layers(family: Family, heads: tuple[int, ...]) -> frozenset[int]:
    if family.full_layers >= family.layers:
        return frozenset(range(family.layers))
    # Where layers differ, those with full attention are the fewer ones, and differ from the first.
    odd = [layer for layer in range(family.layers) if heads[layer] != heads[0]]
    if len(odd) == family.full_layers:
        return frozenset(odd)
    return frozenset(range(family.layers - family.full_layers, family.layers))


def _tensors(model: Model, embedding: int, vocabulary: int) -> tuple[Tensor, ...]:
    """The embedding, and all the rest as one: a part that the engine may reorder, and one that it does not."""
    size = size_of(model)
    table = min(size // 3, int(vocabulary * embedding * model.bits / 8))
    name = _plain(model.quantization)
    main = "Q4_K" if name.startswith("Q4_K") else name.removesuffix("_M")
    share = 1.0 if name in ("Q4_0", "Q8_0", "Q6_K", "MXFP4") else _MAIN_SHARE
    reordered = int((size - table) * share)
    return (
        Tensor("token_embd.weight", (embedding, vocabulary), main, table, 0),
        Tensor("layers.weight", (embedding, 8), main, reordered, table),
        Tensor("output.weight", (embedding, 8), "Q6_K" if share < 1 else main, size - table - reordered, 0),
    )
