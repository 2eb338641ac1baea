"""The box's name on the network, with a far side that can misbehave, and with real Avahi between two machines."""

from __future__ import annotations

import ipaddress
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.lan.announce import Name, address_now, addresses_now, name_from_json
from appliance.supervise.process import answers
from appliance.supervise.spec import Probe
from tests.support.box import environment, wait_until

# Two machines with a cable between them, each with a message bus and an Avahi of its own. No name of this machine
# or its network is touched. What is told stands on lines that begin with "told:".
_MACHINES = """
set -e
begin() {
  mount -t tmpfs none /run
  mkdir -p /run/dbus /run/avahi-daemon
  ip link set lo up
  printf '[server]\\nhost-name=%s\\n[publish]\\npublish-workstation=no\\n' "$1" >/run/avahi.conf
  dbus-daemon --system --fork --nopidfile
}
until_true() { for _ in $(seq 100); do "$@" && return; sleep 0.1; done; echo "told: never: $*"; exit 1; }
found() { [ "$(avahi-resolve -4 -n "$1" 2>/dev/null | cut -f2)" = "$2" ]; }
found6() { [ "$(avahi-resolve -6 -n "$1" 2>/dev/null | cut -f2)" = "$2" ]; }
ready() { [ "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket "$1" http://x/health)" = 200 ]; }
avahi() { avahi-daemon -f /run/avahi.conf --no-drop-root --no-rlimits --no-chroot -D; until_true avahi-daemon -c; }
if [ "${1:-}" = other ]; then
  begin printer
  until_true ip link set d1 up 2>/dev/null
  ip addr add 10.77.0.7/24 dev d1
  ip -6 addr add fd77::7/64 dev d1 nodad
  ip route add default dev d1
  avahi
  avahi-publish -a -R taken.local 10.77.0.7 &
  until_true found ai.local 10.77.0.5
  echo "told: the other machine finds it"
  until_true found6 ai.local fd77::5
  echo "told: and by IPv6"
  until_true found ai.local 10.77.0.9
  echo "told: the other machine finds it anew"
  sleep 60
fi
begin workstation
unshare -n -m bash "$0" other &
other=$!
ip link add d0 type veth peer name d1
until_true test "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)"
ip link set d1 netns "$other"
ip addr add 10.77.0.5/24 dev d0
ip link set d0 up
ip -6 addr add fd77::5/64 dev d0 nodad
ip route add default dev d0
avahi
told() { printf '{"host": "%s", "address": "", "socket": "/run/%s", "program": "avahi-publish"}' "$1" "$1"; }
name() { "$PYTHON" -P -m appliance.cli.lan_name "$(told "$1")"; }
name ai.local &
mine=$!
until_true ready /run/ai.local
echo "told: ready"
until_true found taken.local 10.77.0.7
name taken.local 2>&1 | sed 's/^/told: /' || true
ip addr add 10.77.0.9/24 dev d0
ip addr del 10.77.0.5/24 dev d0
ip addr replace 10.77.0.9/24 dev d0
ip route replace default dev d0
until_true found ai.local 10.77.0.9
echo "told: it follows the address"
sleep 3
kill $mine
"""


@dataclass
class Told:
    """A name that is being made known by a program of the test's own."""

    folder: Path
    says: str
    process: subprocess.Popen[bytes] | None = None

    def start(self, address: str = "192.0.2.7") -> None:
        """Run it; `says` is what the program does, as shell."""
        program = self.folder / "avahi-publish"
        program.write_text(f'#!/bin/sh\necho "$@" >>{self.folder}/asked\n{self.says}\n')
        program.chmod(0o755)
        name = Name("ai.local", address, str(self.socket), str(program))
        assert name_from_json(name.to_json()) == name
        command = [sys.executable, "-P", "-m", "appliance.cli.lan_name", name.to_json()]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment())

    @property
    def socket(self) -> Path:
        return self.folder / "name.sock"

    def ready(self) -> bool:
        return answers(Probe("/health", socket=str(self.socket)))

    def ended(self) -> str:
        """What it says when it has ended by itself."""
        assert self.process is not None
        assert self.process.wait(30) == 1
        return (self.folder / "log").read_text()


def test_a_name_is_known_once_avahi_says_so_and_no_longer_than_we_run(tmp_path: Path) -> None:
    told = Told(tmp_path, "echo $$ >$0.pid\necho Established under name \\'ai.local\\' >&2\nexec sleep 600")
    told.start()
    wait_until(told.ready, 30, "readiness")
    assert (tmp_path / "asked").read_text() == "-a -R ai.local 192.0.2.7\n"
    assert told.process is not None
    child = int((tmp_path / "avahi-publish.pid").read_text())
    told.process.send_signal(signal.SIGTERM)
    assert told.process.wait(20) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize(
    ("says", "code"),
    [
        ("echo \"Name collision, picking new name 'ai-2.local'.\" >&2\nexec sleep 600", "name-taken"),
        ("echo \"Established under name 'ai-2.local'\" >&2\nexec sleep 600", "name-taken"),
        ("echo Failed to create client object: Daemon not running >&2\nexit 1", "mdns-failed"),
        ("exit 1", "mdns-failed"),
    ],
)
def test_a_name_that_cannot_be_had_ends_it_with_the_next_step(tmp_path: Path, says: str, code: str) -> None:
    told = Told(tmp_path, says)
    told.start()
    said = told.ended()
    assert f"Error ({code})" in said
    assert "Next: " in said
    assert not told.ready()


def test_until_avahi_has_said_so_it_is_not_ready(tmp_path: Path) -> None:
    told = Told(tmp_path, f"read go <{tmp_path}/go\necho \"Established under name 'ai.local'\"\nexec sleep 600")
    os.mkfifo(tmp_path / "go")
    told.start()
    wait_until(told.socket.exists, 30, "the socket")
    wait_until((tmp_path / "asked").exists, 30, "the question")
    assert not told.ready()
    (tmp_path / "go").write_text("go\n")
    wait_until(told.ready, 30, "readiness")
    assert told.process is not None
    told.process.send_signal(signal.SIGTERM)
    assert told.process.wait(20) == 0


def test_the_address_of_this_machine_is_no_loopback() -> None:
    assert not address_now().startswith("127.")
    found = [ipaddress.ip_address(one) for one in addresses_now()]
    assert not [one for one in found if one.is_loopback or (one.version == 6 and one.is_link_local)]


def test_the_second_address_may_fail_and_the_first_may_not(tmp_path: Path) -> None:
    """What is told are the addresses of this machine; where it has no IPv6, there is no second one to fail."""
    fails = 'case "$4" in *:*) echo "Failed to add address: Not supported"; exit 1;; esac'
    told = Told(tmp_path, f"{fails}\necho Established under name \\'ai.local\\'\nexec sleep 600")
    told.start("")
    wait_until(told.ready, 30, "readiness")
    wait_until(lambda: len((tmp_path / "asked").read_text().splitlines()) == len(addresses_now()), 30, "all of them")
    assert (tmp_path / "asked").read_text().splitlines() == [f"-a -R ai.local {one}" for one in addresses_now()]
    assert told.process is not None
    assert told.process.poll() is None
    told.process.send_signal(signal.SIGTERM)
    assert told.process.wait(20) == 0


@pytest.mark.slow
def test_another_machine_finds_it_follows_it_and_keeps_its_own_name(tmp_path: Path) -> None:
    programs = ("unshare", "ip", "mount", "dbus-daemon", "avahi-daemon", "avahi-publish", "avahi-resolve", "curl")
    lacking = [one for one in programs if shutil.which(one) is None]
    if lacking or os.geteuid() != 0:
        pytest.skip(f"NOT TESTED: needs root and {', '.join(lacking) or 'no more'}")
    script = tmp_path / "machines.sh"
    script.write_text(_MACHINES)
    env = {**environment(), "PYTHON": sys.executable, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    command = ["unshare", "-n", "-m", "-p", "--fork", "--kill-child", "--mount-proc", "bash", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip("NOT TESTED: no networks of a test's own here")
    told = [line for line in done.stdout.splitlines() if line.startswith("told: ")]
    assert "told: ready" in told, done.stdout + done.stderr
    assert "told: the other machine finds it" in told, done.stdout + done.stderr
    assert "told: and by IPv6" in told, done.stdout + done.stderr
    assert "told: the other machine finds it anew" in told
    assert "told: it follows the address" in told
    assert any("Error (name-taken): Another machine on the network is called taken.local." in line for line in told)
