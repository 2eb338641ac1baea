"""What the uninstaller takes away and leaves, and which ports the installer opens in which firewall."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.installer.machine import REPOSITORY, failures

pytestmark = pytest.mark.slow

# The part of the installer that is about the firewall, with what it calls around it.
FIREWALL = """
set -eu
say() { printf '%s\\n' "$*"; }
run() { "$@"; }
. "$1/installer/services.sh"
LINK=yes CODE=$2
lan_ports() { printf '%s' "$PORTS"; }
open_firewall
"""


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """An installation in a folder of its own, whose command only notes what it was asked."""
    folder = tmp_path / "prefix"
    for name in ("bin", "etc", "log", "releases/0.1.0/venv", "var"):
        (folder / name).mkdir(parents=True)
    (folder / "current").symlink_to("releases/0.1.0")
    (folder / "etc/appliance.toml").touch()
    (folder / "var/appliance.db").touch()
    command = folder / "bin/appliance"
    command.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    command.chmod(0o755)
    return folder


def uninstall(prefix: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(REPOSITORY / "installer/uninstall.sh"), "--prefix", str(prefix), *options]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def test_nothing_is_removed_without_a_yes(prefix: Path) -> None:
    before = sorted(prefix.rglob("*"))
    done = uninstall(prefix)
    assert done.returncode == 4
    assert list(failures(done.stderr)) == ["needs-yes"]
    assert sorted(prefix.rglob("*")) == before


def test_programs_go_and_data_stays(prefix: Path) -> None:
    done = uninstall(prefix, "--yes")
    assert done.returncode == 0, done.stderr
    assert (prefix.parent / "asked").read_text() == "down\n"
    assert sorted(path.name for path in prefix.iterdir()) == ["etc", "var"]
    assert (prefix / "var/appliance.db").exists()
    assert f"Data and settings stay: {prefix}/var" in done.stdout


def test_data_goes_too_where_that_is_asked_for(prefix: Path) -> None:
    assert uninstall(prefix, "--yes", "--purge").returncode == 0
    assert not prefix.exists()


def test_where_nothing_is_installed_nothing_is_removed(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    done = uninstall(tmp_path, "--yes", "--purge")
    assert done.returncode == 1
    assert "there is no appliance in" in done.stderr
    assert (tmp_path / "mine").exists()


def opened(tmp_path: Path, ports: str, **tools: str) -> tuple[str, list[str]]:
    """Open the firewall among these tools; what was said, and what the tools were asked for."""
    (tmp_path / "log").mkdir(exist_ok=True)
    asked = tmp_path / "asked"
    asked.write_text("")
    folder = tmp_path / "tools"
    folder.mkdir(exist_ok=True)
    for name, script in tools.items():
        file = folder / name.replace("_", "-")
        file.write_text(f'#!/bin/sh\necho "$(basename "$0") $*" >>{asked}\n{script}\n')
        file.chmod(0o755)
    for name in ("basename", "bash", "cat", "grep", "sh"):
        if not (folder / name).exists():
            (folder / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")
    done = subprocess.run(
        ["/bin/bash", "-c", FIREWALL, "firewall", str(REPOSITORY), str(tmp_path)],
        env={**os.environ, "PATH": str(folder), "PORTS": ports}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout, asked.read_text().splitlines()


def test_ufw_is_told_once_and_it_is_noted_for_the_end(tmp_path: Path) -> None:
    active = '[ "$1" = status ] && echo "Status: active"; true'
    for _ in range(2):
        _, asked = opened(tmp_path, "443 8444", ufw=active)
        assert asked == ["ufw status", "ufw allow 443/tcp", "ufw allow 8444/tcp"]
    assert (tmp_path / "log/opened-ports").read_text() == "ufw 443\nufw 8444\n"


def test_firewalld_is_told_for_good(tmp_path: Path) -> None:
    _, asked = opened(tmp_path, "443", ufw="echo Status: inactive", firewall_cmd="true")
    assert asked[-2:] == ["firewall-cmd --quiet --permanent --add-port=443/tcp", "firewall-cmd --quiet --reload"]


def test_rules_of_ones_own_are_left_alone_and_it_is_said(tmp_path: Path) -> None:
    said, asked = opened(tmp_path, "443", nft="echo table inet filter")
    assert "rules of nftables of its own" in said
    assert asked == ["nft list ruleset"]
    assert not (tmp_path / "log/opened-ports").exists()


def test_where_no_firewall_runs_that_is_said(tmp_path: Path) -> None:
    said, _ = opened(tmp_path, "443", nft="true")
    assert "no firewall runs here: port 443 is open already" in said


def test_without_the_network_nothing_is_opened(tmp_path: Path) -> None:
    said, asked = opened(tmp_path, "", ufw='echo "Status: active"')
    assert "nothing to open" in said
    assert asked == []
