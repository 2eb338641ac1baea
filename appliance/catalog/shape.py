"""What of a model decides its memory: its layers, their caches, its tensors. Read from a GGUF header: pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from appliance.catalog.gguf import BadHeaderError, Header, ListLength, Tensor


class Cache(StrEnum):
    """What a layer remembers of a conversation."""

    FULL = "full"  # every token
    WINDOW = "window"  # the last tokens
    STATE = "state"  # a state of fixed size
    NONE = "none"  # nothing of its own


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer. `key` and `value` are numbers kept per token (0 for a state), `state` per conversation."""

    cache: Cache
    key: int = 0
    value: int = 0
    state: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's shape. `window` in tokens, `tensors` as in the file, `merges` of its tokenizer."""

    architecture: str
    context: int
    embedding: int
    feed_forward: int
    queries: int
    vocabulary: int
    merges: int
    window: int
    layers: tuple[Layer, ...]
    tensors: tuple[Tensor, ...]
    file_size: int


# Every how many layers one has full attention, where the file does not say (llama.cpp, src/models).
_FULL_EVERY: Final = {
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gemma-embedding": 6,
    "gpt-oss": 2,
    "cohere2": 4,
    "olmo2": 4,
    "exaone4": 4,
}
_STATE_BETWEEN: Final = {"qwen35": 4, "qwen35moe": 4, "qwen3next": 4}
_STATE_WITHOUT_KEYS: Final = {"granitehybrid", "lfm2", "lfm2moe", "nemotron_h", "nemotron_h_moe"}


def shape_of(header: Header, file_size: int) -> Shape:
    """The shape of a model file. Raises BadHeaderError when a field is missing or is nonsense."""
    fields = _Fields(header.metadata)
    heads = fields.per_layer("attention.head_count")
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    merges = header.metadata.get("tokenizer.ggml.merges")
    embedding = fields.number("embedding_length")
    key = fields.number("attention.key_length", embedding // max(heads))
    return Shape(
        architecture=fields.architecture,
        context=fields.number("context_length"),
        embedding=embedding,
        feed_forward=_feed_forward(fields),
        queries=max(heads) * key,
        vocabulary=_length(tokens) or fields.number("vocab_size", 0),
        merges=_length(merges),
        window=fields.number("attention.sliding_window", 0),
        layers=_layers(fields, key),
        tensors=header.tensors,
        file_size=file_size,
    )


class _Fields:
    """A header's fields of its own architecture, each a whole number that is not negative."""

    _MOST = 1 << 31

    def __init__(self, metadata: dict[str, Any]) -> None:
        architecture = metadata.get("general.architecture")
        if not isinstance(architecture, str) or not architecture:
            raise BadHeaderError("it does not say its architecture")
        self.architecture = architecture
        self._metadata = metadata
        self.layers = self.number("block_count")
        if not 0 < self.layers <= 1024:
            raise BadHeaderError(f"it claims {self.layers} layers")

    def raw(self, name: str) -> Any:
        return self._metadata.get(f"{self.architecture}.{name}")

    def number(self, name: str, default: int | None = None) -> int:
        value = self.raw(name)
        value = default if value is None else value
        if type(value) is not int or not 0 <= value < self._MOST:
            raise BadHeaderError(f"its field {self.architecture}.{name} is {value!r}")
        return value

    def per_layer(self, name: str, default: int | None = None) -> tuple[int, ...]:
        """A field that is one number for all layers, or a list with one for each."""
        value = self.raw(name)
        if not isinstance(value, tuple):
            return (self.number(name, default),) * self.layers
        if len(value) < self.layers or not all(type(item) is int and 0 <= item < self._MOST for item in value):
            raise BadHeaderError(f"its field {self.architecture}.{name} has not one number for each layer")
        return value[: self.layers]


def _feed_forward(fields: _Fields) -> int:
    """The width of feeding forward: of the experts that work on a token, and what works beside them."""
    experts = fields.number("expert_used_count", 0) * max(fields.per_layer("expert_feed_forward_length", 0))
    return max(
        *fields.per_layer("feed_forward_length", 0), experts + fields.number("expert_shared_feed_forward_length", 0)
    )


def _layers(fields: _Fields, key: int) -> tuple[Layer, ...]:
    heads = fields.per_layer("attention.head_count_kv", max(fields.per_layer("attention.head_count")))
    value = fields.number("attention.value_length", key)
    window_key = fields.number("attention.key_length_swa", key)
    window_value = fields.number("attention.value_length_swa", value)
    if fields.raw("attention.key_length_mla") is not None:
        # Latent attention keeps one compressed vector for both.
        value = 0
    kinds = _caches(fields, heads)
    state = _state(fields) if Cache.STATE in kinds else 0
    sizes = {Cache.FULL: (key, value), Cache.WINDOW: (window_key, window_value)}
    made = []
    for kind, count in zip(kinds, heads, strict=True):
        keys, values = sizes.get(kind, (0, 0))
        made.append(Layer(kind, count * keys, count * values, state if kind is Cache.STATE else 0))
    return tuple(made)


def _caches(fields: _Fields, heads: tuple[int, ...]) -> list[Cache]:
    """What each layer remembers."""
    count, architecture = fields.layers, fields.architecture
    kinds = [Cache.FULL] * count
    if fields.number("attention.sliding_window", 0):
        for layer, slides in enumerate(_slides(fields)):
            kinds[layer] = Cache.WINDOW if slides else Cache.FULL
    every = _STATE_BETWEEN.get(architecture)
    if every:
        every = fields.number("full_attention_interval", every) or 1
        kinds = [Cache.FULL if (layer + 1) % every == 0 else Cache.STATE for layer in range(count)]
    if architecture in _STATE_WITHOUT_KEYS:
        kinds = [kind if keys else Cache.STATE for kind, keys in zip(kinds, heads, strict=True)]
    # These share the caches of layers before them, or are for drafting and not loaded.
    without = fields.number("attention.shared_kv_layers", 0) + fields.number("nextn_predict_layers", 0)
    return kinds[: max(0, count - without)] + [Cache.NONE] * min(without, count)


def _slides(fields: _Fields) -> tuple[bool, ...]:
    """Which layers see only a window: as the file says, or as the architecture has it."""
    said = fields.raw("attention.sliding_window_pattern")
    if isinstance(said, tuple) and len(said) >= fields.layers:
        return tuple(bool(item) for item in said[: fields.layers])
    every = said if type(said) is int else _FULL_EVERY.get(fields.architecture, 1)
    return tuple(every == 0 or layer % every < every - 1 for layer in range(fields.layers))


def _state(fields: _Fields) -> int:
    """The numbers that a layer with a state keeps for one conversation."""
    shortcut = fields.number("shortconv.l_cache", 0)
    if shortcut:
        return fields.number("embedding_length") * (shortcut - 1)
    inner, size = fields.number("ssm.inner_size", 0), fields.number("ssm.state_size", 0)
    convolved = inner + 2 * fields.number("ssm.group_count", 0) * size
    return max(0, fields.number("ssm.conv_kernel", 0) - 1) * convolved + size * inner


def _length(value: object) -> int:
    return value.items if isinstance(value, ListLength) else 0
