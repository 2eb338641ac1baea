"""`appliance cloud`: the switch, the keys and the state, from the command line."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest

from tests.support.box import Box, environment

pytestmark = pytest.mark.slow

KEY = "sk-very-secret-0123456789"
CLOUD = """
[cloud]
enabled = true
teams = ["dev"]
local_only = ["team:hr"]
monthly_cap = "20"
[cloud.providers.far]
kind = "anthropic"
url = "https://api.example.com/v1"
[cloud.providers.own]
url = "https://api.example.com/v1"
key_file = "/nowhere/key"
[cloud.models.far-model]
provider = "far"
model = "claude-x"
"""


def give_key(box: Box, given: bytes, provider: str = "far", code: int = 0) -> str:
    """Give a key by standard input; what was said."""
    done = subprocess.run(
        box.argv("cloud", "key", provider), input=given, capture_output=True, env=environment(), check=False, timeout=60
    )
    assert done.returncode == code, done.stderr
    return (done.stdout + done.stderr).decode()


def test_a_new_box_sends_nothing_and_says_so(box: Box) -> None:
    found = box.document("cloud", "status")
    assert (found["enabled"], found["sends"], found["providers"], found["spent"]) == (False, False, [], 0)
    assert "Nothing leaves the box." in box.run("cloud", "status").stdout
    assert "do not enable it" in box.run("cloud", "on").stderr


def test_the_switch_goes_off_and_on(box: Box) -> None:
    box.configure(CLOUD)
    assert box.document("cloud", "status")["sends"]
    assert "Nothing goes to the cloud any more" in box.run("cloud", "off").stderr
    assert "already" in box.run("cloud", "off").stderr
    found = box.document("cloud", "status")
    assert (found["enabled"], found["switched_off"], found["sends"]) == (True, True, False)
    assert "switched off with `appliance cloud off`" in box.run("cloud", "status").stdout
    assert "no longer switched off" in box.run("cloud", "on").stderr
    assert box.document("cloud", "status")["sends"]


def test_the_switch_works_though_the_settings_and_the_database_are_broken(box: Box) -> None:
    box.configure(CLOUD.replace("enabled", "enbled"))
    box.run("cloud", "status", code=2)
    box.state.mkdir()
    (box.state / "appliance.db").write_text("no database")
    box.run("cloud", "off")
    assert (box.state / "cloud-off").exists()


def test_a_key_comes_by_standard_input_and_is_shown_nowhere(box: Box) -> None:
    box.configure(CLOUD)
    assert [one["key"] for one in box.document("cloud", "status")["providers"]] == ["missing", "missing"]
    assert KEY not in give_key(box, KEY.encode() + b"\n")
    file = box.state / "secrets" / "far"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text() == KEY + "\n"
    for words in (("cloud", "status"), ("cloud", "status", "--json"), ("cloud", "off"), ("usage",)):
        done = box.run(*words)
        assert KEY not in done.stdout + done.stderr
    assert box.document("cloud", "status")["providers"][0]["key"] == "present"
    kept = [path for path in box.folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert kept == [file], "neither in the database nor in a log"
    file.chmod(0o640)
    assert "chmod 600" in box.document("cloud", "status")["providers"][0]["key"]


@pytest.mark.parametrize("given", [b"", b"\n", KEY.encode() + b" and more", KEY.encode() + b"\xff", b"x" * 10_000])
def test_what_is_no_key_is_refused_and_not_repeated(box: Box, given: bytes) -> None:
    box.configure(CLOUD)
    said = give_key(box, given, code=2)
    assert "Error (wrong-use)" in said
    assert KEY not in said
    assert not (box.state / "secrets" / "far").exists()


def test_a_key_is_only_kept_for_a_provider_that_looks_for_it_there(box: Box) -> None:
    box.configure(CLOUD)
    assert "there are: far, own" in give_key(box, KEY.encode(), "fat", code=2)
    assert "somewhere else" in give_key(box, KEY.encode(), "own", code=2)


def test_at_a_terminal_the_key_is_asked_for_and_not_shown(box: Box) -> None:
    box.configure(CLOUD)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        box.argv("cloud", "key", "far"), stdin=theirs, stdout=theirs, stderr=theirs, env=environment(),
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        while b"Key:" not in shown:
            shown += os.read(ours, 1000)
        os.write(ours, KEY.encode() + b"\n")
        assert process.wait(60) == 0
        shown += os.read(ours, 10_000)
    os.close(ours)
    assert KEY.encode() not in shown
    assert (box.state / "secrets" / "far").read_text() == KEY + "\n"


def test_a_mistake_in_the_settings_stops_the_start_by_name(box: Box) -> None:
    box.configure(CLOUD.replace('monthly_cap = "20"\n', ""))
    error = box.document("status", code=2)["error"]
    assert error["code"] == "config-bad-value"
    assert "`monthly_cap` must say" in error["message"]
    assert "Error (config-bad-value)" in box.run("serve", code=2).stderr
