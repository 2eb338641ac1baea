"""API keys on the command line: shown once, never stored, and revoked only with a yes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.box import Box, ask

pytestmark = pytest.mark.slow

TERMS = {
    "id", "owner", "team", "models", "endpoints", "addresses", "priority", "created_at", "expires_at"
}  # fmt: skip


def files_with(folder: Path, secret: str) -> set[Path]:
    """The files below a folder that hold a text."""
    return {file for file in folder.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()}


def test_a_new_key_is_shown_once_and_works(served: Box) -> None:
    done = served.run("keys", "create", "--owner", "anna")
    secret = done.stdout.strip()
    assert "it is not shown again" in done.stderr
    assert secret not in done.stderr
    assert served.post(ask(), secret)[0] == 200
    assert secret not in served.run("keys", "list").stdout


def test_a_key_is_nowhere_in_the_state_folder_but_for_the_command_lines_own(served: Box) -> None:
    secret = served.document("keys", "create", "--owner", "anna")["key"]
    assert served.post(ask(), secret)[0] == 200
    served.run("chat", "hello")
    own = served.state / "secrets" / "cli.key"
    assert files_with(served.state, secret) == set()
    assert files_with(served.state, own.read_text().strip()) == {own}
    assert own.stat().st_mode & 0o777 == 0o600


def test_the_command_lines_own_key_is_replaced_once_revoked(served: Box) -> None:
    served.run("chat", "hello")
    own = next(key for key in served.document("keys", "list") if key["owner"] == "admin" and not key["revoked_at"])
    served.run("keys", "revoke", own["id"], "--yes")
    served.run("chat", "hello")


def test_list_shows_who_has_which_key_since_when(served: Box) -> None:
    made = served.document("keys", "create", "--owner", "list me")
    assert set(made) == {*TERMS, "key"}
    listed = next(key for key in served.document("keys", "list") if key["id"] == made["id"])
    assert set(listed) == {*TERMS, "revoked_at", "successor", "state", "last_used_at"}
    assert (listed["owner"], listed["revoked_at"]) == ("list me", None)
    assert "list me" in served.run("keys", "list").stdout


def test_revoke_needs_a_yes_and_a_dry_run_changes_nothing(served: Box) -> None:
    made = served.document("keys", "create", "--owner", "ben")
    before = served.document("keys", "list")
    error = served.document("keys", "revoke", made["id"], code=4)["error"]
    assert (error["code"], error["hint"]) == ("needs-yes", f"To go ahead: appliance keys revoke {made['id']} --yes")
    dry = served.run("keys", "revoke", made["id"], "--dry-run")
    assert f"ben's key {made['id']} would be refused" in dry.stderr
    assert served.document("keys", "revoke", made["id"], "--dry-run", "--yes")["revoked_at"] is None
    assert served.document("keys", "list") == before
    assert served.post(ask(), made["key"])[0] == 200


def test_a_revoked_key_is_refused_from_then_on_and_stays_so(served: Box) -> None:
    made = served.document("keys", "create", "--owner", "carla")
    revoked = served.document("keys", "revoke", made["id"], "--yes")
    assert revoked["revoked_at"] is not None
    assert served.post(ask(), made["key"])[0] == 401
    assert served.document("keys", "revoke", made["id"], "--yes") == revoked


def test_an_unknown_key_id_and_an_owner_without_a_name_are_wrong_use(served: Box) -> None:
    assert served.document("keys", "revoke", "key-nobody", "--yes", code=2)["error"]["code"] == "key-not-found"
    assert served.document("keys", "create", "--owner", " ", code=2)["error"]["code"] == "wrong-use"


def test_a_key_is_made_on_terms_and_shows_them(box: Box) -> None:
    words = ["--team", "sales", "--model", "chat", "--model", "small", "--endpoint", "chat", "--expires", "2099-12-31"]
    words += ["--address", "192.168.1.0/24", "--address", "10.0.0.7", "--priority", "background"]
    made = box.document("keys", "create", "--owner", "anna", *words)
    terms = {
        "owner": "anna",
        "team": "sales",
        "models": ["chat", "small"],
        "endpoints": ["chat"],
        "addresses": ["10.0.0.7/32", "192.168.1.0/24"],
        "priority": "background",
        "expires_at": "2100-01-01T00:00:00.000Z",
    }
    assert {name: made[name] for name in terms} == terms
    listed = box.document("keys", "list")[0]
    assert {name: listed[name] for name in terms} == terms
    assert (listed["state"], listed["last_used_at"], listed["successor"]) == ("active", None, None)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--expires", "2020-01-01"), "in the past"),
        (("--expires", "tomorrow"), "2027-01-31"),
        (("--endpoint", "chats"), "chat, completions"),
        (("--address", "10.0.0.5/8"), "write 10.0.0.5 or 10.0.0.0/8"),
        (("--priority", "urgent"), "background"),
        (("--model", "two words"), "models list"),
        (("--team", "a\nb"), "printable"),
    ],
)
def test_terms_that_cannot_be_make_no_key_and_say_what_can(box: Box, words: tuple[str, ...], told: str) -> None:
    error = box.document("keys", "create", "--owner", "anna", *words, code=2)["error"]
    assert error["code"] == "wrong-use"
    assert told in error["message"] + error["hint"]
    assert box.document("keys", "list") == []


def test_the_list_fits_a_terminal_of_80_columns_whatever_is_in_it(box: Box) -> None:
    long = box.document("keys", "create", "--owner", "Ö" * 200, "--team", "t" * 200, "--expires", "36000d")
    fresh = box.document("keys", "rotate", long["id"])
    box.run("keys", "create", "--owner", "anna", "--team", "sales")
    box.run("keys", "suspend", "--owner", "anna", "--yes")
    done = box.run("keys", "list")
    lines = done.stdout.splitlines()
    assert len(lines) == 1 + 3
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["id", "owner", "(team)", "state", "last", "used"]
    assert f"replaced by {fresh['id']}" in lines[1]
    assert "expires in 3599" in lines[2]
    assert "anna (sales)" in lines[3]
    assert "suspended" in lines[3]
    assert lines[3].endswith("never")
    assert "To let them in again: appliance keys resume --owner anna" in done.stderr


def test_rotate_tells_until_when_the_old_key_works_and_does_it_once(box: Box) -> None:
    old = box.document("keys", "create", "--owner", "anna", "--expires", "90d")
    done = box.run("keys", "rotate", old["id"], "--expires", "2099-12-31")
    assert done.stdout.startswith("apl-")
    assert f"The old key {old['id']} works until 20" in done.stderr
    assert "It works until 2100-01-01 00:00 UTC." in done.stderr
    error = box.document("keys", "rotate", old["id"], code=2)["error"]
    assert (error["code"], "already replaced by key-" in error["message"]) == ("wrong-use", True)
    assert box.document("keys", "rotate", old["id"], "--overlap", "forever", code=2)["error"]["code"] == "wrong-use"
    assert box.document("keys", "rotate", "key-nobody", code=2)["error"]["code"] == "key-not-found"


def test_suspend_needs_a_yes_and_a_dry_run_changes_nothing(served: Box) -> None:
    key = served.document("keys", "create", "--owner", "fred smith", "--team", "it")["key"]
    error = served.document("keys", "suspend", "--owner", "fred smith", code=4)["error"]
    assert (error["code"], error["hint"]) == (
        "needs-yes",
        "To go ahead: appliance keys suspend --owner 'fred smith' --yes",
    )
    dry = served.run("keys", "suspend", "--team", "it", "--dry-run")
    assert "1 key of the team it would be refused" in dry.stderr
    assert served.document("keys", "suspend", "--team", "it", "--dry-run", "--yes")["suspended_at"] is None
    assert served.post(ask(), key)[0] == 200
    assert (
        "From now on the team it is shut out (1 key)." in served.run("keys", "suspend", "--team", "it", "--yes").stderr
    )
    assert served.post(ask(), key)[0] == 403
    made = served.run("keys", "create", "--owner", "gina", "--team", "it")
    assert "It is refused for now: the team it is suspended." in made.stderr
    assert "let in again" in served.run("keys", "resume", "--team", "it").stderr
    assert served.post(ask(), key)[0] == served.post(ask(), made.stdout.strip())[0] == 200


def test_suspend_and_resume_say_what_is_odd(box: Box) -> None:
    assert "Mind that no key belongs to nobody" in box.run("keys", "suspend", "--owner", "nobody", "--yes").stderr
    assert "Suspended since 20" in box.run("keys", "list").stderr
    assert box.document("keys", "resume", "--owner", "nobody")["suspended_at"] is None
    assert box.document("keys", "resume", "--owner", "nobody", code=2)["error"]["code"] == "not-suspended"
    for words in ((), ("--owner", "a", "--team", "b")):
        assert box.document("keys", "suspend", *words, "--yes", code=2)["error"]["code"] == "wrong-use"
    assert "`appliance chat` on this machine" in box.run("keys", "suspend", "--owner", "admin", code=4).stderr
    assert box.document("keys", "suspend", "--team", " ", "--yes", code=2)["error"]["code"] == "wrong-use"


def test_the_command_lines_own_key_is_replaced_once_it_has_expired(served: Box) -> None:
    served.run("chat", "hello")
    own = next(key for key in served.document("keys", "list") if key["owner"] == "admin" and key["state"] == "active")
    served.run("keys", "rotate", own["id"], "--overlap", "0s")
    served.run("chat", "hello")


def test_first_commands_on_a_new_box_may_come_at_once(box: Box) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(
            pool.map(lambda owner: box.document("keys", "create", "--owner", owner), ("anna", "ben", "carla", "dora"))
        )
    assert {key["id"] for key in box.document("keys", "list")} == {key["id"] for key in made}
