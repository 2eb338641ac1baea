"""People on the command line: from the first invitation to their removal, with a gateway that serves them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlmodel import Session

from appliance.accounts import groups, links, owners, people, suspension
from appliance.config.paths import find_home
from appliance.errors import ApplianceError
from appliance.store.sessions import session
from tests.flow.test_access import Program
from tests.support.box import Box, environment
from tests.support.people import PASSWORD, owner

pytestmark = pytest.mark.slow


@contextmanager
def database(box: Box) -> Iterator[Session]:
    """A transaction on a box's database."""
    find_home(box.config, box.state).prepare()
    with session(box.state / "appliance.db", alone=True) as opened:
        yield opened


def files_with(box: Box, text: str) -> list[str]:
    """The files below the state folder that hold a text."""
    return [str(file) for file in box.state.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]


def told(box: Box) -> list[str]:
    """The audit log as a person reads it, without numbers, times and whoever did it."""
    lines = box.run("audit", "tail").stdout.splitlines()
    return [line[29:].partition(" by os:")[0].partition(" from os:")[0] for line in lines]


def states(box: Box) -> dict[str, str]:
    """How everybody is, by login."""
    with database(box) as opened:
        return {one.person.login: one.state for one in people.listed(opened)}


def test_from_the_first_day_to_the_last(served: Box) -> None:
    key = served.key("anna")
    with database(served) as opened:
        groups.add(opened, "sales")
    words = ("users", "add", "Anna@Example.com", "--name", "Anna Krahl", "--group", "sales", "--password-stdin")
    assert "Mind that 1 key of that name came first" in served.run(*words, given=f"{PASSWORD}\n").stderr
    program = Program(served, key)
    assert program.ask() == (200, "")

    # Off means off from the next request on, on a connection that stays open.
    disabled = served.run("users", "disable", "anna@example.com")
    assert program.ask() == (403, "suspended")
    assert "Anna Krahl is shut out from now on, with 1 key." in disabled.stderr
    (listed,) = served.document("users", "list")
    assert listed.pop("id").startswith("per-")
    assert listed.pop("created_at")
    assert listed == {
        "email": "anna@example.com", "name": "Anna Krahl", "login": "anna", "role": "staff", "team": "sales",
        "groups": ["sales"], "state": "disabled", "shut_out": "user", "second_factors": [],
        "sources": [],
    }  # fmt: skip
    served.run("users", "enable", "anna@example.com")
    assert program.ask() == (200, "")

    assert served.document("users", "role", "anna", "auditor")["role"] == "auditor"
    error = served.document("users", "remove", "anna@example.com", code=4)["error"]
    assert error["hint"] == "To go ahead: appliance users remove anna@example.com --yes"
    assert served.document("users", "remove", "anna@example.com", "--dry-run")["removed"] is False
    assert program.ask() == (200, "")
    assert served.document("users", "remove", "anna@example.com", "--yes")["keys"] == 1
    assert program.ask() == (401, "key-refused")
    program.close()
    assert states(served) == {}
    # What was used stays on record, by the login.
    assert {row["principal"] for row in served.rows()} == {"anna"}
    expected = ["anna got an account as staff", "user anna was shut out", "user anna was let in"]
    expected += ["anna is auditor now,", "anna was removed"]
    assert [line for line in told(served) if line in expected] == expected
    assert files_with(served, PASSWORD) == []


def test_the_last_owner_keeps_everything_that_makes_them_one(box: Box) -> None:
    with database(box) as opened:
        owner(opened, "one")
    for words in (("users", "remove", "one", "--yes"), ("keys", "suspend", "--owner", "one", "--yes")):
        assert box.document(*words, code=1)["error"]["code"] == "last-owner"
    assert states(box) == {"one": "active"}
    assert told(box) == []


def test_of_the_last_two_owners_whom_two_processes_end_at_once_one_remains(box: Box) -> None:
    with database(box) as opened:
        owner(opened, "one")
    for other, act in (("two", ("remove", "--yes")), ("three", ("disable",))):
        with database(box) as opened:
            owner(opened, other)
            both = [one.person.login for one in people.listed(opened) if one.state == "active"]
        children = [
            subprocess.Popen(
                box.argv("users", act[0], name, *act[1:], "--json"),
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(), text=True,
            )
            for name in both
        ]  # fmt: skip
        said = [child.communicate(timeout=120)[0] for child in children]
        assert sorted(child.returncode for child in children) == [0, 1], said
        assert sum("last-owner" in one for one in said) == 1
        with database(box) as opened:
            assert len(owners.who_can_sign_in(opened)) == 1


def test_a_password_that_is_soon_guessed_makes_no_account(served: Box) -> None:
    words = ("users", "add", "krahl@ottbraeu.example", "--password-stdin")
    error = served.document(*words, code=2, given="krahl-ottbraeu-1\n")["error"]
    assert error["code"] == "password-refused"
    assert "own name, address or company" in error["message"]
    assert "krahl" not in states(served)


def test_a_link_is_shown_once_and_used_once(served: Box) -> None:
    done = served.run("users", "invite", "ben@example.com", "--role", "admin")
    path = done.stdout.strip()
    assert path.startswith(links.PATH)
    assert "This is for Ben <ben@example.com> alone. It works once, until " in done.stderr
    assert path not in done.stderr
    secret = path.removeprefix(links.PATH)
    assert files_with(served, secret) == []
    assert states(served)["ben"] == "invited"
    fresh = served.document("users", "invite", "BEN@example.com")["link"].removeprefix(links.PATH)
    with database(served) as opened:
        assert [used(opened, one) for one in (secret, fresh, fresh)] == ["link-refused", "", "link-refused"]
        people.find(opened, "ben").password = "of the link"
    assert served.document("users", "invite", "ben", code=2)["error"]["code"] == "wrong-use"
    reset = served.document("users", "reset", "ben@example.com", "--now", "--second-factor")
    with database(served) as opened:
        assert people.find(opened, "ben").password == ""
        assert used(opened, reset["link"].removeprefix(links.PATH)) == ""
    expected = ["ben got an account as admin", "ben was invited", "ben was invited", "ben may set a new password,"]
    assert [line for line in told(served) if line.startswith("ben ")] == expected


def used(opened: Session, secret: str) -> str:
    """The code of the refusal to use a link; empty where it is used."""
    try:
        links.use(opened, secret)
    except ApplianceError as error:
        return error.code
    return ""


def test_a_list_is_imported_whole_or_not_at_all(served: Box) -> None:
    with database(served) as opened:
        groups.add(opened, "Vertrieb")
    file = served.folder / "leute.csv"
    head = "\ufeffemail;name;role;groups\r\ncarla@example.com;Carla Krähl;admin;Vertrieb\r\n"
    file.write_bytes(f"{head}ben;Ben;boss;\r\nCARLA@example.com\r\ndora@example.com;;;Vertrieb|Einkauf\r\n".encode())
    error = served.document("users", "import", str(file), code=2)["error"]
    assert error["code"] == "import-refused"
    assert error["message"] == (
        "Nobody was added: line 3: 'ben' is no e-mail address; line 3: There is no role 'boss';"
        " line 4: carla@example.com stands in line 2 already; line 5: there is no group 'Einkauf'."
    )
    assert "carla" not in states(served)
    file.write_bytes(f"{head}dora@example.com\r\n".encode())
    assert "would give 2 people an account" in served.run("users", "import", str(file), "--dry-run").stderr
    assert "carla" not in states(served)
    added = served.document("users", "import", str(file))
    assert added[0] == {"email": "carla@example.com", "name": "Carla Krähl", "role": "admin", "groups": ["Vertrieb"]}
    with database(served) as opened:
        assert people.find(opened, "carla").team == "Vertrieb"
        assert people.find(opened, "dora").name == "Dora"
    assert served.document("users", "import", str(served.folder / "none.csv"), code=2)["error"]["code"] == "wrong-use"


def test_groups_are_made_joined_left_and_removed(served: Box) -> None:
    served.run("groups", "add", "hr")
    with database(served) as opened:
        for name in ("eve", "fay"):
            people.add(opened, f"{name}@example.com")
    joined = served.document("groups", "join", "hr", "eve@example.com", "fay")
    assert joined == {"name": "hr", "people": ["eve@example.com", "fay@example.com"]}
    assert "counts for no team" in served.run("groups", "leave", "hr", "fay").stderr
    with database(served) as opened:
        suspension.suspend(opened, suspension.TEAM, "hr")
    (found,) = [one for one in served.document("groups", "list") if one["name"] == "hr"]
    assert (found["people"], found["suspended"]) == (["eve@example.com"], True)
    (line,) = [line for line in served.run("users", "list").stdout.splitlines() if line.startswith("eve@")]
    assert line.split() == ["eve@example.com", "eve", "staff", "hr", "team", "shut", "out"]
    assert "1 person would no longer be in the group 'hr'." in served.run("groups", "remove", "hr", code=4).stderr
    served.run("groups", "remove", "hr", "--yes")
    with database(served) as opened:
        assert "hr" not in [group.name for group in groups.listed(opened)]
        assert people.find(opened, "eve").team == ""
