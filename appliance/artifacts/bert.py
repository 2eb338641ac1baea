"""Convert a BERT that embeds sentences from safetensors to GGUF with Q8_0 weights.

It writes what llama.cpp's own converter writes, byte for byte, but needs neither torch nor any other library.
Matrices are quantized; norms, biases, positions and token types stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from appliance.artifacts.gguf_writer import Field, Tensor, header, padding
from appliance.artifacts.q8 import BLOCK_BYTES, quantize
from appliance.artifacts.safetensors import BadTensorsError, Entry, read_data, read_table

_PIECE = 4096 * BLOCK_BYTES
_POOLING_MEAN = 1
_FILE_TYPE_Q8_0 = 7
_QUANTIZATION_VERSION = 2
_NORMAL, _CONTROL = 1, 3
# How the fields for the special words are called, in their order. `seperator` is spelt so by the format.
_SPECIAL = {
    "bos": "[CLS]",
    "eos": "[SEP]",
    "unknown": "[UNK]",
    "seperator": "[SEP]",
    "padding": "[PAD]",
    "mask": "[MASK]",
}


@dataclass(frozen=True, slots=True)
class Bert:
    """What is converted: its numbers, and the `about` fields that the file begins with. `context` is in tokens."""

    layers: int
    width: int
    heads: int
    feed_forward: int
    context: int
    vocabulary: int
    token_types: int
    epsilon: float
    about: tuple[Field, ...] = ()


def convert(weights: IO[bytes], vocabulary: str, bert: Bert) -> Iterator[bytes]:
    """The GGUF file piece by piece. `vocabulary` has a word in each line. Raises BadTensorsError."""
    words = vocabulary.removesuffix("\n").split("\n")
    if len(words) != bert.vocabulary:
        raise BadTensorsError(f"its vocabulary has {len(words)} words, and must have {bert.vocabulary}")
    if missing := {*_SPECIAL.values()} - {*words}:
        raise BadTensorsError(f"its vocabulary lacks {', '.join(sorted(missing))}")
    table = read_table(weights)
    wanted = dict(_wanted(bert))
    _check(table, wanted)
    yield header(list(_fields(bert, words)), [wanted[entry.name] for entry in table if entry.name in wanted])
    for entry in table:
        tensor = wanted.get(entry.name)
        for data in read_data(weights, entry, _PIECE):
            if tensor:
                yield _typed(data, tensor)
        if tensor:
            yield padding(tensor.size)


def _typed(data: bytes, tensor: Tensor) -> bytes:
    if tensor.type == "F32":
        return data
    try:
        return quantize(data)
    except ValueError as error:
        raise BadTensorsError(f"its tensor for {tensor.name} is wrong: {error}") from error


def _check(table: tuple[Entry, ...], wanted: dict[str, Tensor]) -> None:
    there = {entry.name: entry for entry in table}
    for name, tensor in wanted.items():
        if name not in there:
            raise BadTensorsError(f"its tensor {name} is missing")
        entry, shape = there[name], tensor.shape[::-1]
        if (entry.dtype, entry.shape) != ("F32", shape):
            raise BadTensorsError(f"its tensor {name} is {entry.dtype} {[*entry.shape]}, and must be F32 {[*shape]}")


def _wanted(bert: Bert) -> Iterator[tuple[str, Tensor]]:
    """The tensors' original names, and what becomes of each."""
    wide, forward = bert.width, bert.feed_forward
    yield "embeddings.word_embeddings.weight", Tensor("token_embd.weight", (wide, bert.vocabulary), "Q8_0")
    yield "embeddings.position_embeddings.weight", Tensor("position_embd.weight", (wide, bert.context), "F32")
    yield "embeddings.token_type_embeddings.weight", Tensor("token_types.weight", (wide, bert.token_types), "F32")
    yield from _pair("embeddings.LayerNorm", "token_embd_norm", (wide,))
    for layer in range(bert.layers):
        for original, name, shape in (
            ("attention.self.query", "attn_q", (wide, wide)),
            ("attention.self.key", "attn_k", (wide, wide)),
            ("attention.self.value", "attn_v", (wide, wide)),
            ("attention.output.dense", "attn_output", (wide, wide)),
            ("attention.output.LayerNorm", "attn_output_norm", (wide,)),
            ("intermediate.dense", "ffn_up", (wide, forward)),
            ("output.dense", "ffn_down", (forward, wide)),
            ("output.LayerNorm", "layer_output_norm", (wide,)),
        ):
            yield from _pair(f"encoder.layer.{layer}.{original}", f"blk.{layer}.{name}", shape)


def _pair(original: str, name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, Tensor]]:
    """A matrix or a norm, and its bias."""
    yield f"{original}.weight", Tensor(f"{name}.weight", shape, "Q8_0" if len(shape) > 1 else "F32")
    yield f"{original}.bias", Tensor(f"{name}.bias", shape[-1:], "F32")


def _fields(bert: Bert, words: list[str]) -> Iterator[Field]:
    yield from bert.about
    yield "bert.block_count", "I", bert.layers
    yield "bert.context_length", "I", bert.context
    yield "bert.embedding_length", "I", bert.width
    yield "bert.feed_forward_length", "I", bert.feed_forward
    yield "bert.attention.head_count", "I", bert.heads
    yield "bert.attention.layer_norm_epsilon", "f", bert.epsilon
    yield "general.file_type", "I", _FILE_TYPE_Q8_0
    yield "bert.attention.causal", "?", False
    yield "bert.pooling_type", "I", _POOLING_MEAN
    yield "general.quantization_version", "I", _QUANTIZATION_VERSION
    yield "tokenizer.ggml.token_type_count", "I", bert.token_types
    yield "tokenizer.ggml.model", "text", "bert"
    # What the engine calls BERT's own way of splitting text: lower case, no accents, by words.
    yield "tokenizer.ggml.pre", "text", "jina-v2-en"
    special = {*_SPECIAL.values()}
    yield "tokenizer.ggml.tokens", "texts", [word if word in special else _marked(word) for word in words]
    yield "tokenizer.ggml.token_type", "i*", [_CONTROL if word in special else _NORMAL for word in words]
    for name, word in _SPECIAL.items():
        yield f"tokenizer.ggml.{name}_token_id", "I", words.index(word)
    yield "tokenizer.ggml.add_bos_token", "?", True
    yield "tokenizer.ggml.add_eos_token", "?", True
    yield "tokenizer.ggml.add_sep_token", "?", False
    yield "tokenizer.ggml.normalizer.lowercase", "?", True


def _marked(word: str) -> str:
    """The engine marks where a word begins; the original marks where one goes on."""
    return word[2:] if word.startswith("##") else f"\N{LOWER ONE EIGHTH BLOCK}{word}"
