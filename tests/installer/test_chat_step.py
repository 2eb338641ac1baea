"""The installer's chat page: which machines get it, what a failure does, and what people read at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.chat import install
from tests.installer.machine import Machine, failures
from tests.installer.test_install import steps
from tests.support.box import free_port

pytestmark = pytest.mark.slow

ADDRESS = "http://127.0.0.1:8090"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine that passes every check, and reaches no network; nobody there is root."""
    made = Machine(tmp_path)
    made.without_network()
    made.usual_tools()
    made.replace_tool("id", "echo 1000")
    return made


def plan(machine: Machine, *options: str) -> str:
    """What the installer says that it would do."""
    done = machine.install("--dry-run", "--port", str(free_port()), *options)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def test_it_is_in_the_plan_of_a_new_installation_unless_it_is_left_out(machine: Machine) -> None:
    said = plan(machine)
    assert "fetch the chat page, Open WebUI, into" in said
    assert "0.3 GB, 1.2 GB unpacked" in said
    assert "and the chat page at port 8" in said
    assert "WARNING: there is no redis-server. Without it a browser can go on reading" in said
    said = plan(machine, "--no-chat-page")
    assert "chat page: left out, as asked" in said
    assert "Open WebUI" not in said
    assert "chat page at port" not in said


def test_root_has_redis_installed_with_it(machine: Machine) -> None:
    machine.replace_tool("id", "echo 0")
    assert "install the Debian package redis-server" in plan(machine)
    assert "redis-server" not in plan(machine, "--no-chat-page")


def test_where_python_is_yet_to_come_the_plan_says_so(machine: Machine) -> None:
    machine.replace_tool("id", "echo 0")
    machine.replace_tool("python3", None)
    said = plan(machine)
    assert "if that Python can run it, fetch the chat page, Open WebUI" in said
    assert "Open WebUI" not in plan(machine, "--no-chat-page")


def test_a_small_machine_goes_without_it_and_is_installed_all_the_same(machine: Machine) -> None:
    machine.fake_file("/proc/meminfo", "MemTotal:        3995000 kB\n")
    said = plan(machine)
    assert "chat page: left out, for it takes 4.5 GiB of memory with the rest, and there are 3.8 GiB" in said
    assert "and sign-on at port" in said
    assert "chat page at port" not in said


@pytest.mark.parametrize(
    ("fake", "why"),
    [
        ("free_bytes() { echo 2000000000; }", "for it takes 9.0 GiB on the disk of "),
        # Another disk than the rest, and an engine that is built already.
        (
            "free_bytes() { echo 2000000000; }; disk_of() { echo $1; }; engine_cached() { :; }",
            "for it takes 2.0 GiB on",
        ),
        (
            "chat_python_version() { echo 3.13; }; command() { false; }",
            "for it runs on Python 3.11 or 3.12, and this machine",
        ),
        (":", ""),
    ],
)
def test_why_a_machine_goes_without_it(tmp_path: Path, fake: str, why: str) -> None:
    (tmp_path / "cache").mkdir()
    roomy = "free_bytes() { echo 99000000000; }; total_memory() { echo 9000000000; }; engine_cached() { false; }"
    done = steps(f"{roomy}; {fake}; chat_hindrance", tmp_path)
    assert done.stdout.startswith(why)
    assert bool(done.stdout) == bool(why)


def test_settings_that_are_there_decide(tmp_path: Path) -> None:
    said = steps("check_chat_page; echo $CHAT", tmp_path, CONFIG=settings(tmp_path, "")).stdout
    assert "chat page: left out, " in said
    assert "does not have it switched on" in said
    assert said.endswith("\nno\n")
    # Whatever the option says, and whatever the machine is like: an admin has switched it on.
    on = settings(tmp_path, "[chat]\nenabled = true\n")
    script = "total_memory() { echo 1; }; check_chat_page; echo $CHAT"
    assert steps(script, tmp_path, CONFIG=on, CHAT_WANTED="no").stdout.endswith("\nyes\n")
    # A file that is no TOML is told of when it is read in earnest.
    assert steps(script, tmp_path, CONFIG=settings(tmp_path, "[chat")).stdout.endswith("\nno\n")


def settings(folder: Path, text: str) -> str:
    """A settings file with this text."""
    file = folder / "there.toml"
    file.write_text(text)
    return str(file)


def test_the_installer_and_the_appliance_mean_the_same_folder(tmp_path: Path) -> None:
    found = steps("chat_page_ready", tmp_path).stdout
    assert found == str(install._folder(tmp_path / "cache") / "ready")


def release(folder: Path, script: str) -> None:
    """A release whose Python does what a script says."""
    python = folder / "release/venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "asked: $*"\n{script}\n')
    python.chmod(0o755)


def test_the_step_installs_it(tmp_path: Path) -> None:
    release(tmp_path, "exit 0")
    said = steps("CHAT=yes; install_chat_page; echo $CHAT", tmp_path)
    assert "asked: -P -m appliance chat-page install\nyes\n" in said.stdout
    assert "left out, as asked" in steps("CHAT=no CHAT_WHY='as asked'; install_chat_page", tmp_path).stdout
    ready = install._folder(tmp_path / "cache") / "ready"
    ready.parent.mkdir(parents=True)
    ready.touch()
    said = steps("CHAT=yes; install_chat_page", tmp_path)
    assert "it is here already" in said.stdout
    assert "asked" not in said.stdout


def test_a_machine_that_turns_out_unable_goes_without_it(tmp_path: Path) -> None:
    release(tmp_path, "exit 3")
    said = steps("CHAT=yes; install_chat_page; echo $CHAT; write_settings", tmp_path).stdout
    assert "the installation goes on without it" in said
    assert "\nno\n" in said
    assert "[chat]" not in (tmp_path / "etc/appliance.toml").read_text()


def test_a_download_that_breaks_is_a_failure_with_a_way_on(tmp_path: Path) -> None:
    release(tmp_path, "exit 1")
    done = steps("CHAT=yes; install_chat_page; echo went on", tmp_path, code=1)
    assert "went on" not in done.stdout
    _, step = failures(done.stderr)["download-failed"]
    assert "Run the same command again" in step
    assert "--no-chat-page" in step


def test_what_an_admin_has_switched_on_is_not_passed_over(tmp_path: Path) -> None:
    release(tmp_path, "exit 3")
    on = settings(tmp_path, "[chat]\nenabled = true\n")
    done = steps("CHAT=yes; install_chat_page", tmp_path, code=1, CONFIG=on)
    sentence, step = failures(done.stderr)["download-failed"]
    assert "the settings have the chat page switched on" in sentence
    assert f"set enabled = false under [chat] in {on}" in step


@pytest.mark.parametrize(("apt", "said"), [("exit 0", ""), ("exit 100", "the installation goes on without it")])
def test_a_redis_that_cannot_be_had_ends_nothing(tmp_path: Path, apt: str, said: str) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, does in (("apt-get", apt), ("systemctl", "exit 0")):
        (tools / name).write_text(f"#!/bin/sh\n{does}\n")
        (tools / name).chmod(0o755)
    script = f"PATH={tools}:$PATH; MISSING=(); OPTIONAL=(redis-server); install_debian_packages; echo went on"
    done = steps(script, tmp_path)
    assert done.stdout.endswith("went on\n")
    assert said in done.stdout


def appliance(folder: Path, urls: str) -> None:
    """An installed command whose status names these addresses; somebody owns it."""
    command = folder / "bin/appliance"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\necho \'{{"owned": true, "urls": {{{urls}}}}}\'\n')
    command.chmod(0o755)


def test_the_end_names_the_chat_page_first_of_all(tmp_path: Path) -> None:
    appliance(tmp_path, f'"api": "http://127.0.0.1:8080/v1", "chat": "{ADDRESS}"')
    said = steps("say_goodbye", tmp_path).stdout.split("\n")
    assert said[1:3] == ["The appliance is ready.", f"  The chat page, in a browser on this machine:  {ADDRESS}"]
    assert "docs/lan.md" in said[3]


def test_the_end_says_how_others_come_and_what_was_left_out(tmp_path: Path) -> None:
    appliance(tmp_path, '"api": "https://ai.local/v1", "chat": "https://ai.local"')
    said = steps("say_goodbye", tmp_path).stdout
    assert "  The chat page, in a browser:  https://ai.local\n" in said
    assert "docs/lan.md" not in said
    (tmp_path / "bin/appliance").unlink()
    (tmp_path / "bin").rmdir()
    appliance(tmp_path, '"api": "http://127.0.0.1:8080/v1"')
    said = steps("say_goodbye", tmp_path, CHAT_WHY="as asked").stdout
    assert "There is no chat page: it was left out, as asked. To add it later: docs/chat-page.md" in said
