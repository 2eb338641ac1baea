"""A small BERT becomes a GGUF file, and one that is not whole becomes none."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.artifacts.bert import convert
from appliance.artifacts.packaged import CONVERSIONS
from appliance.artifacts.q8 import quantize
from appliance.artifacts.safetensors import BadTensorsError
from appliance.catalog import rules
from appliance.catalog.gguf import Header, ListLength, parse
from tests.support.tiny_bert import SHAPES, TINY, VOCABULARY, WORDS, Tensors, safetensors, tensors


def converted(held: Tensors, vocabulary: str = VOCABULARY) -> bytes:
    """The GGUF file that is made from these tensors."""
    return b"".join(convert(io.BytesIO(safetensors(held)), vocabulary, TINY))


def refusal(held: Tensors, vocabulary: str = VOCABULARY) -> str:
    """Why nothing is made from them."""
    with pytest.raises(BadTensorsError) as caught:
        converted(held, vocabulary)
    return str(caught.value)


@pytest.fixture(scope="module")
def made() -> tuple[Header, bytes]:
    """The small model's header and file."""
    data = converted(tensors())
    return parse(data, len(data)), data


def test_matrices_are_quantized_and_all_else_stays_as_it_is(made: tuple[Header, bytes]) -> None:
    found, data = made
    kept = {name: value for name, value in tensors().items() if name in SHAPES}
    assert len(found.tensors) == len(kept)
    names = {tensor.name: tensor.type for tensor in found.tensors}
    assert {name for name, type in names.items() if type == "Q8_0"} == {
        "token_embd.weight",
        *(f"blk.0.{part}.weight" for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down")),
    }
    for tensor, (_, shape, weights) in zip(found.tensors, kept.values(), strict=True):
        at = found.data_offset + tensor.offset
        assert tensor.shape == tuple(reversed(shape))
        assert data[at : at + tensor.size] == (quantize(weights) if tensor.type == "Q8_0" else weights)
    assert len(data) == at + tensor.size


def test_the_fields_say_what_it_is(made: tuple[Header, bytes]) -> None:
    fields = made[0].metadata
    assert list(fields)[:2] == ["general.architecture", "general.tags"]
    assert (fields["bert.block_count"], fields["bert.context_length"], fields["bert.embedding_length"]) == (1, 8, 32)
    assert (fields["bert.pooling_type"], fields["bert.attention.causal"]) == (1, False)
    assert fields["tokenizer.ggml.tokens"] == ListLength(len(WORDS))
    assert fields["tokenizer.ggml.token_type"] == (3, 1, 3, 3, 3, 3, 1, 1, 1)
    ids = [fields[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos", "unknown", "padding", "mask")]
    assert ids == [3, 4, 2, 0, 5]


def test_words_are_marked_where_they_begin(made: tuple[Header, bytes]) -> None:
    mark = "\N{LOWER ONE EIGHTH BLOCK}"
    expected = ["[PAD]", f"{mark}[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", f"{mark}pay", "ing", f"{mark}cat"]
    packed = b"".join(struct.pack("<Q", len(word.encode())) + word.encode() for word in expected)
    assert packed in made[1]


def test_each_part_can_be_missing_and_is_named() -> None:
    whole = tensors()
    for name in SHAPES:
        held = {other: value for other, value in whole.items() if other != name}
        assert refusal(held) == f"its tensor {name} is missing"


def test_another_type_or_shape_is_refused() -> None:
    name = "embeddings.LayerNorm.bias"
    half: Tensors = {**tensors(), name: ("F16", [32], bytes(64))}
    assert refusal(half) == f"its tensor {name} is F16 [32], and must be F32 [32]"
    long: Tensors = {**tensors(), name: ("F32", [33], bytes(132))}
    assert refusal(long) == f"its tensor {name} is F32 [33], and must be F32 [32]"


def test_weights_that_cannot_be_quantized_are_refused_by_name() -> None:
    broken: Tensors = {**tensors(), "embeddings.word_embeddings.weight": ("F32", [9, 32], b"\xff" * 9 * 32 * 4)}
    assert refusal(broken) == "its tensor for token_embd.weight is wrong: it holds weights that Q8_0 cannot hold"


@pytest.mark.parametrize(
    ("vocabulary", "said"),
    [
        ("", "its vocabulary has 1 words, and must have 9"),
        (VOCABULARY + "dog\n", "its vocabulary has 10 words, and must have 9"),
        (VOCABULARY.replace("[MASK]", "mask").replace("[CLS]", "cls"), "its vocabulary lacks [CLS], [MASK]"),
    ],
)
def test_another_vocabulary_is_refused(vocabulary: str, said: str) -> None:
    assert refusal(tensors(), vocabulary) == said


@given(st.data())
def test_a_file_that_is_cut_is_refused_wherever_it_is_cut(data: st.DataObject) -> None:
    whole = safetensors(tensors())
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(BadTensorsError, match="it ends too early"):
        list(convert(io.BytesIO(whole[:length]), VOCABULARY, TINY))


@given(st.data())
def test_a_file_with_any_byte_changed_is_converted_or_refused(data: st.DataObject) -> None:
    whole = bytearray(safetensors(tensors()))
    whole[data.draw(st.integers(0, 2500))] = data.draw(st.integers(0, 255))
    try:
        result = b"".join(convert(io.BytesIO(whole), VOCABULARY, TINY))
    except BadTensorsError as error:
        assert str(error)
    else:
        parse(result, len(result))


def test_the_conversions_that_a_catalogue_may_name_are_those_that_there_are() -> None:
    assert set(rules.CONVERSIONS) == set(CONVERSIONS)
