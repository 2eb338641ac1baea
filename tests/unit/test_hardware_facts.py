"""Hardware facts survive a file, and a file that does not hold them is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ApplianceError
from appliance.hardware.facts import Gpu, GpuUser, Hardware, Problem, ddr_bandwidth
from appliance.hardware.saved import load

GIB = 2**30
CARD = Gpu(
    index=0,
    vendor="nvidia",
    name="NVIDIA GeForce RTX 4090",
    uuid="GPU-1",
    kind="discrete",
    memory_total=24 * GIB,
    memory_free=20 * GIB,
    users=(GpuUser(7, "Xorg", None), GpuUser(8, "python3", 4 * GIB)),
    driver="550.54.14",
    cuda="12.4",
    compute_capability="8.9",
    bus_bits=384,
    memory_clock_mhz=10501,
    bandwidth=1_008_096_000_000,
    power_limit_w=450,
    display=True,
)
MACHINE = Hardware(
    cpu_model="Test CPU",
    cpu_flags=frozenset({"avx2", "fma"}),
    cores=8,
    memory=64 * GIB,
    memory_available=60 * GIB,
    memory_bandwidth=48_000_000_000,
    disk_total=900 * GIB,
    disk_free=800 * GIB,
    gpus=(CARD,),
    problems=(Problem("NVIDIA card 1", "gpu-lost", "It is gone."),),
)


@pytest.mark.parametrize("facts", [MACHINE, Hardware("Bare", frozenset(), 1, GIB)])
def test_facts_come_back_from_json_as_they_were(facts: Hardware) -> None:
    assert Hardware.from_json(json.loads(json.dumps(facts.to_json()))) == facts


def test_the_bandwidth_of_known_cards_is_what_their_makers_state() -> None:
    # RTX 4090: 1,008 GB/s, A100 80 GB PCIe: 1,935 GB/s, T4: 320 GB/s.
    assert ddr_bandwidth(384, 10501) == 1_008_096_000_000
    assert ddr_bandwidth(5120, 1512) == 1_935_360_000_000
    assert ddr_bandwidth(256, 5001) == 320_064_000_000


@pytest.mark.parametrize(("bits", "clock"), [(None, 7001), (256, None), (0, 7001), (256, 0)])
def test_without_bus_or_clock_there_is_no_bandwidth(bits: int | None, clock: int | None) -> None:
    assert ddr_bandwidth(bits, clock) is None


def changed(path: str, value: Any) -> Any:
    """The machine's document with one value changed; `...` takes it away."""
    document = MACHINE.to_json()
    *inner, last = path.split(".")
    place: Any = document
    for step in inner:
        place = place[int(step) if step.isdigit() else step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return document


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "it is not an object"),
        (None, "it is not an object"),
        (changed("cores", ...), "cores is missing"),
        (changed("colour", "red"), "colour is unknown"),
        (changed("cores", "8"), "cores is not a whole number"),
        (changed("cores", True), "cores is not a whole number"),
        (changed("cores", -1), "cores is not a whole number"),
        (changed("memory", 1.5), "memory is not a whole number"),
        (changed("disk_free", "much"), "disk_free is not a whole number"),
        (changed("cpu_flags", "avx2"), "cpu_flags is not a list"),
        (changed("cpu_flags", [["avx2"]]), "cpu_flags[0] is not text"),
        (changed("gpus", {}), "gpus is not a list"),
        (changed("gpus", [3]), "gpus[0] is not an object"),
        (changed("gpus.0.display", 1), "gpus[0].display is not true or false"),
        (changed("gpus.0.kind", "odd"), "gpus[0].kind is not one of discrete, integrated, unified"),
        (changed("gpus.0.kind", []), "gpus[0].kind is not one of discrete, integrated, unified"),
        (changed("gpus.0.users.1.pid", None), "gpus[0].users[1].pid is not a whole number"),
        (changed("gpus.0.users.0.name", ...), "gpus[0].users[0].name is missing"),
        (changed("problems.0.why", "?"), "problems[0].why is unknown"),
    ],
)
def test_a_wrong_document_is_refused_by_the_name_of_what_is_wrong(document: Any, said: str) -> None:
    with pytest.raises(ApplianceError) as caught:
        Hardware.from_json(document, "x.json")
    assert caught.value.code == "hardware-file-bad"
    assert caught.value.sentence == f"x.json does not hold hardware facts: {said}."


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "facts.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ApplianceError) as caught:
        load(file)
    assert caught.value.code == "hardware-file-bad"
    assert str(file) in caught.value.sentence


def test_a_saved_file_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text(json.dumps(MACHINE.to_json()))
    assert load(file) == MACHINE
