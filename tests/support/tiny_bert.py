"""A BERT of one layer, as a safetensors file, small enough to be looked at."""

from __future__ import annotations

import json
import random
import struct
from math import prod

from appliance.artifacts.bert import Bert

WORDS = ("[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "pay", "##ing", "cat")
VOCABULARY = "\n".join(WORDS) + "\n"
ABOUT = (("general.architecture", "text", "bert"), ("general.tags", "texts", ["tiny"]))
TINY = Bert(
    layers=1, width=32, heads=2, feed_forward=64, context=8, vocabulary=9, token_types=2, epsilon=1e-12, about=ABOUT
)

# Tensors by name: type, shape and data.
Tensors = dict[str, tuple[str, list[int], bytes]]

_LAYER = "encoder.layer.0"
SHAPES = {
    "embeddings.LayerNorm.bias": [32],
    "embeddings.LayerNorm.weight": [32],
    "embeddings.position_embeddings.weight": [8, 32],
    "embeddings.token_type_embeddings.weight": [2, 32],
    "embeddings.word_embeddings.weight": [9, 32],
    f"{_LAYER}.attention.output.LayerNorm.bias": [32],
    f"{_LAYER}.attention.output.LayerNorm.weight": [32],
    f"{_LAYER}.attention.output.dense.bias": [32],
    f"{_LAYER}.attention.output.dense.weight": [32, 32],
    f"{_LAYER}.attention.self.key.bias": [32],
    f"{_LAYER}.attention.self.key.weight": [32, 32],
    f"{_LAYER}.attention.self.query.bias": [32],
    f"{_LAYER}.attention.self.query.weight": [32, 32],
    f"{_LAYER}.attention.self.value.bias": [32],
    f"{_LAYER}.attention.self.value.weight": [32, 32],
    f"{_LAYER}.intermediate.dense.bias": [64],
    f"{_LAYER}.intermediate.dense.weight": [64, 32],
    f"{_LAYER}.output.LayerNorm.bias": [32],
    f"{_LAYER}.output.LayerNorm.weight": [32],
    f"{_LAYER}.output.dense.bias": [32],
    f"{_LAYER}.output.dense.weight": [32, 64],
}


def tensors() -> Tensors:
    """The whole model, with weights by chance, and what a real file has besides: positions and a pooler."""
    dice = random.Random(7)
    made: Tensors = {"embeddings.position_ids": ("I64", [1, 8], bytes(64))}
    for name, shape in {**SHAPES, "pooler.dense.bias": [32]}.items():
        numbers = [dice.gauss(0, 0.1) for _ in range(prod(shape))]
        made[name] = ("F32", shape, struct.pack(f"<{len(numbers)}f", *numbers))
    return made


def safetensors(held: Tensors) -> bytes:
    """The file that holds these tensors."""
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape, data) in held.items():
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    return framed(json.dumps(table).encode()) + b"".join(data for _, _, data in held.values())


def framed(table: bytes) -> bytes:
    """A table with its length before it."""
    return struct.pack("<Q", len(table)) + table
