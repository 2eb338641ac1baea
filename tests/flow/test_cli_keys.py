"""API keys on the command line: shown once, never stored, and revoked only with a yes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.box import Box, ask

pytestmark = pytest.mark.slow


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
    assert set(made) == {"id", "owner", "key"}
    listed = next(key for key in served.document("keys", "list") if key["id"] == made["id"])
    assert set(listed) == {"id", "owner", "created_at", "revoked_at"}
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


def test_first_commands_on_a_new_box_may_come_at_once(box: Box) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(
            pool.map(lambda owner: box.document("keys", "create", "--owner", owner), ("anna", "ben", "carla", "dora"))
        )
    assert {key["id"] for key in box.document("keys", "list")} == {key["id"] for key in made}
