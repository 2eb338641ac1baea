"""Services on a system that is really booted: installed, cut off, killed, stopped, without room, removed."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.booted import STATE, Machine, root_file_system

pytestmark = [pytest.mark.full, pytest.mark.alone, pytest.mark.timeout(900)]

SERVICES = ("engine@chat", "serve", "identity")
ALL = (*SERVICES, "chat-page", "chat-redis", "lan", "name")
# systemd's own measure of what a service could do to the rest: 0 is nothing, 10 is everything.
EXPOSED_AT_MOST = 1.6
# The promise, for all that heals by itself.
HEALED_S = 60.0
# The longest that these may hang before they are ended.
WATCHDOG_S = 30.0


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Iterator[Machine]:
    """A booted system that has a checkout, and nothing of the appliance."""
    made = Machine(tmp_path_factory.mktemp("booted"), root_file_system())
    try:
        made.make()
        made.bring(model_file)
        made.boot()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def files_before(empty: Machine) -> set[str]:
    return files(empty)


@pytest.fixture(scope="module")
def machine(empty: Machine, files_before: set[str]) -> Machine:
    """The appliance is installed there, and up."""
    empty.finish_release()
    said = empty.succeed("/src/installer/install.sh", "--yes", "--no-chat-page", "--no-start")
    assert "they start with the machine" in said
    assert empty.succeed("appliance", "up", "--no-prove", "--json")
    return empty


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """What was done to it, and after how many seconds all was well again; printed for the docs."""
    rows: list[str] = []
    yield rows
    print("\n| what happened | well again after |\n|---|---|", *rows, sep="\n")


def files(machine: Machine) -> set[str]:
    """All paths of the system that outlive it, but for what a running system makes for itself."""
    passing = ("/proc", "/sys", "/run", "/dev", "/tmp", "/var/tmp", "/var/log", "/src", "/packages", "/root", STATE)
    pruned = [word for path in passing for word in ("-path", path, "-o")][:-1]
    return set(machine.succeed("find", "/", "(", *pruned, ")", "-prune", "-o", "-print").splitlines())


def status(machine: Machine) -> dict[str, Any]:
    """What the appliance says of itself; that it is not well while it cannot even say that."""
    done = machine.run("appliance", "status", "--json")
    if done.stdout.startswith("{"):
        return dict(json.loads(done.stdout))
    return {"healthy": False, "processes": [], "problems": [done.stdout + done.stderr]}


def healthy_again(machine: Machine, within_s: float, began: float) -> float:
    """Seconds since `began` until all services are ready, each of them anew."""
    while not (found := status(machine))["healthy"] or not found["processes"]:
        assert time.monotonic() - began < within_s, found["problems"]
    return time.monotonic() - began


def pid(machine: Machine, service: str) -> int:
    return int(machine.succeed("systemctl", "show", "--property=MainPID", "--value", f"appliance-{service}"))


def until_replaced(machine: Machine, old: dict[str, int], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while any(pid(machine, service) in (0, number) for service, number in old.items()):
        assert time.monotonic() < deadline, "a service was not started anew"
        time.sleep(0.2)


def signal_all(machine: Machine, name: str) -> dict[str, int]:
    """Send a signal to the program of each service; returns the process ids."""
    found = {service: pid(machine, service) for service in SERVICES}
    machine.succeed("bash", "-c", f"kill -{name} {' '.join(map(str, found.values()))}")
    return found


def test_each_service_could_do_little_to_the_rest(machine: Machine) -> None:
    exposed = {}
    for service in ALL:
        instance = service.replace("engine@chat", "engine@embed")
        said = machine.succeed("systemd-analyze", "security", "--no-pager", f"appliance-{instance}.service")
        exposed[service] = float(said.rsplit("level for", 1)[1].split(":")[1].split()[0])
    said = machine.succeed("systemd-analyze", "security", "--no-pager", "appliancecare.service")
    exposed["care"] = float(said.rsplit("level for", 1)[1].split(":")[1].split()[0])
    assert max(exposed.values()) <= EXPOSED_AT_MOST, exposed
    units = [f"/etc/systemd/system/appliance-{service}.service" for service in ALL]
    units += [f"/etc/systemd/system/appliance{name}" for name in ("care.service", "care.timer", "mend.service")]
    checked = machine.run("systemd-analyze", "verify", *units, "/etc/systemd/system/appliance.target")
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_engine_has_no_rights_and_sees_nothing_of_anybody(machine: Machine) -> None:
    engine = pid(machine, "engine@chat")
    about = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{_outside(machine, engine)}/status").read_text().splitlines()
    )
    assert int(about["CapEff"], 16) == 0
    assert about["NoNewPrivs"] == "1"
    assert about["Seccomp"] == "2"
    assert about["Uid"].split()[0] == machine.succeed("id", "-u", "appliance")
    seen = machine.succeed("nsenter", "-t", str(engine), "-m", "ls", STATE).split()
    assert sorted(seen) == ["logs", "models", "run"]
    links = machine.succeed("nsenter", "-t", str(engine), "-n", "cat", "/proc/net/dev").splitlines()[2:]
    assert [link.split(":")[0].strip() for link in links] == ["lo"]
    assert machine.succeed("find", STATE, "-not", "-user", "appliance", "-not", "-name", "lost+found") == ""


def _outside(machine: Machine, process: int) -> int:
    """The number outside the container of a process in it."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                lines = (folder / "status").read_text().splitlines()
            except OSError:
                continue
            numbers = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
            if numbers[1:] == [str(process)] and (folder / "exe").readlink().name == "llama-server":
                return int(folder.name)
    raise AssertionError("the engine was not found")


def test_only_root_may_see_to_it(machine: Machine) -> None:
    done = machine.run("su", "-s", "/bin/sh", "nobody", "-c", "appliance status")
    assert done.returncode == 1
    assert "Error (needs-root)" in done.stderr
    attached = machine.run("appliance", "up", "--foreground")
    assert "runs as services of the system" in attached.stderr


def test_all_are_killed(machine: Machine, table: list[str]) -> None:
    began = time.monotonic()
    until_replaced(machine, signal_all(machine, "KILL"), HEALED_S)
    table.append(f"each service killed at once | {healthy_again(machine, HEALED_S, began):.0f} s |")


def test_all_hang(machine: Machine, table: list[str]) -> None:
    began = time.monotonic()
    until_replaced(machine, signal_all(machine, "STOP"), WATCHDOG_S + HEALED_S)
    seconds = healthy_again(machine, WATCHDOG_S + HEALED_S, began)
    table.append(f"each service made to hang (SIGSTOP) at once | {seconds:.0f} s |")


def test_the_disk_is_full(machine: Machine, table: list[str]) -> None:
    filler = machine.disk / "filler"
    free = shutil.disk_usage(machine.disk).free
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free - (1 << 20))
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    assert shutil.disk_usage(machine.disk).free < 65536
    old = signal_all(machine, "KILL")
    until_replaced(machine, {service: old[service] for service in ("engine@chat", "serve")}, HEALED_S)
    filler.unlink()
    began = time.monotonic()
    table.append(f"disk full, each service killed, then room again | {healthy_again(machine, HEALED_S, began):.0f} s |")


def test_the_power_fails(machine: Machine, table: list[str]) -> None:
    machine.cut_power()
    began = time.monotonic()
    machine.boot()
    table.append(f"power cut; from switching on | {healthy_again(machine, HEALED_S, began):.0f} s |")
    assert "whole" in machine.succeed("appliance", "audit", "verify")
    machine.power_off()
    began = time.monotonic()
    machine.boot()
    table.append(f"restart; from switching on | {healthy_again(machine, HEALED_S, began):.0f} s |")


def test_the_engine_is_exchanged_while_it_runs(machine: Machine) -> None:
    before = status(machine)
    done = machine.run("appliance", "models", "use", "smollm2-135m-instruct", "--context", "1024")
    assert done.returncode == 0, done.stderr
    after = status(machine)
    assert [engine["context"] for engine in after["engines"]] == [1024]
    assert {one["name"] for one in after["processes"]} == {"chat-2", "serve", "identity"}
    kept = {one["name"]: one["pid"] for one in before["processes"]}
    assert all(one["pid"] == kept[one["name"]] for one in after["processes"] if one["name"] in kept)


def test_backups_are_made_and_tried_when_they_are_due(machine: Machine) -> None:
    machine.succeed("install", "-d", "-o", "appliance", "/srv/usb")
    machine.succeed("appliance", "backup", "set-up", "/srv/usb")
    assert "active" in machine.succeed("systemctl", "is-active", "appliancecare.timer")
    machine.succeed("systemctl", "start", "appliancecare.service")
    assert machine.succeed("appliance", "backup", "list", "--json") == "[]"
    for command in ("create", "drill"):
        machine.succeed("touch", "-d", "40 days ago", f"{STATE}/backup/last-{command}")
        machine.succeed("systemctl", "start", "appliancecare.service")
    done = {
        one["command"]: one["last"] for one in json.loads(machine.succeed("appliance", "backup", "schedule", "--json"))
    }
    assert done["create"] is not None, machine.run("appliance", "logs", "backup").stdout
    assert done["drill"] is not None, machine.run("appliance", "logs", "backup").stdout
    assert status(machine)["healthy"]
    found = {one["id"] for one in json.loads(machine.run("appliance", "doctor", "--json").stdout)["findings"]}
    # The small disk is said to be small; of the services nothing is said.
    assert not found & {
        "process-not-ready",
        "port-taken",
        "port-not-allowed",
        "folder-open",
        "secret-open",
        "check-failed",
        "file-of-somebody-else",
    }, found
    machine.succeed("rm", "-r", "/srv/usb")


def test_a_restore_that_the_power_cut_off_is_ended_by_the_next_start(machine: Machine) -> None:
    """It was cut off when all was fetched and nothing replaced yet."""
    machine.succeed("appliance", "down")
    restored, owner = f"{STATE}/backup/restored", "--owner=appliance"
    machine.succeed("install", "-d", owner, f"{STATE}/backup", restored, f"{restored}/state", f"{restored}/config")
    kept = ("backup", "logs", "models", "run", "update", "lost+found")
    names = [
        path.name for path in machine.disk.iterdir() if path.name not in kept and "before-restore" not in path.name
    ]
    for name in names:
        machine.succeed("cp", "-a", f"{STATE}/{name}", f"{restored}/state/{name}")
    machine.succeed("cp", "-a", "/etc/appliance/appliance.toml", f"{restored}/config/appliance.toml")
    about = {"id": "0123abcd", "made_at": "2026-01-01T00:00:00Z", "from": "/srv/usb"}
    told = {"step": "out", "restored": restored, "aside": f"{STATE}/before-restore-1", "names": names, "about": about}
    (machine.disk / "backup" / "restoring.json").write_text(json.dumps(told))
    machine.succeed("chown", "appliance:", f"{STATE}/backup/restoring.json")
    machine.cut_power()
    began = time.monotonic()
    machine.boot()
    healthy_again(machine, HEALED_S, began)
    assert "restored the backup 0123abcd" in machine.succeed("appliance", "audit", "tail")
    assert "whole" in machine.succeed("appliance", "audit", "verify")
    assert (machine.disk / "before-restore-1" / "appliance.db").exists()


def test_down_ends_all_and_up_starts_all(machine: Machine) -> None:
    machine.succeed("appliance", "down")
    assert machine.succeed("systemctl", "list-units", "--state=running", "--no-legend", "appliance*") == ""
    assert status(machine)["supervisor"] is None
    machine.succeed("appliance", "up", "--no-prove")


def test_it_is_removed_without_a_trace(machine: Machine, files_before: set[str]) -> None:
    refused = machine.run("/src/installer/uninstall.sh")
    assert refused.returncode == 4
    said = machine.succeed("/src/installer/uninstall.sh", "--yes")
    assert "Data and settings stay" in said
    assert {path for path in files(machine) - files_before if not path.startswith("/etc/appliance")} == set()
    machine.succeed("test", "-s", f"{STATE}/appliance.db")
    machine.succeed("/src/installer/uninstall.sh", "--yes", "--purge")
    assert files(machine) == files_before
    assert [path.name for path in machine.disk.iterdir()] == ["lost+found"]
    assert machine.succeed("systemctl", "list-units", "--state=loaded", "--no-legend", "appliance*") == ""
    assert machine.run("systemctl", "list-unit-files", "--no-legend", "appliance*").stdout == ""
    assert machine.run("id", "appliance").returncode == 1
