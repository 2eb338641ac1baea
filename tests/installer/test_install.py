"""The installer's checks and options: each failure by its own code, and nothing changed by it."""

from __future__ import annotations

import fcntl
import os
import shlex
import socket
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest

from appliance.config.load import load
from appliance.errors import KINDS
from tests.installer.machine import REPOSITORY, Machine, failures
from tests.support.box import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine that passes every check, and reaches no network."""
    made = Machine(tmp_path)
    made.without_network()
    made.usual_tools()
    return made


def refused(machine: Machine, code: str, *arguments: str, through: tuple[str, ...] = ()) -> tuple[str, str]:
    """Install, expect exactly this failure and no trace of it; returns its sentence and next step."""
    before = machine.traces()
    done = machine.install("--yes", "--port", str(free_port()), *arguments, through=through)
    assert list(failures(done.stderr)) == [code], done.stdout + done.stderr
    assert done.returncode == KINDS[code].exit
    assert machine.traces() == before
    return failures(done.stderr)[code]


@pytest.mark.parametrize(
    ("release", "found"),
    [
        ('ID=fedora\nVERSION_ID=44\nPRETTY_NAME="Fedora 44"\n', "Fedora 44"),
        ('ID=ubuntu\nVERSION_ID="20.04"\nPRETTY_NAME="Ubuntu 20.04"\n', "Ubuntu 20.04"),
    ],
)
def test_another_system_is_refused(machine: Machine, release: str, found: str) -> None:
    machine.fake_file("/etc/os-release", release)
    sentence, _ = refused(machine, "os-unsupported")
    assert found in sentence
    assert "needed Debian 12" in sentence


@pytest.mark.parametrize("release", ["ID=debian\n", 'ID=ubuntu\nVERSION_ID="22.04"\n'])
def test_the_smallest_machine_is_taken(machine: Machine, release: str) -> None:
    machine.fake_file("/etc/os-release", release)
    # What a machine that was sold with 4 GiB reports.
    machine.fake_file("/proc/meminfo", "MemTotal:        3995000 kB\n")
    done = machine.install("--dry-run", "--port", str(free_port()))
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="flags of x86-64")
def test_an_old_processor_is_refused(machine: Machine) -> None:
    machine.fake_file("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sse2 avx f16c\n")
    sentence, _ = refused(machine, "cpu-too-old")
    assert "without avx2 fma," in sentence


def test_too_little_memory_is_refused(machine: Machine) -> None:
    machine.fake_file("/proc/meminfo", "MemTotal:        2048000 kB\n")
    sentence, _ = refused(machine, "memory-too-small")
    assert "found 2.0 GiB" in sentence


@pytest.mark.parametrize(
    ("group", "file"),
    [
        ("0::/box/inner", "/sys/fs/cgroup/box/memory.max"),
        ("4:memory:/box", "/sys/fs/cgroup/memory/box/memory.limit_in_bytes"),
    ],
)
def test_a_containers_memory_limit_counts(machine: Machine, group: str, file: str) -> None:
    machine.fake_file("/proc/meminfo", "MemTotal:        64000000 kB\n")
    machine.fake_file("/proc/self/cgroup", group + "\n")
    machine.fake_file(file, f"{1 << 30}\n")
    sentence, _ = refused(machine, "memory-too-small")
    assert "found 1.0 GiB of memory, needed 4.0 GiB" in sentence


def test_a_taken_port_is_refused(machine: Machine) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        sentence, step = refused(machine, "port-taken", "--port", str(port))
    assert f"found port {port} in use" in sentence
    assert "--port " in step


def test_without_a_compiler_a_user_is_told_the_package(machine: Machine) -> None:
    machine.replace_tool("gcc", None)
    machine.replace_tool("g++", None)
    machine.replace_tool("id", "echo 1000")
    sentence, step = refused(machine, "no-compiler")
    assert "found no gcc g++" in sentence
    assert step == "As root, run: apt-get install build-essential"


def test_without_a_compiler_root_is_offered_the_package(machine: Machine) -> None:
    machine.replace_tool("gcc", None)
    machine.replace_tool("id", "echo 0")
    machine.replace_tool("apt-get", "exit 1")
    done = machine.install("--dry-run", "--port", str(free_port()))
    assert done.returncode == 0, done.stderr
    assert "install the Debian packages build-essential" in done.stdout
    done = machine.install("--port", str(free_port()))
    assert list(failures(done.stderr)) == ["needs-yes"]
    assert machine.traces() == []


def test_without_python_a_user_is_told_the_packages(machine: Machine) -> None:
    machine.replace_tool("python3", None)
    machine.replace_tool("id", "echo 1000")
    sentence, step = refused(machine, "python-missing")
    assert "found no Python, needed Python 3.11 or newer" in sentence
    assert step == "As root, run: apt-get install python3 python3-venv"


def test_too_small_a_disk_is_refused(machine: Machine) -> None:
    small = machine.folder / "small"
    small.mkdir()
    inside = 'PATH=$PATH:/usr/bin:/bin; mount -t tmpfs -o size=64m small "$0" && exec "$@"'
    mount = ("/usr/bin/unshare", "-rm", "/bin/sh", "-c", inside, str(small))
    if subprocess.run([*mount, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no private mounts here")
    sentence, _ = refused(machine, "disk-too-small", "--prefix", str(small / "prefix"), through=mount)
    assert "found 0.1 GiB free" in sentence
    assert "needed 4.0 GiB" in sentence


def test_an_unreachable_registry_is_told(machine: Machine) -> None:
    del machine.environment["PIP_NO_INDEX"], machine.environment["PIP_FIND_LINKS"]
    machine.environment["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple"
    _, step = refused(machine, "registry-unreachable")
    assert "pip's index setting" in step


def test_a_package_that_is_not_the_pinned_one_is_refused(machine: Machine) -> None:
    with machine.without_network().open("ab") as wheel:
        wheel.write(b"x")
    sentence, _ = refused(machine, "wrong-hash")
    assert "tiny==1" in sentence


def test_a_folder_that_cannot_be_written_is_refused(machine: Machine) -> None:
    file = machine.folder / "file"
    file.touch()
    sentence, _ = refused(machine, "prefix-not-writable", "--prefix", str(file / "prefix"))
    assert str(file) in sentence


def test_a_folder_with_other_things_in_it_is_not_taken_over(machine: Machine) -> None:
    machine.prefix.mkdir()
    (machine.prefix / "photos").mkdir()
    sentence, _ = refused(machine, "wrong-use")
    assert "photos" in sentence


def test_a_second_installer_at_once_is_refused(machine: Machine) -> None:
    machine.prefix.mkdir()
    with (machine.prefix / ".lock").open("w") as lock:
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        sentence, _ = refused(machine, "installer-running")
    assert f"process {os.getpid()}" in sentence


def test_all_failures_are_told_at_once_and_the_gravest_gives_the_exit_code(machine: Machine) -> None:
    machine.fake_file("/etc/os-release", "ID=fedora\n")
    machine.fake_file("/proc/meminfo", "MemTotal:        2048000 kB\n")
    machine.environment["PIP_FIND_LINKS"] = str(machine.folder / "nowhere")
    done = machine.install("--yes", "--port", str(free_port()))
    assert list(failures(done.stderr)) == ["os-unsupported", "memory-too-small", "registry-unreachable"]
    assert done.returncode == 3
    assert machine.traces() == []


def test_nothing_is_changed_without_a_yes(machine: Machine) -> None:
    done = machine.install("--port", str(free_port()))
    assert failures(done.stderr) == {"needs-yes": ("Nothing was changed.", "To go ahead, run it again with --yes")}
    assert done.returncode == 4
    assert machine.traces() == []


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(machine: Machine) -> None:
    port = free_port()
    done = machine.install("--dry-run", "--yes", "--embedded", "--port", str(port))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"write the settings {machine.prefix}/etc/appliance.toml with port {port}" in done.stdout
    assert done.stdout.endswith("Nothing was changed: this was a dry run.\n")
    assert machine.traces() == []


@pytest.mark.parametrize("wrong", [["--prot", "1"], ["--port"], ["--port", "70000"], ["--port=x"], ["--prefix="]])
def test_wrong_options_are_refused(machine: Machine, wrong: list[str]) -> None:
    done = machine.install(*wrong)
    assert list(failures(done.stderr)) == ["wrong-use"]
    assert done.returncode == 2


@pytest.mark.parametrize(
    "text",
    [
        "[gateway]\nport = 8080\n",
        '# mine\n[gateway]\nport=8_080  # of old\nhost = "127.0.0.1"\n[engines.chat]\nslots = 2\n',
        '[gateway]\nhost = "127.0.0.1"\n\n[engines.chat]\nslots = 2\n',
        '[engines.chat]\nmodel = "port = 1"\n',
        "",
    ],
)
def test_a_new_port_changes_nothing_else_in_the_settings(text: str) -> None:
    done = subprocess.run(
        ["bash", "-c", ". installer/steps.sh; with_port 9000"],
        cwd=REPOSITORY,
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = tomllib.loads(text)
    wanted.setdefault("gateway", {})["port"] = 9000
    assert tomllib.loads(done.stdout) == wanted
    assert [line for line in text.splitlines() if "port" not in line] == [
        line for line in done.stdout.splitlines() if line in text.splitlines() and "port" not in line
    ]


def steps(script: str, folder: Path, *, code: int = 0, **values: str) -> subprocess.CompletedProcess[str]:
    """Run the installer's own functions, and insist on an exit code; the log is `log` in the folder."""
    given = {
        "CODE": str(folder),
        "TEMP": str(folder),
        "CACHE": str(folder / "cache"),
        "SOURCE": str(REPOSITORY),
        "CONFIG": str(folder / "etc/appliance.toml"),
        "RELEASE": str(folder / "release"),
        "STATE": str(folder),
        "COMMAND": "appliance",
        "PYTHON": sys.executable,
        "COMPLETE": "no",
        "START": "yes",
        "PASSED_OVER": "",
        "CHAT_WANTED": "yes",
        "CHAT_PORT": "8090",
        "WANTED_PORT": "8080",
        "SIGN_ON_PORT": "8085",
        "PORT": "",
        **values,
    }
    words = " ".join(f"{name}={shlex.quote(value)}" for name, value in given.items())
    parts = " ".join(f". installer/{name}.sh;" for name in ("console", "checks", "chat_page", "steps"))
    # What is given counts, whatever the files begin with.
    loaded = f"set -euo pipefail; shopt -s inherit_errexit; {words}; {parts} {words}; {script}"
    done = subprocess.run(["bash", "-c", loaded], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_a_new_installation_lets_people_sign_in_and_an_old_one_stays_as_it_is(tmp_path: Path) -> None:
    values = {"WANTED_PORT": "8090", "SIGN_ON_PORT": "8086", "CHAT": "no"}
    steps("write_settings", tmp_path, code=0, **values)
    settings = load(tmp_path / "etc/appliance.toml")
    assert (settings.gateway.port, settings.identity.enabled) == (8090, True)
    assert settings.identity.issuer == "http://127.0.0.1:8086"
    assert not settings.chat.enabled
    (tmp_path / "etc/appliance.toml").write_text("# mine\n")
    steps("write_settings", tmp_path, code=0, **values | {"SIGN_ON_PORT": "8087"})
    assert (tmp_path / "etc/appliance.toml").read_text() == "# mine\n"


def test_a_new_installation_has_a_chat_page_at_a_port_of_its_own(tmp_path: Path) -> None:
    steps("write_settings", tmp_path, CHAT="yes", CHAT_PORT="8091")
    settings = load(tmp_path / "etc/appliance.toml")
    assert (settings.chat.enabled, settings.chat.port) == (True, 8091)


def test_sign_on_gets_a_port_that_is_free(machine: Machine) -> None:
    with socket.socket() as other, suppress(OSError):
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Where this fails the port is taken already.
        other.bind(("127.0.0.1", 8085))
        other.listen()
        done = machine.install("--dry-run", "--port", str(free_port()))
    assert "and sign-on at port 8" in done.stdout
    assert "sign-on at port 8085" not in done.stdout


def fake_appliance(folder: Path, owned: str) -> None:
    """A command that says whether there is an owner, and makes a link."""
    command = folder / "bin/appliance"
    command.parent.mkdir()
    command.write_text(f"""#!/bin/sh
case "$*" in
  "status --json") echo '{{"owned": {owned}}}'; exit 1 ;;
  "users owner-link") echo "http://127.0.0.1:8085/welcome/the-secret" ;;
  *) exit 9 ;;
esac
""")
    command.chmod(0o755)


def test_the_end_of_an_installation_is_a_link_for_the_first_owner_which_is_in_no_log(tmp_path: Path) -> None:
    fake_appliance(tmp_path, "false")
    done = steps("hand_over", tmp_path, START="yes")
    assert done.stdout.endswith("http://127.0.0.1:8085/welcome/the-secret\n")
    assert "You own this appliance then." in (tmp_path / "log").read_text()
    assert "the-secret" not in (tmp_path / "log").read_text()
    assert "Once it is started:  appliance users owner-link" in steps("hand_over", tmp_path, START="no").stdout


@pytest.mark.parametrize("owned", ["true", "null"])
def test_there_is_no_link_where_somebody_owns_the_appliance_or_nobody_signs_in(tmp_path: Path, owned: str) -> None:
    fake_appliance(tmp_path, owned)
    assert steps("hand_over", tmp_path, START="yes").stdout == ""
