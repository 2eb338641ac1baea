"""A GGUF header is read whole or refused, whatever its bytes are."""

from __future__ import annotations

import random
import resource
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.artifacts import gguf
from appliance.catalog.gguf import BadHeaderError, Header, ListLength, parse
from appliance.catalog.shape import Cache, Layer, shape_of
from appliance.errors import ApplianceError
from appliance.units import MIB
from bench.synthetic import Dimensions, write
from tests.support.box import environment

SMALL = Dimensions(2, 64, 4, 2, 128, 300, 2048)


def made(folder: Path, wanted: Dimensions = SMALL) -> Path:
    """A model file."""
    file = folder / "model.gguf"
    write(file, wanted)
    return file


def headed(**fields: int | str | tuple[int, ...]) -> Header:
    """A header with these fields of an architecture, and no tensors."""
    named = {f"x.{name.replace('__', '.')}": value for name, value in fields.items()}
    architecture = named.pop("x.architecture", "x")
    renamed = {key.replace("x.", f"{architecture}.", 1): value for key, value in named.items()}
    basics = {"block_count": 4, "context_length": 4096, "embedding_length": 64, "attention.head_count": 4}
    whole = {f"{architecture}.{name}": value for name, value in basics.items()}
    return Header(3, {"general.architecture": architecture, **whole, **renamed}, (), 0)


def caches(header: Header) -> list[Cache]:
    """What each layer remembers."""
    return [layer.cache for layer in shape_of(header, 0).layers]


def test_a_models_shape_is_read_from_its_file(tmp_path: Path) -> None:
    shape = gguf.shape(made(tmp_path, replace(SMALL, head_size=32)))
    assert (shape.architecture, shape.context, shape.embedding, shape.feed_forward) == ("llama", 2048, 64, 128)
    assert (shape.vocabulary, shape.merges, shape.queries, shape.window) == (300, 43, 4 * 32, 0)
    assert shape.layers == (Layer(Cache.FULL, key=64, value=64),) * 2
    assert sum(tensor.size for tensor in shape.tensors) < shape.file_size


def test_long_lists_are_counted_and_not_kept(tmp_path: Path) -> None:
    file = made(tmp_path, replace(SMALL, vocabulary=5000))
    metadata = parse(file.read_bytes(), file.stat().st_size).metadata
    assert metadata["tokenizer.ggml.tokens"] == ListLength(5000)
    assert metadata["tokenizer.ggml.token_type"] == ListLength(5000)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (headed(), "full full full full"),
        (headed(attention__sliding_window=512), "full full full full"),
        (headed(architecture="gpt-oss", attention__sliding_window=128), "window full window full"),
        (
            headed(attention__sliding_window=128, attention__sliding_window_pattern=(1, 1, 1, 0)),
            "window window window full",
        ),
        (headed(architecture="qwen35", ssm__state_size=8), "state state state full"),
        (headed(architecture="granitehybrid", attention__head_count_kv=(0, 2, 0, 0)), "state full state state"),
        (headed(attention__shared_kv_layers=3), "full none none none"),
        (headed(nextn_predict_layers=1), "full full full none"),
    ],
)
def test_what_each_layer_remembers_is_told_by_its_fields_and_its_architecture(header: Header, expected: str) -> None:
    assert " ".join(caches(header)) == expected


def test_windows_may_have_heads_of_another_size_and_latent_attention_keeps_no_values() -> None:
    sizes = {"attention__key_length": 16, "attention__key_length_swa": 8, "attention__value_length_swa": 8}
    window = headed(
        attention__sliding_window=128,
        attention__sliding_window_pattern=(1, 0, 1, 1),
        **sizes,
        attention__head_count_kv=2,
    )
    assert shape_of(window, 0).layers[:2] == (Layer(Cache.WINDOW, 16, 16), Layer(Cache.FULL, 32, 32))
    latent = headed(attention__key_length_mla=8, attention__key_length=24, attention__head_count_kv=1)
    assert shape_of(latent, 0).layers[0] == Layer(Cache.FULL, 24, 0)


def test_experts_count_as_many_as_work_on_one_token() -> None:
    mixed = headed(expert_used_count=4, expert_feed_forward_length=100, feed_forward_length=300)
    assert shape_of(mixed, 0).feed_forward == 400
    assert shape_of(headed(feed_forward_length=300), 0).feed_forward == 300
    by_layer = headed(
        expert_used_count=2, expert_feed_forward_length=(10, 20, 30, 40), expert_shared_feed_forward_length=5
    )
    assert shape_of(by_layer, 0).feed_forward == 85


def test_a_state_is_what_its_convolution_and_its_memory_hold() -> None:
    header = headed(
        architecture="qwen35",
        ssm__conv_kernel=4,
        ssm__inner_size=100,
        ssm__group_count=2,
        ssm__state_size=10,
    )
    assert shape_of(header, 0).layers[0].state == 3 * (100 + 2 * 2 * 10) + 10 * 100


@pytest.mark.parametrize(
    ("field", "value"),
    [("block_count", 0), ("block_count", 5000), ("embedding_length", -1), ("attention.head_count", "four")],
)
def test_a_field_that_is_nonsense_is_named(field: str, value: object) -> None:
    header = headed()
    header.metadata[f"x.{field}"] = value
    with pytest.raises(BadHeaderError, match="layers" if field == "block_count" else f"x.{field}"):
        shape_of(header, 0)


@pytest.mark.parametrize("cut", range(0, 400, 13))
def test_a_header_that_is_cut_is_refused(tmp_path: Path, cut: int) -> None:
    data = made(tmp_path).read_bytes()
    with pytest.raises(BadHeaderError):
        parse(data[:cut], len(data))


def test_a_file_that_is_shorter_than_its_tensors_is_refused(tmp_path: Path) -> None:
    file = made(tmp_path)
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 64)
    with pytest.raises(ApplianceError, match="tensors end at byte") as caught:
        gguf.shape(file)
    assert caught.value.code == "model-not-gguf"
    with pytest.raises(ApplianceError) as missing:
        gguf.shape(tmp_path / "none.gguf")
    assert missing.value.code == "model-missing"


@pytest.mark.parametrize(
    ("tensors", "pairs", "rest"),
    [
        (1 << 40, 0, b""),
        (0, 1 << 40, b""),
        (0, 1, struct.pack("<Q", 1 << 60)),
        (0, 1, struct.pack("<Q1sII", 1, b"a", 8, 0xFFFFFFFF)),
        (0, 1, struct.pack("<Q1sIIQ", 1, b"a", 9, 8, 1 << 62)),
        (0, 1, struct.pack("<Q1sIIQ", 1, b"a", 9, 4, 1 << 62)),
        (0, 1, struct.pack("<Q1sIIQ", 1, b"a", 9, 9, 1)),
        (0, 1, struct.pack("<Q1sI", 1, b"a", 77)),
        (1, 0, struct.pack("<Q1sIQQIQ", 1, b"a", 2, 1 << 40, 1 << 40, 0, 0)),
        (1, 0, struct.pack("<Q1sIQIQ", 1, b"a", 1, 0, 0, 0)),
        (1, 0, struct.pack("<Q1sIQIQ", 1, b"a", 1, 33, 2, 0)),
        (1, 0, struct.pack("<Q1sIQIQ", 1, b"a", 1, 32, 2, 64)),
        (1, 0, struct.pack("<Q1sI", 1, b"a", 9)),
        (1, 0, struct.pack("<Q1sIQIQ", 1, b"a", 1, 32, 5, 0)),
    ],
)
def test_what_a_header_claims_is_held_against_what_is_there(tensors: int, pairs: int, rest: bytes) -> None:
    with pytest.raises(BadHeaderError):
        parse(struct.pack("<4sIQQ", b"GGUF", 3, tensors, pairs) + rest + bytes(64), 1 << 20)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_header_or_a_known_refusal(rest: bytes) -> None:
    data = b"GGUF\x03\0\0\0" + rest
    try:
        shape_of(parse(data, len(data)), len(data))
    except BadHeaderError as error:
        assert str(error)


def fuzz(count: int, file: str) -> None:
    """Read so many damaged headers, in no more memory than allowed; says the longest time that one took."""
    whole = Path(file).read_bytes()[:12_000]
    size = Path(file).stat().st_size
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 64 * MIB,) * 2)
    draw, longest, refused = random.Random(7), 0.0, 0
    numbers = [0, 1, 255, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]
    for _ in range(count):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(data) - 8)
            width = draw.choice((1, 4, 8))
            value = draw.choice((draw.getrandbits(64), draw.choice(numbers))) & ((1 << 8 * width) - 1)
            data[at : at + width] = value.to_bytes(width, "little")
        if draw.random() < 0.1:
            del data[draw.randrange(len(data)) :]
        began = time.perf_counter()
        try:
            shape_of(parse(memoryview(data), size), size)
        except BadHeaderError:
            refused += 1
        longest = max(longest, time.perf_counter() - began)
    print(longest, refused)


@pytest.mark.slow
@pytest.mark.alone
def test_a_hundred_thousand_damaged_headers_do_no_harm(tmp_path: Path) -> None:
    file = made(tmp_path)
    program = f"from tests.unit.test_gguf_header import fuzz; fuzz(100_000, {str(file)!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    longest, refused = done.stdout.split()
    assert float(longest) < 1.0
    assert 50_000 < int(refused) < 100_000


def test_the_longest_lists_that_are_read_take_no_long_time(tmp_path: Path) -> None:
    texts = 1_500_000
    many = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"a", 9, 8, texts) + bytes(8 * texts)
    began = time.process_time()
    assert parse(many, len(many)).metadata == {"a": ListLength(texts)}
    assert time.process_time() - began < 1.0
