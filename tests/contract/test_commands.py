"""Every command has its panel and an example that works, and the options that its kind must have."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from appliance.cli.panels import ORDER
from docs.generate import REFERENCE, commands

# What kind each command is. A new one must be put somewhere here.
READING = {
    "status",
    "doctor",
    "report",
    "secrets list",
    "chat",
    "models list",
    "models show",
    "models verify",
    "keys list",
    "ca show",
    "backup list",
    "backup verify",
    "clients list",
    "users list",
    "groups list",
    "logs",
    "usage",
    "cloud status",
    "hardware",
    "models plan",
    "models fit",
    "audit tail",
    "audit verify",
    "budgets list",
    "batches list",
    "sign-in check",
    "users show",
    "update check",
    "update history",
}
DESTRUCTIVE = {
    "audit restart",
    "batches cancel",
    "keys revoke",
    "clients remove",
    "keys suspend",
    "users remove",
    "groups remove",
    "budgets remove",
    "models rm",
    "models gc",
    "restore",
    "update rollback",
}
ACTING = {
    "up",
    "down",
    "keys create",
    "clients add",
    "clients rotate-keys",
    "identity",
    "keys resume",
    "keys rotate",
    "users add",
    "users invite",
    "users owner-link",
    "users reset",
    "users unlink",
    "users role",
    "users disable",
    "users enable",
    "users import",
    "groups add",
    "groups join",
    "groups leave",
    "budgets set",
    "models pull",
    "models prove",
    "models tune",
    "models use",
    "serve",
    "cloud off",
    "cloud on",
    "cloud key",
    "engine build",
    "chat-page install",
    "audit export",
    "ca export",
    "backup set-up",
    "backup create",
    "backup drill",
    "backup export",
    "backup schedule",
    "update apply",
    "update new-key",
    "update make",
    "update sign",
    "secrets rotate",
}

COMMANDS = {name: (panel, command) for panel, name, command in commands()}


def options(command: Any) -> set[str]:
    """The options of a command."""
    return {option for parameter in command.params for option in parameter.opts}


def test_every_command_is_of_one_kind() -> None:
    kinds = [READING, DESTRUCTIVE, ACTING]
    assert set().union(*kinds) == set(COMMANDS)
    assert sum(map(len, kinds)) == len(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_stands_in_a_panel_and_in_the_manual(name: str) -> None:
    assert COMMANDS[name][0] in ORDER
    assert f"### `appliance {name}`" in (REFERENCE / "commands.md").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_ends_its_help_with_an_example_that_its_options_take(name: str) -> None:
    command = COMMANDS[name][1]
    told, _, example = command.help.partition("Example: ")
    assert told.strip()
    words = shlex.split(example.strip())
    assert words[0] == "appliance"
    first = words.index(name.split()[0])
    assert words[first : first + len(name.split())] == name.split()
    command.make_context(name, words[first + len(name.split()) :])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_and_option_says_what_it_is(name: str) -> None:
    assert [one.name for one in COMMANDS[name][1].params if not one.help] == []


@pytest.mark.parametrize("name", sorted(READING | DESTRUCTIVE))
def test_a_command_that_tells_something_can_tell_it_as_json(name: str) -> None:
    assert "--json" in options(COMMANDS[name][1])


@pytest.mark.parametrize("name", sorted(DESTRUCTIVE))
def test_a_command_that_destroys_can_be_tried_and_must_be_confirmed(name: str) -> None:
    assert {"--yes", "--dry-run"} <= options(COMMANDS[name][1])


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - DESTRUCTIVE))
def test_a_command_that_destroys_nothing_does_not_ask(name: str) -> None:
    assert not {"--yes", "--force"} & options(COMMANDS[name][1])
