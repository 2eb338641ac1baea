"""The memory that a model needs, in bytes and by cause, before it is loaded: pure.

It follows what llama.cpp allocates. Weights are mapped from the file; on a processor those that it
can reorder are held a second time. Each slot has its cache. The rest is what computing takes at its
peak, and the server itself. `bench/memory.py` holds all of it against the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from appliance.catalog.gguf import Tensor
from appliance.catalog.shape import Cache, Layer, Shape
from appliance.engine.arguments import CHECKPOINTS
from appliance.units import MIB

# Tokens that are computed at once (llama-server's --ubatch-size).
MICRO_BATCH: Final = 512
_PAD: Final = 256
_F32: Final = 4
_F16: Final = 2
# Bytes for 32 numbers of a cache.
KV_TYPES: Final = {"f16": 64, "q8_0": 34}
# Numbers that are multiplied with quantized weights are quantized themselves: 34 bytes for 32.
_Q8: Final = 34 / 32

# What a server holds besides, measured with five vocabularies at 1, 4 and 8 slots.
_SERVER: Final = int(7.5 * MIB)
_PER_SLOT: Final = MIB // 2
_PER_TOKEN: Final = 158
_PER_MERGE: Final = 112
_CANDIDATE: Final = 12

# Which weights llama.cpp reorders for a processor (ggml/src/ggml-cpu/repack.cpp, amx/amx.cpp).
_REORDERED_AVX2: Final = frozenset({"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"})
_REORDERED_AVX512: Final = frozenset({"Q2_K"})
_REORDERED_AMX: Final = frozenset({"Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"})
_REORDERED_ARM: Final = frozenset({"Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "MXFP4"})
_ROWS_TOGETHER: Final = 8


@dataclass(frozen=True, slots=True)
class Load:
    """How a model is to be run. `context` is tokens per slot, `kv` a name in `KV_TYPES`."""

    context: int
    slots: int
    kv: str = "f16"
    repack: bool = True
    micro_batch: int = MICRO_BATCH


@dataclass(frozen=True, slots=True)
class Part:
    """Memory with one cause, in bytes."""

    cause: str
    size: int


@dataclass(frozen=True, slots=True)
class Need:
    """What a model needs. `host` cannot be given back while it runs; `mapped` is the file, read again when needed."""

    host: tuple[Part, ...]
    mapped: tuple[Part, ...]
    devices: tuple[tuple[Part, ...], ...] = ()

    @property
    def host_bytes(self) -> int:
        """All that cannot be given back."""
        return sum(part.size for part in self.host)

    @property
    def mapped_bytes(self) -> int:
        """All that is mapped from files."""
        return sum(part.size for part in self.mapped)

    @property
    def device_bytes(self) -> list[int]:
        """What each GPU must have."""
        return [sum(part.size for part in parts) for parts in self.devices]


def need(shape: Shape, load: Load, cpu_flags: frozenset[str]) -> Need:
    """The memory of a model that runs on the processor alone."""
    host = (
        Part("repack", _repack(shape, cpu_flags) if load.repack else 0),
        Part("kv", kv_bytes(shape, load)),
        Part("state", state_bytes(shape, load.slots)),
        Part("checkpoints", checkpoint_bytes(shape, load)),
        Part("compute", compute_bytes(shape, load) + _work(shape, load)),
        Part("server", _server(shape, load.slots)),
    )
    return Need(host, (Part("weights", shape.file_size),))


def corrected(need: Need, planned: int, taken: int) -> Need:
    """A plan with what a like one was once short of, in the same measure; never less than was reckoned."""
    if taken <= planned or not planned:
        return need
    share = taken / planned - 1

    def more(parts: tuple[Part, ...]) -> tuple[Part, ...]:
        return (*parts, Part("measured", int(sum(part.size for part in parts) * share)))

    return Need(more(need.host), need.mapped, tuple(more(parts) for parts in need.devices))


def cells(load: Load) -> int:
    """The tokens that each slot's cache has room for; llama.cpp rounds up."""
    return _padded(_padded(load.context * load.slots) // load.slots)


def kv_bytes(shape: Shape, load: Load) -> int:
    """The caches of all slots."""
    return sum(_layer_kv(layer, shape.window, load) for layer in shape.layers)


def _layer_kv(layer: Layer, window: int, load: Load) -> int:
    tokens = cells(load)
    if layer.cache is Cache.WINDOW:
        tokens = min(tokens, _padded(window + load.micro_batch))
    return _tokens_kv(layer, tokens, load)


def _tokens_kv(layer: Layer, tokens: int, load: Load) -> int:
    return tokens * load.slots * (layer.key + layer.value) // 32 * KV_TYPES[load.kv]


def state_bytes(shape: Shape, slots: int) -> int:
    """The states of all slots, of models that have them."""
    return sum(layer.state for layer in shape.layers) * slots * _F32


def checkpoint_bytes(shape: Shape, load: Load) -> int:
    """The copies of windows and states that a slot can go back to; full caches are just cut off."""
    windows = tuple(layer for layer in shape.layers if layer.cache is Cache.WINDOW)
    tokens = min(cells(load), shape.window)
    copied = sum(_tokens_kv(layer, tokens, load) for layer in windows)
    return CHECKPOINTS * (copied + state_bytes(shape, load.slots))


def compute_bytes(shape: Shape, load: Load) -> int:
    """The buffer in which a micro-batch is computed, and the one for the results.

    The largest of the moments that a graph of this family passes: feeding forward, attention (while
    asking, after rotating, and while answering), and the results. The engine sets aside more, results for
    every token of a micro-batch, and never touches it: see `reserved_bytes`.
    """
    return _compute(shape, load, shape.vocabulary * load.slots // _batch(load))


def reserved_bytes(shape: Shape, load: Load) -> int:
    """The same with all that is set aside: the host does not give untouched memory out, a GPU does."""
    return _compute(shape, load, shape.vocabulary)


def _batch(load: Load) -> int:
    return min(load.micro_batch, cells(load) * load.slots)


def _compute(shape: Shape, load: Load, results_per_token: int) -> int:
    batch = _batch(load)
    width, queries, forward = shape.embedding, shape.queries, shape.feed_forward
    keys = max((layer.key for layer in shape.layers), default=0)
    rotated = keys if load.kv != "f16" else 0
    moments = (
        3 * forward + 4 * width,
        4 * width + queries + rotated,
        2 * width + 2 * queries + 2 * keys + rotated,
        width + 3 * queries + keys + rotated,
        results_per_token + 2 * width,
        # A state's graph is another: taken on the large side, not measured.
        12 * width if any(layer.cache is Cache.STATE for layer in shape.layers) else 0,
    )
    masks = cells(load)
    if any(layer.cache is Cache.WINDOW for layer in shape.layers):
        masks += min(cells(load), _padded(shape.window + load.micro_batch))
    results = shape.vocabulary * load.slots * _F32
    return batch * (max(moments) * _F32 + masks * _F16) + results


def reordered_types(cpu_flags: frozenset[str]) -> frozenset[str]:
    """The types of weights that this processor holds a second time, in its own order."""
    if {"amx_tile", "amx_int8"} <= cpu_flags:
        return _REORDERED_AMX | _REORDERED_AVX2 | _REORDERED_AVX512
    if "avx2" in cpu_flags:
        return _REORDERED_AVX2 | (_REORDERED_AVX512 if "avx512f" in cpu_flags else frozenset())
    if "asimddp" in cpu_flags:
        return _REORDERED_ARM
    return frozenset()


def _repack(shape: Shape, cpu_flags: frozenset[str]) -> int:
    types = reordered_types(cpu_flags)
    tied = not any(tensor.name == "output.weight" for tensor in shape.tensors)
    return sum(tensor.size for tensor in shape.tensors if tensor.type in types and _multiplied(tensor, tied))


def _multiplied(tensor: Tensor, tied: bool) -> bool:
    """Whether a tensor is multiplied with, and so worth reordering; embeddings are only looked up."""
    if len(tensor.shape) < 2 or tensor.shape[1] % _ROWS_TOGETHER:
        return False
    return tied if tensor.name == "token_embd.weight" else tensor.name.endswith(".weight")


def _work(shape: Shape, load: Load) -> int:
    """Where a micro-batch is quantized before it is multiplied."""
    return int(load.micro_batch * max(shape.feed_forward, shape.queries, shape.embedding) * _Q8)


def _server(shape: Shape, slots: int) -> int:
    words = shape.vocabulary * _PER_TOKEN + shape.merges * _PER_MERGE
    return _SERVER + words + slots * (_PER_SLOT + shape.vocabulary * _CANDIDATE)


def _padded(value: int) -> int:
    return -(-value // _PAD) * _PAD
