"""The chat page, whole: the real Open WebUI, sign-on, gateway and engine, and a person in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from appliance.artifacts.shelf import Shelf
from appliance.chat.changes import SHOWN
from appliance.chat.install import find, install, version
from appliance.config.paths import cache_folder
from appliance.control.plan import catalogue
from appliance.policy.roles import Role
from tests.support.box import ROOT, Box, environment, wait_until
from tests.support.chat_page import ChatPage, Visitor
from tests.support.environments import own_environment, python_environment
from tests.support.people import PASSWORD
from tests.support.sign_on import Browser, SignOn

# The first run installs the page and what drives the browser.
pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(1500)]

# Looked at by people; git leaves them alone.
SHOTS = ROOT / ".cache" / "screenshots"
EMBEDDING = "all-minilm-l6-v2-q8_0"
CHAT = "[engines.chat]\ncontext = 4096\nslots = 2\n"
EMBED = f'[engines.embed]\nmodel = "{EMBEDDING}"\ncontext = 512\nslots = 2\n'
PARKING = "The parking space of the visitors is number forty-two. "
PEOPLE = (
    *(("anna", Role.STAFF, "sales"), ("emma", Role.STAFF, "sales")),
    *(("bert", Role.STAFF, "works"), ("carl", Role.ADMIN, "works")),
)
OFFICE = {
    "note.txt": "text/plain",
    "note.pdf": "application/pdf",
    "note.docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "note.xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "note.pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}
QUESTION = "Which parking space is that of the visitors?"
# How long after `users disable` an answer may still grow.
WITHIN_S = 2.0
REDIS = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Iterator[ChatPage]:
    """A chat page that is up, with people; where there is strace, all that its processes connect to is written down."""
    install(cache_folder(), lambda what, done, total: None)
    box = Box(tmp_path_factory.mktemp("chat_page"))
    found = ChatPage(SignOn(box))
    box.configure(f"{found.settings}{CHAT}{EMBED}")
    vectors = Shelf(cache_folder() / "tests-models").pull(catalogue().get(EMBEDDING), lambda done, total: None)
    (box.state / "models").mkdir(parents=True)
    for file in (model_file, vectors):
        (box.state / "models" / file.name).symlink_to(file)
    # Nobody owns it: whoever is to do so comes by the link, in the browser.
    for login, role, team in PEOPLE:
        found.sign_on.person(login, role, team, name=f"{login.title()} Schmidt")
    before = ["strace", "-DDD", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect", "-o", str(connections(box))]
    command = [*(before if shutil.which("strace") else []), *box.argv("up", "--no-prove")]
    # Into a file: strace stays, and would keep a pipe open.
    with (box.folder / "up.log").open("wb") as log:
        done = subprocess.run(command, stdout=log, stderr=log, env=environment(), timeout=600, check=False)
    assert done.returncode == 0, (box.folder / "up.log").read_text()
    yield found
    box.run("down")


def connections(box: Box) -> Path:
    """Where strace writes what was connected to."""
    return box.folder / "connections"


@pytest.fixture(scope="module")
def anna(page: ChatPage) -> Visitor:
    """The first person who ever signs in to the page."""
    visitor = Visitor(page, Browser(page.sign_on))
    visitor.enters("anna@example.com")
    return visitor


def test_the_first_to_sign_in_is_no_admin_and_neither_is_an_admin_of_ours(page: ChatPage, anna: Visitor) -> None:
    carl = Visitor(page, Browser(page.sign_on))
    carl.enters("carl@example.com")
    assert [one.sends("GET", "/api/v1/auths/").json["role"] for one in (anna, carl)] == ["user", "user"]
    assert anna.sends("GET", "/api/v1/users/").status in (401, 403)
    assert carl.sends("GET", "/api/v1/users/").status in (401, 403)


def test_there_is_no_way_in_but_sign_on(page: ChatPage) -> None:
    built_in = {"email": "built-in@chat-page.invalid", "password": "x" * 43}
    assert page.ask("POST", "/api/v1/auths/signin", built_in).status == 403
    signup = {"name": "Eve", "email": "eve@example.com", "password": PASSWORD}
    assert page.ask("POST", "/api/v1/auths/signup", signup).status == 403
    assert page.ask("GET", "/api/models").status in (401, 403)
    assert page.ask("GET", "/api/config").json["features"]["enable_login_form"] is False


def test_an_answer_streams_and_is_on_record_under_the_persons_name(page: ChatPage, anna: Visitor) -> None:
    models = [one["id"] for one in anna.sends("GET", "/api/models").json["data"]]
    assert "chat" in models
    pieces = [piece for piece in anna.reads("Count from one to five.", max_tokens=24) if piece]
    assert len(pieces) > 3
    wait_until(lambda: page.sign_on.box.rows(1)[0]["settled_at"], 30, "the row's end")
    row = page.sign_on.box.rows(1)[0]
    assert (row["principal"], row["team"], row["outcome"]) == ("anna", "sales", "complete")
    assert row["key_id"].startswith("fam-")


def test_a_question_about_a_document_is_answered_from_it_with_its_source(page: ChatPage, anna: Visitor) -> None:
    kept = anna.uploads("parking.txt", PARKING)
    assert anna.sends("GET", f"/api/v1/files/{kept}").json["data"]["status"] == "completed"
    events = list(anna.events(QUESTION, max_tokens=8, files=[{"type": "file", "id": kept}]))
    (sources,) = [event["sources"] for event in events if "sources" in event]
    assert sources[0]["source"]["id"] == kept
    assert "forty-two" in sources[0]["document"][0]
    rows = page.sign_on.box.rows(20)
    vectors = [row for row in rows if row["model"] == EMBEDDING]
    assert vectors
    assert {(row["principal"], row["outcome"]) for row in vectors} == {("anna", "complete")}


def test_documents_of_an_office_are_taken_in_and_found(page: ChatPage, anna: Visitor, tmp_path: Path) -> None:
    writer = [str(find(cache_folder())), str(ROOT / "tests/clients/office_files.py"), str(tmp_path), PARKING.strip()]
    subprocess.run(writer, check=True, timeout=120, env=own_environment())
    for name, kind in OFFICE.items():
        kept = anna.uploads(name, (tmp_path / name).read_bytes(), kind)
        file = anna.sends("GET", f"/api/v1/files/{kept}").json
        assert file["data"]["status"] == "completed", (name, file)
        assert "number forty-two" in file["data"]["content"], (name, file)
        (found,) = anna.finds(QUESTION, f"file-{kept}").json["documents"]
        assert "number forty-two" in found[0], (name, found)


def test_a_collection_of_one_group_is_for_nobody_of_another(page: ChatPage, anna: Visitor) -> None:
    emma, carl = (Visitor(page, Browser(page.sign_on)) for _ in range(2))
    emma.enters("emma@example.com")
    carl.enters("carl@example.com")
    sales = next(one["id"] for one in anna.sends("GET", "/api/v1/groups/").json if one["name"] == "sales")
    grant = {"principal_type": "group", "principal_id": sales, "permission": "read"}
    made = anna.sends(
        *("POST", "/api/v1/knowledge/create"),
        {"name": "Prices", "description": "What we ask for", "access_grants": [grant]},
    )
    assert made.status == 200, made.text
    collection, kept = made.json["id"], anna.uploads("prices.txt", "A window costs nine hundred and ten euros.")
    at = f"/api/v1/knowledge/{collection}"
    assert anna.sends("POST", f"{at}/file/add", {"file_id": kept}).status == 200
    for reader in (anna, emma):
        assert reader.sends("GET", at).status == 200
        assert "nine hundred and ten" in reader.finds("What does a window cost?", collection).text
    # Of another group, and an admin of the appliance besides.
    assert carl.sends("GET", at).status in (401, 403, 404)
    refused = carl.finds("What does a window cost?", collection)
    assert refused.status in (401, 403, 404)
    assert "nine hundred" not in refused.text
    assert carl.sends("GET", f"/api/v1/files/{kept}/content").status == 404
    assert collection not in carl.sends("GET", "/api/v1/knowledge/").text
    # Nor by way of a question that names it, nor may those who read it change it.
    named = [{"type": "collection", "id": collection}]
    events = list(carl.events("What does a window cost?", max_tokens=8, files=named))
    assert "nine hundred" not in json.dumps(events)
    assert emma.sends("POST", f"{at}/file/remove", {"file_id": kept}).status in (400, 401, 403)


def test_no_secret_stands_where_others_could_read_it(page: ChatPage) -> None:
    state = page.sign_on.box.state
    secrets = list(json.loads((state / "secrets" / "chat.json").read_text()).values())
    assert stat.S_IMODE((state / "secrets" / "chat-environment.json").stat().st_mode) == 0o600
    told = (state / "run" / "processes.json").read_text()
    found = page.sign_on.box.document("status")
    pids = {one["name"]: one["pid"] for one in found["processes"]}
    lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids.values()]
    assert not [one for one in secrets for text in (told, *lines) if one in text]
    theirs = Path(f"/proc/{pids['chat-page']}/environ").read_text().split("\0")
    names = {one.partition("=")[0] for one in theirs if one}
    assert names == set(json.loads((state / "secrets" / "chat-environment.json").read_text()))
    assert stat.S_IMODE((state / "chat").stat().st_mode) == 0o700


def test_the_page_still_shows_what_is_new_in_the_releases_that_it_shows(page: ChatPage) -> None:
    """It reads a shorter list of ours; those that it shows are all in it, and the first is the one that runs."""
    shown = page.ask("GET", "/api/changelog").json
    assert len(shown) == SHOWN
    assert next(iter(shown)) == version()


def test_status_says_where_it_is_and_who_uses_it(page: ChatPage, anna: Visitor) -> None:
    found = page.sign_on.box.document("status")
    assert found["urls"]["chat"] == page.origin
    assert found["chat"]["people"] >= 1
    assert found["chat"]["licence"] is None
    assert "chat page" in page.sign_on.box.run("status").stdout


@REDIS
def test_whoever_is_disabled_is_out_of_the_page_at_once(page: ChatPage) -> None:
    bert = Visitor(page, Browser(page.sign_on))
    bert.enters("bert@example.com")
    assert bert.sends("GET", "/api/v1/auths/").status == 200
    page.sign_on.box.run("users", "disable", "bert@example.com")
    wait_until(lambda: bert.sends("GET", "/api/v1/auths/").status == 401, 10, "the page's refusal")
    again = Browser(page.sign_on).sign_in("bert@example.com")
    assert again.status == 403, "sign-on lets nobody in who is shut out"


def test_whoever_is_removed_leaves_nothing_on_the_page(page: ChatPage) -> None:
    page.sign_on.person("emil")
    emil = Visitor(page, Browser(page.sign_on))
    emil.enters("emil@example.com")
    mine = str(emil.sends("GET", "/api/v1/auths/").json["id"])
    chat = {"title": "Secret", "models": ["chat"], "messages": [], "history": {"messages": {}, "currentId": None}}
    assert emil.sends("POST", "/api/v1/chats/new", {"chat": chat}).status == 200
    assert emil.sends("POST", "/api/v1/folders/", {"name": "Private"}).status == 200
    prompt = {"command": "mine", "name": "Mine", "content": "Say so."}
    assert emil.sends("POST", "/api/v1/prompts/create", prompt).status == 200
    collection = {"name": "Mine", "description": "", "access_grants": []}
    base = emil.sends("POST", "/api/v1/knowledge/create", collection).json["id"]
    file = emil.uploads("secret.txt", PARKING)
    assert emil.sends("POST", f"/api/v1/knowledge/{base}/file/add", {"file_id": file}).status == 200
    assert {"chat", "file", "folder", "knowledge", "prompt"} <= rows_of(page, mine).keys()
    removed = page.sign_on.box.document("users", "remove", "emil", "--yes")
    assert (removed["conversations"], removed["documents"]) == (1, 1)
    wait_until(lambda: not rows_of(page, mine), 60, "the end of what they kept")
    assert list((page.sign_on.box.state / "chat/uploads").glob("*secret.txt")) == []


def rows_of(page: ChatPage, user: str) -> dict[str, int]:
    """In which tables of the page there are rows of somebody, and how many."""
    with closing(sqlite3.connect(page.sign_on.box.state / "chat/webui.db")) as opened:
        tables = [name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {name: [row[1] for row in opened.execute(f'PRAGMA table_info("{name}")')] for name in tables}
        found = {
            name: int(opened.execute(f'SELECT count(*) FROM "{name}" WHERE user_id = ?', (user,)).fetchone()[0])
            for name in tables
            if "user_id" in columns[name]
        }
        found["user"] = int(opened.execute("SELECT count(*) FROM user WHERE id = ?", (user,)).fetchone()[0])
        return {name: count for name, count in found.items() if count}


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@REDIS
def test_from_the_owners_link_to_somebody_who_is_switched_off(page: ChatPage, tmp_path: Path) -> None:
    """In a real browser: set up, invited, chatting, with a document, signed out, back, and shut out in mid-answer."""
    box = page.sign_on.box
    (tmp_path / "parking.txt").write_text(PARKING)
    shutil.rmtree(SHOTS, ignore_errors=True)
    SHOTS.mkdir(parents=True)
    dora = "dora@example.com"
    asked = {
        "url": page.origin,
        "password": PASSWORD,
        "question": "Tell me a long story about a fox, with many chapters.",
        "document": str(tmp_path / "parking.txt"),
        "about": QUESTION,
        "commands": {
            "owner-link": box.argv("users", "owner-link", "--json"),
            "invite": box.argv("users", "invite", dora, "--name", "Dora Schmidt", "--json"),
            "disable": box.argv("users", "disable", dora),
        },
        "environment": environment(),
        "shots": str(SHOTS),
        "chromium": shutil.which("chromium"),
    }
    driver = python_environment("browser") / "python"
    command = [str(driver), str(ROOT / "tests/clients/chromium.py"), json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=own_environment(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout)
    (SHOTS / "seen.json").write_text(json.dumps(seen, indent=2))
    assert seen["external"] == []
    # It grew before the eyes of the person.
    assert len(seen["sizes"]) > 3
    assert sorted(seen["sizes"]) == seen["sizes"]
    assert "parking.txt" in seen["source"]
    assert "forty-two" in seen["source"]
    assert "You are signed out" in seen["signed_out"]
    assert seen["held_status"] == 401
    assert seen["grew_s"] <= WITHIN_S
    assert seen["outside"].startswith(f"{page.sign_on.issuer}/sign-in")
    mine = [row for row in box.rows(20) if row["principal"] == "dora"]
    assert any(row["completion_tokens"] > 3 for row in mine)
    # Which of the two it is told depends on which is seen first: that the person is shut out, or their token's end.
    (cut,) = [row for row in mine if row["error"] in ("suspended", "key-refused") and row["task"] is None]
    assert cut["outcome"] == "cancelled"
    (event,) = [one for one in page.sign_on.events("suspended") if one["target"] == "dora"]
    assert seconds(cut["settled_at"]) - seconds(event["at"]) <= WITHIN_S
    assert {one["role"] for one in box.document("users", "list") if one["login"] == "olga"} == {"owner"}


def seconds(instant: str) -> float:
    """An instant as a document says it."""
    return datetime.fromisoformat(instant).timestamp()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_nothing_of_it_has_connected_to_anything_but_this_machine(page: ChatPage, anna: Visitor) -> None:
    """From the first start on, and through all that the tests above did."""
    lines = connections(page.sign_on.box).read_text().splitlines()
    inet = [line for line in lines if "AF_INET" in line]
    assert len(inet) > 5, "strace saw the page ask the gateway and sign-on"
    assert [line for line in inet if not re.search(r'inet_addr\("127\.0\.0\.1"\)|"::1"', line)] == []
    assert not [line for line in lines if "port=htons(53)" in line.replace("sin_", "").replace("sin6_", "")]


def test_it_is_up_again_when_it_was_killed(page: ChatPage) -> None:
    box = page.sign_on.box
    pid = next(one["pid"] for one in box.document("status")["processes"] if one["name"] == "chat-page")
    os.kill(pid, 9)
    wait_until(lambda: answers(page), 120, "the page's return")
    # An `up` when it is up leaves all that runs alone.
    before = {one["name"] for one in box.document("status", code=None)["processes"]}
    box.run("up", "--no-prove")
    assert {one["name"] for one in box.document("status")["processes"]} == before
    assert box.answers("/health")


def answers(page: ChatPage) -> bool:
    """Whether the page is there."""
    try:
        return page.ask("GET", "/health").status == 200
    except OSError:
        return False


def test_without_an_engine_for_search_a_document_goes_into_the_question_whole(page: ChatPage) -> None:
    """It starts all anew, so it comes last. Who was signed in still is."""
    box = page.sign_on.box
    carl = Visitor(page, Browser(page.sign_on))
    carl.enters("carl@example.com")
    box.run("down")
    box.configure(f"{page.settings}{CHAT}")
    box.run("up", "--no-prove", timeout=600)
    kept = carl.uploads("more.txt", PARKING * 20)
    assert "".join(carl.reads(QUESTION, max_tokens=8))
    alone = box.rows(1)[0]["prompt_tokens"]
    assert "".join(carl.reads(QUESTION, max_tokens=8, files=[{"type": "file", "id": kept}]))
    assert box.rows(1)[0]["prompt_tokens"] > alone + 200
