"""All that the doctor can find, provoked for real: found by its id, told since when, and mended where it may be."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from appliance.config.paths import Home
from appliance.control import running
from appliance.control.running import Planned
from appliance.doctor.check import Check
from appliance.doctor.checks import (
    cards,
    clock,
    connections,
    disk,
    engines,
    memory,
    permissions,
    ports,
    processes,
)
from appliance.doctor.finding import KINDS, Finding, Level
from appliance.doctor.run import examine
from appliance.doctor.situation import Situation, look_around
from appliance.doctor.table import CHECKS
from appliance.engine.arguments import EnginePlan
from appliance.hardware.probe import probe
from appliance.proof.keys import machine_key
from appliance.store.sessions import session
from appliance.units import GIB, MIB, now_us
from tests.support.box import Box, wait_until
from tests.support.doctored import (
    AS_ROOT,
    CALL,
    DAY_US,
    LAN,
    configure,
    copied,
    found,
    ids,
    supervised,
    used,
    write,
)
from tests.support.engines import FakeEngine
from tests.support.nvml import Nvml, StubGpu
from tests.support.proofs import on_card, proof
from tests.support.sysfs import FakeTree


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box that was used."""
    return used(tmp_path_factory.mktemp("pattern"))


@pytest.fixture
def home(tmp_path: Path, pattern: Path) -> Home:
    """Such a box of the test's own."""
    return copied(pattern, tmp_path)


# All is well, and how it is told.


def files(state: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything that is kept, with its rights and when it was written; SQLite's own notes beside it are left out."""
    return {
        str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in state.rglob("*")
        if not path.name.endswith(("-wal", "-shm", "-generation")) and path.name != "doctor.json" and path != state
    }


def test_a_box_without_faults_has_none_and_nothing_is_changed(home: Home) -> None:
    before = files(home.state)
    good = {check.name for check in CHECKS} - {"backups", "processes", "clock"}
    result = examine(home)
    assert [(check.name, finding) for check, finding in result.findings if check.name in good] == []
    assert {one.check.name for one in result.looked} == {check.name for check in CHECKS}
    after = files(home.state)
    assert {name for name in before | after if before.get(name) != after.get(name)} <= {str(home.run)}


def test_nothing_is_made_or_changed_where_there_is_no_box(tmp_path: Path) -> None:
    box = Box(tmp_path)
    said = box.document("doctor", code=1)
    assert [one["id"] for one in said["findings"] if one["level"] == "warning"] == ["not-running", "backups-not-set-up"]
    assert not box.state.exists()


def test_every_finding_says_since_when_and_what_to_do(home: Home) -> None:
    box = Box(home.config.parent)
    home.audit_key.chmod(0o644)
    first = box.document("doctor", code=1)
    again = box.document("doctor", code=1)
    for one in first["findings"]:
        assert all(one[name] for name in ("id", "check", "level", "what", "since", "means", "do")), one
    assert {one["id"]: one["since"] for one in first["findings"]} == {
        one["id"]: one["since"] for one in again["findings"]
    }
    words = box.run("doctor", code=1).stdout
    assert "(secret-open), since" in words
    assert "ok audit: The audit log is whole." in words


def test_what_is_gone_is_forgotten_and_begins_anew(home: Home) -> None:
    home.audit_key.chmod(0o644)
    before = examine(home, checks=(permissions.CHECK,)).since
    assert list(before) == [f"secret-open {home.audit_key}"]
    home.audit_key.chmod(0o600)
    assert examine(home, checks=(permissions.CHECK,)).since == {}
    assert json.loads(home.doctor.read_text()) == {}


def test_a_finding_is_not_forgotten_while_its_check_cannot_look(home: Home) -> None:
    configure(home, 'nonsense = "x"')
    home.doctor.write_text(json.dumps({"backups-not-set-up": 5}))
    result = examine(home)
    assert {one.check.name for one in result.looked if one.found is None} >= {"backups", "ports", "processes"}
    assert json.loads(home.doctor.read_text())["backups-not-set-up"] == 5


def test_every_row_of_the_table_is_provoked_here_and_words_are_whole() -> None:
    folder = Path(__file__).parent
    text = "".join((folder / f"test_{name}.py").read_text() for name in ("doctor", "doctor_kept", "retention"))
    assert [id for id in KINDS if f'"{id}"' not in text] == []
    for id, kind in KINDS.items():
        assert kind.means.endswith("."), id
        assert kind.do.endswith("."), id
        assert kind.fixable is ("--fix" in kind.do), id


def test_a_check_that_fails_or_hangs_is_a_finding(home: Home) -> None:
    never = threading.Event()

    def hangs(_: Situation) -> list[Finding]:
        never.wait()
        return []

    def fails(_: Situation) -> list[Finding]:
        raise KeyError("odd")

    checks = (Check("one", "", fails), Check("two", "", hangs, limit_s=0.2), memory.CHECK)
    result = examine(home, checks=checks)
    assert [(finding.id, finding.about) for _, finding in result.findings] == [
        ("check-failed", "one"),
        ("check-slow", "two"),
    ]
    assert "KeyError" in result.findings[0][1].what
    assert not result.healthy
    never.set()


# The machine.


@pytest.mark.parametrize(
    ("free", "growth", "id"),
    [
        (100 * MIB, None, "disk-full"),
        (2 * GIB, None, "disk-low"),
        (50 * GIB, 2 * GIB, "disk-soon"),
        (50 * GIB, GIB // 2, ""),
        (50 * GIB, None, ""),
    ],
)
def test_room_on_the_disk(free: int, growth: int | None, id: str) -> None:
    assert [one.id for one in disk.judge(free, 100 * GIB, growth)] == ([id] if id else [])


def test_the_pace_is_that_of_the_last_days_and_not_told_of_a_young_box(home: Home) -> None:
    assert disk.grown(look_around(home)) is None, "it is three days old"
    write(home, *[(CALL, (f"old{n}", now_us() - 100 * DAY_US)) for n in range(3)])
    (home.files / "new").write_bytes(b"x" * 28_000)
    old = home.files / "old"
    old.write_bytes(b"x" * 50_000)
    os.utime(old, (1, 1))
    expected = (home.database.stat().st_size * 3 // 6 + 28_000) // 28
    assert disk.grown(look_around(home)) == expected


@AS_ROOT
def test_a_disk_that_is_full_of_bytes_or_of_files_is_found(tmp_path: Path) -> None:
    script = (
        'set -e; mkdir -p "$1"; mount -t tmpfs -o size=8m,nr_inodes=20 tmpfs "$1"; '
        'for n in $(seq 19); do touch "$1/$n"; done; shift; exec "$@"'
    )
    box = Box(tmp_path)
    shell = ["unshare", "--mount", "sh", "-c", script, "sh", str(box.state)]
    said = box.document("doctor", code=1, before=shell)
    assert {"disk-full", "files-low"} <= {one["id"] for one in said["findings"]}


def test_short_memory(home: Home, tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "tree")
    files = {"memory.max": 4 * GIB, "memory.current": 4 * GIB - 50 * MIB, "memory.stat": ""}
    fake.write({"proc/cpuinfo": "", "proc/self/cgroup": "0::/"})
    fake.write({**{f"sys/fs/cgroup/{name}": value for name, value in files.items()}})
    assert ids(memory.CHECK, home, tree=fake.tree) == {"memory-low"}
    fake.write({"sys/fs/cgroup/memory.current": GIB})
    assert ids(memory.CHECK, home, tree=fake.tree) == set()


def test_a_card_that_cannot_be_used(home: Home, tmp_path: Path) -> None:
    fake = FakeTree(tmp_path / "tree")
    fake.write({"proc/cpuinfo": ""})
    fake.card("0000:01:00.0", 0x10DE, 0x2684)
    (one,) = found(cards.CHECK, home, tree=fake.tree)
    assert (one.id, one.about) == ("card-unusable", "NVIDIA driver, nvidia-driver-missing")
    assert "install NVIDIA's driver" in one.what


def test_a_card_that_is_hot_and_held_down(home: Home, nvml: Nvml, tmp_path: Path) -> None:
    hot = StubGpu("NVIDIA RTX 4090", 24 * GIB, 20 * GIB, heat=91, reasons=0x20, sm_now=900)
    said = Box(home.config.parent).document("doctor", code=1, env=nvml.environment(tmp_path / "gpus", hot))
    of_cards = {one["id"]: one["what"] for one in said["findings"] if one["check"] == "cards"}
    assert of_cards.keys() == {"card-hot", "clocks-held-down"}
    assert "91 °C" in of_cards["card-hot"]
    assert "it is too hot" in of_cards["clocks-held-down"]


def test_whether_the_clock_is_kept_right_is_what_the_kernel_says(home: Home) -> None:
    timex = ctypes.create_string_buffer(512)
    ctypes.CDLL(None).adjtimex(timex)
    # struct timex: the status stands behind an int and four longs; bit 6 is STA_UNSYNC.
    alone = bool(int.from_bytes(timex.raw[40:44], sys.byteorder) & 0x40)
    assert (ids(clock.CHECK, home) == {"clock-alone"}) is alone


def test_a_clock_that_is_behind_the_record(home: Home) -> None:
    write(home, (CALL, ("later", now_us() + 3 * DAY_US)))
    (one,) = [one for one in found(clock.CHECK, home) if one.id == "clock-behind"]
    assert "2 d 23 h" in one.what


# Engines.

PLAN = EnginePlan("chat", "m", "/gone.gguf", "/chat.sock", context=4096, slots=2, threads=4)


@pytest.mark.parametrize(
    ("made", "off_gpu", "expected"),
    [
        (proof(alarm="slow", cause="2 tokens a second, 9 before."), "", "engine-slow"),
        (proof(alarm="memory-over-plan", cause="9 GiB taken."), "", "engine-over-plan"),
        (on_card(alarm="gpu-not-used", cause="The card is gone."), "", "card-not-used"),
        (None, "The engine was built for the processor alone.", "engine-off-card"),
    ],
)
def test_what_the_last_proof_and_the_plan_say(home: Home, made: Any, off_gpu: str, expected: str) -> None:
    running.write(home, (Planned("chat", PLAN, host=1, room=2, gpu=3, context=4, compute=5, off_gpu=off_gpu),))
    if made is not None:
        with session(home.database) as opened:
            opened.add(type(made)(**{**made.model_dump(), "id": None, "machine": machine_key(probe())}))
    assert ids(engines.CHECK, home) == {"model-gone", expected}


def test_an_engine_that_was_not_measured_since_its_start(home: Home, tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.touch()
    running.write(home, (Planned("chat", replace(PLAN, file=str(model)), host=1, room=2, gpu=0, context=4, compute=5),))
    assert ids(engines.CHECK, home) == set()
    with supervised(home, name="chat"):
        assert ids(engines.CHECK, home) == {"engine-not-measured"}


# Processes, ports and connections.


def test_a_box_that_is_down_half_restored_or_silent(home: Home) -> None:
    assert ids(processes.CHECK, home) == {"not-running"}
    home.backup.mkdir()
    home.restoring.write_text("{}")
    assert ids(processes.CHECK, home) == {"not-running", "restore-cut-off"}
    home.restoring.unlink()
    with supervised(home):
        assert ids(processes.CHECK, home) == {"gateway-silent"}
        (home.run / "switch.json").write_text("{}")
        assert ids(processes.CHECK, home) == {"gateway-silent", "change-cut-off"}


def test_a_process_that_ends_again_and_again(home: Home) -> None:
    with supervised(home) as made:
        for count in range(1, 4):
            os.kill(made.pid("serve"), signal.SIGKILL)
            wait_until(lambda count=count: made.state("serve").restarts == count and made.is_("serve", "ready"))
        (one,) = [one for one in found(processes.CHECK, home) if one.id != "gateway-silent"]
        assert (one.id, one.about, one.facts) == ("process-restarted", "serve", {"restarts": 3})


def test_a_process_that_does_not_become_ready(home: Home) -> None:
    with supervised(home, "--delay", "30", wait=False) as made:
        wait_until(lambda: made.is_("serve", "starting"))
        (one,) = [one for one in found(processes.CHECK, home) if one.id != "gateway-silent"]
        assert (one.id, one.about) == ("process-not-ready", "serve")


def test_a_port_that_another_program_has(home: Home) -> None:
    port = configure(home)
    assert ids(ports.CHECK, home) == set()
    with socket.create_server(("127.0.0.1", port)):
        (one,) = found(ports.CHECK, home)
        assert (one.id, one.about, one.facts) == ("port-taken", "gateway.port", {"port": port})
        assert f"(process {os.getpid()})" in one.what
        assert ids(ports.CHECK, home, pids=frozenset({os.getpid()})) == set(), "it is ours"


def test_a_port_that_this_account_may_not_have(home: Home, tmp_path: Path) -> None:
    configure(home, LAN)
    fake = FakeTree(tmp_path / "tree")
    fake.write(
        {"proc/self/status": "CapEff:\t0000000000000000", "proc/sys/net/ipv4/ip_unprivileged_port_start": "1024"}
    )
    of_accounts = [one for one in found(ports.CHECK, home, tree=fake.tree) if one.id == "port-not-allowed"]
    assert {one.about for one in of_accounts} == {"lan.https_port", "lan.http_port"}
    fake.write({"proc/sys/net/ipv4/ip_unprivileged_port_start": "80"})
    assert "port-not-allowed" not in ids(ports.CHECK, home, tree=fake.tree)


def elsewhere() -> str:
    """An address of this machine that others would use."""
    every = [one.address for many in psutil.net_if_addrs().values() for one in many if one.family == socket.AF_INET]
    return next((one for one in every if not one.startswith("127.")), "")


@pytest.mark.skipif(not elsewhere(), reason="this machine is on no network")
def test_a_connection_that_nobody_has_asked_for(home: Home) -> None:
    configure(home)
    program = (
        "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])));"
        "print(1, flush=True); input()"
    )
    with socket.create_server((elsewhere(), 0)) as server:
        port = server.getsockname()[1]
        command = [sys.executable, "-c", program, elsewhere(), str(port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            (one,) = found(connections.CHECK, home, pids=frozenset({child.pid}))
            assert (one.id, f"{elsewhere()}, port {port}" in one.what) == ("connection-unknown", True)
            configure(home, f'[engines.chat]\nurl = "http://{elsewhere()}:1/v1"\nmodel = "m"\n')
            assert ids(connections.CHECK, home, pids=frozenset({child.pid})) == set(), "the settings name it"
            assert child.stdin is not None
            child.stdin.write(b"\n")
            child.stdin.flush()


def test_whoever_comes_to_a_port_of_ours_is_no_connection_of_ours(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        assert list(connections.outgoing(frozenset({os.getpid()}))) == []


# The whole box.


@pytest.mark.slow
def test_a_box_that_is_up_has_nothing_but_missing_backups(box: Box, fake_engine: FakeEngine) -> None:
    box.configure(f'engine_wait_s = 2\n[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n')
    box.run("up", "--no-prove")
    said = box.document("doctor", code=1)
    assert {one["id"] for one in said["findings"]} - {"clock-alone", "disk-low"} == {"backups-not-set-up"}
    assert {one["level"] for one in said["checks"]} <= set(Level)
