"""GGUF files with the shape of a real model and nothing in them: holes where the weights would be.

What memory an engine needs, and how fast it is, depends on a model's shape and quantization, not on
what its weights say. So such a file stands in for a model that is too large to fetch or to keep. The weights read as
zeros; the tokenizer is a real one, of pairs of bytes, as large as the vocabulary says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

from appliance.artifacts.gguf_writer import Field, Tensor, header, padding

_TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"


@dataclass(frozen=True, slots=True)
class Dimensions:
    """A model of the Llama family. `output` is the output matrix's type where it differs from `type`; empty ties it."""

    layers: int
    embedding: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int
    context: int
    type: str = "Q4_0"
    output: str | None = None
    head_size: int = 0


# As their publishers state them.
SHAPES = {
    "tinyllama-1.1b": Dimensions(22, 2048, 32, 4, 5632, 32000, 2048),
    "llama2-7b": Dimensions(32, 4096, 32, 32, 11008, 32000, 4096),
    "llama2-13b": Dimensions(40, 5120, 40, 40, 13824, 32000, 4096),
    "llama3.2-3b": Dimensions(28, 3072, 24, 8, 8192, 128256, 131072, output=""),
    "mistral-7b": Dimensions(32, 4096, 32, 8, 14336, 32768, 32768),
    "llama3-8b": Dimensions(32, 4096, 32, 8, 14336, 128256, 131072),
    "qwen3-14b": Dimensions(40, 5120, 40, 8, 17408, 151936, 40960, head_size=128),
    "mistral-nemo-12b": Dimensions(40, 5120, 32, 8, 14336, 131072, 131072, head_size=128),
}


def write(path: Path, wanted: Dimensions) -> None:
    """Write the file: a whole header, and holes for the weights."""
    tensors = list(_tensors(wanted))
    with path.open("wb") as file:
        file.write(header(list(_fields(wanted)), tensors))
        file.truncate(file.tell() + sum(tensor.size + len(padding(tensor.size)) for tensor in tensors))


def _tensors(wanted: Dimensions) -> Iterator[Tensor]:
    width, size = wanted.embedding, wanted.head_size or wanted.embedding // wanted.heads
    queries, keys = wanted.heads * size, wanted.kv_heads * size
    yield Tensor("token_embd.weight", (width, wanted.vocabulary), wanted.type)
    if wanted.output != "":
        yield Tensor("output.weight", (width, wanted.vocabulary), wanted.output or wanted.type)
    yield Tensor("output_norm.weight", (width,), "F32")
    for layer in range(wanted.layers):
        for name, shape in (
            ("attn_q", (width, queries)),
            ("attn_k", (width, keys)),
            ("attn_v", (width, keys)),
            ("attn_output", (queries, width)),
            ("ffn_gate", (width, wanted.feed_forward)),
            ("ffn_up", (width, wanted.feed_forward)),
            ("ffn_down", (wanted.feed_forward, width)),
        ):
            yield Tensor(f"blk.{layer}.{name}.weight", shape, wanted.type)
        for name in ("attn_norm", "ffn_norm"):
            yield Tensor(f"blk.{layer}.{name}.weight", (width,), "F32")


def _fields(wanted: Dimensions) -> Iterator[Field]:
    yield "general.architecture", "text", "llama"
    yield "general.name", "text", "synthetic"
    yield "llama.block_count", "I", wanted.layers
    yield "llama.context_length", "I", wanted.context
    yield "llama.embedding_length", "I", wanted.embedding
    yield "llama.feed_forward_length", "I", wanted.feed_forward
    yield "llama.attention.head_count", "I", wanted.heads
    yield "llama.attention.head_count_kv", "I", wanted.kv_heads
    yield "llama.attention.layer_norm_rms_epsilon", "f", 1e-5
    yield "llama.rope.dimension_count", "I", wanted.head_size or wanted.embedding // wanted.heads
    if wanted.head_size:
        yield "llama.attention.key_length", "I", wanted.head_size
        yield "llama.attention.value_length", "I", wanted.head_size
    yield "llama.vocab_size", "I", wanted.vocabulary
    yield "tokenizer.ggml.model", "text", "gpt2"
    yield "tokenizer.ggml.pre", "text", "gpt-2"
    special = ["<|end|>"]
    joined = list(islice(_pairs(), wanted.vocabulary - 256 - len(special)))
    tokens = [*special, *_BYTES, *("".join(pair) for pair in joined)]
    yield "tokenizer.ggml.tokens", "texts", tokens
    yield "tokenizer.ggml.token_type", "i*", [3] * len(special) + [1] * (len(tokens) - len(special))
    yield "tokenizer.ggml.merges", "texts", [" ".join(pair) for pair in joined]
    yield "tokenizer.ggml.bos_token_id", "I", 0
    yield "tokenizer.ggml.eos_token_id", "I", 0
    yield "tokenizer.chat_template", "text", _TEMPLATE


def _byte_letters() -> list[str]:
    """The letter that stands for each byte in such vocabularies: itself where it prints, else one beyond 255."""
    prints = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    beyond = iter(range(256, 512))
    return [chr(byte) if byte in prints else chr(next(beyond)) for byte in range(256)]


_BYTES = _byte_letters()


def _pairs() -> Iterator[tuple[str, str]]:
    """What merges into what: two bytes, then those with a third."""
    yield from product(_BYTES, _BYTES)
    for pair in product(_BYTES, _BYTES):
        for third in _BYTES:
            yield "".join(pair), third
