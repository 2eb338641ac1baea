"""The box's own secrets are replaced while it works, and nobody is refused; what would shut people out is refused."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from appliance.accounts import chat_secrets
from appliance.accounts.api_keys import digest
from appliance.accounts.clients import CHAT_PAGE
from appliance.accounts.sign_on_tables import Client
from appliance.config.paths import find_home
from appliance.control.local_key import local_key
from appliance.control.secrets import SECRETS, find, rotate_local_key
from appliance.errors import ApplianceError
from appliance.identity import keys
from appliance.store.sessions import session
from appliance.supervise.where import read_report
from tests.support.asking import load
from tests.support.box import Box, ask, wait_until
from tests.support.supervised import Supervised

pytestmark = pytest.mark.slow

REFUSED = [one.name for one in SECRETS if one.refused]


def acts(box: Box) -> list[tuple[str, str]]:
    """What is on the audit log, as action and target."""
    return [(one["action"], one["target"]) for one in box.document("audit", "tail", "-n", "100")]


def test_the_commands_own_key_is_replaced_under_load_and_the_old_one_works_on(served: Box) -> None:
    home = find_home(served.config, served.state)
    before = local_key(home)
    file = home.secrets / "cli.key"
    # As commands do it: each reads the key when it begins; some have read it long before.
    with (
        load(lambda: served.post(ask("tokens=1"), before)[0]) as old,
        load(lambda: served.post(ask("tokens=1"), file.read_text().strip())[0]) as new,
    ):
        assert served.document("secrets", "rotate", "local-key") == {"replaced": ["local-key"]}
        count = len(old), len(new)
        wait_until(lambda: len(old) > count[0] + 5 and len(new) > count[1] + 5, what="more answers")
    assert set(old) == set(new) == {200}
    after = file.read_text().strip()
    assert after != before
    assert file.stat().st_mode & 0o777 == 0o600
    assert local_key(home) == after
    listed = {one["id"]: one for one in served.document("keys", "list")}
    (rotated,) = [target for action, target in acts(served) if action == "key-rotated"]
    assert listed[rotated]["expires_at"] is not None


def test_the_chat_page_gets_other_secrets_and_starts_anew_while_the_rest_goes_on(served: Box, tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.configure("[identity]\nenabled = true\n[chat]\nenabled = true\n")
    home = find_home(box.config, box.state)
    home.prepare()
    home.chat.mkdir(mode=0o700)
    before = asdict(chat_secrets.ensure(home))
    with Supervised(home.run) as made:
        made.add("serve")
        made.add("chat-page")
        made.start()
        made.until_ready()
        page, other = made.pid("chat-page"), made.pid("serve")
        with load(lambda: 200 if made.ask("serve")["pid"] == other else 500) as said:
            assert box.document("secrets", "rotate", "chat-page") == {"replaced": ["chat-page"]}
        assert set(said) == {200}
        report = read_report(home.run)
        assert report is not None
        assert report.all_ready
        assert made.pid("chat-page") != page
        assert made.pid("serve") == other
    after = asdict(chat_secrets.ensure(home))
    same = {name for name in before if before[name] == after[name]}
    assert same == {"storage", "admin_password"}
    told = json.loads(home.chat_environment.read_text())
    assert told["OAUTH_CLIENT_SECRET"] == after["client"]
    assert told["RAG_OPENAI_API_KEY"] == after["service_key"]
    with session(home.database) as opened:
        client = opened.get(Client, CHAT_PAGE)
        assert client is not None
        assert client.digest == digest(after["client"])
    assert ("secret-changed", "chat-page") in acts(box)


def test_all_that_can_be_is_replaced_at_once_while_the_box_is_down(tmp_path: Path) -> None:
    box = Box(tmp_path)
    home = find_home(box.config, box.state)
    key = local_key(home)
    keys.read(home)
    said = box.run("secrets", "rotate").stderr
    assert said.splitlines() == [f"Replaced: {one.name}. {one.effect}" for one in SECRETS[:2]]
    assert local_key(home) != key
    assert [action for action, _ in acts(box)] == ["key-created", "key-rotated", "signing-key-changed"]


def test_a_key_that_works_no_more_is_simply_made_anew(tmp_path: Path) -> None:
    box = Box(tmp_path)
    home = find_home(box.config, box.state)
    home.prepare()
    (home.secrets / "cli.key").write_text("apl-of-another-database\n")
    rotate_local_key(home)
    assert local_key(home) == (home.secrets / "cli.key").read_text().strip() != "apl-of-another-database"


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_shut_people_out_or_lose_something_is_refused_in_words(name: str) -> None:
    with pytest.raises(ApplianceError) as failure:
        find(name)
    assert failure.value.code == "secret-kept"
    assert name in failure.value.sentence
    assert failure.value.hint.endswith(".")


def test_a_refusal_changes_nothing(tmp_path: Path) -> None:
    box = Box(tmp_path)
    assert box.document("secrets", "rotate", "audit-key", code=2)["error"]["code"] == "secret-kept"
    assert not (box.state / "appliance.db").exists()


def test_a_secret_that_there_is_not_is_wrong_use(tmp_path: Path) -> None:
    box = Box(tmp_path)
    assert box.document("secrets", "rotate", "root-password", code=2)["error"]["code"] == "wrong-use"


def test_the_list_says_what_there_is_and_what_replacing_does(tmp_path: Path) -> None:
    box = Box(tmp_path)
    local_key(find_home(box.config, box.state))
    listed = {one["name"]: one for one in box.document("secrets", "list")}
    assert [name for name, one in listed.items() if one["there"]] == ["local-key", "audit-key"]
    assert all(bool(one["effect"]) != bool(one["refused"]) for one in listed.values())
    words = box.run("secrets", "list").stdout
    assert "Nobody notices" in words
    assert "It is not replaced: all that is on record" in words
