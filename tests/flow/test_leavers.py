"""What people kept on the chat page goes once they are removed: asked of a page that can be down, or refuse."""

from __future__ import annotations

import base64
import hmac
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from appliance.accounts import chat_secrets
from appliance.config.paths import Home
from appliance.errors import ApplianceError
from appliance.identity.leavers import look_after
from appliance.identity.pages import Pages
from appliance.identity.services import Keys, Services
from appliance.store.sessions import Sessions
from tests.support.box import Box, free_port
from tests.support.sign_on import SignOn

# The tables of Open WebUI 0.12.4 that we look into, with the columns that we use. What it really has, the test of the
# whole page shows.
TABLES = """
CREATE TABLE user (id TEXT, email TEXT, role TEXT, oauth JSON);
CREATE TABLE auth (id TEXT, session_stamp TEXT);
CREATE TABLE chat (id TEXT, user_id TEXT);
CREATE TABLE file (id TEXT, user_id TEXT);
CREATE TABLE knowledge (id TEXT, user_id TEXT);
CREATE TABLE knowledge_file (knowledge_id TEXT, file_id TEXT);
CREATE TABLE access_grant (resource_type TEXT, resource_id TEXT);
CREATE TABLE prompt (id TEXT, user_id TEXT);
CREATE TABLE folder (id TEXT, user_id TEXT, parent_id TEXT);
INSERT INTO user VALUES ('admin', 'built-in@chat-page.invalid', 'admin', 'null');
INSERT INTO auth VALUES ('admin', 'the stamp');
"""


@dataclass
class Page:
    """A chat page: its database, what it was told to delete, and how it answers that."""

    file: Path
    deleted: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    answers: tuple[int, bytes] = (200, b"true")
    server: ThreadingHTTPServer | None = None

    def fill(self, person_id: str) -> None:
        """Somebody keeps something of everything there, and has shared a collection and a prompt."""
        with closing(sqlite3.connect(self.file)) as opened, opened:
            opened.execute(
                "INSERT INTO user VALUES ('u1', 'a@b.c', 'user', ?)", (json.dumps({"oidc": {"sub": person_id}}),)
            )
            opened.executemany("INSERT INTO chat VALUES (?, 'u1')", [("c1",), ("c2",)])
            opened.executemany(
                "INSERT INTO file VALUES (?, ?)", [("f1", "u1"), ("f2", "u1"), ("f3", "u1"), ("f9", "u2")]
            )
            opened.executemany("INSERT INTO knowledge VALUES (?, 'u1')", [("mine",), ("ours",)])
            opened.executemany("INSERT INTO knowledge_file VALUES (?, ?)", [("mine", "f1"), ("ours", "f2")])
            opened.executemany("INSERT INTO access_grant VALUES (?, ?)", [("knowledge", "ours"), ("prompt", "p2")])
            opened.executemany("INSERT INTO prompt VALUES (?, 'u1')", [("p1",), ("p2",)])
            opened.executemany("INSERT INTO folder VALUES (?, 'u1', ?)", [("d1", None), ("d2", "d1")])

    def start(self) -> int:
        """Serve; at which port."""
        page = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def do_GET(self) -> None:
                """It runs."""
                self._say(200, b"{}")

            def do_DELETE(self) -> None:
                """Delete, as it is told to answer."""
                page.deleted.append(self.path)
                page.tokens.add(self.headers["Authorization"])
                if page.answers[0] == 200 and page.answers[1] == b"true" and "/users/" in self.path:
                    with closing(sqlite3.connect(page.file)) as opened, opened:
                        opened.execute("DELETE FROM user WHERE id = ?", (self.path.rpartition("/")[2],))
                self._say(*page.answers)

            def _say(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return int(self.server.server_address[1])


@pytest.fixture
def sign_on(box: Box) -> SignOn:
    """Its settings and people; no process."""
    found = SignOn(box)
    box.configure(found.settings)
    return found


@pytest.fixture
def page(sign_on: SignOn) -> Iterator[Page]:
    """The page's database, and the page once it is started."""
    folder = Home(sign_on.box.config, sign_on.box.state).chat
    folder.mkdir(parents=True)
    found = Page(folder / "webui.db")
    with closing(sqlite3.connect(found.file)) as opened, opened:
        opened.executescript(TABLES)
    yield found
    if found.server is not None:
        found.server.shutdown()
        found.server.server_close()


@pytest.fixture
def services(sign_on: SignOn) -> Iterator[Services]:
    """The parts of sign-on's process."""
    home = Home(sign_on.box.config, sign_on.box.state)
    home.prepare()
    chat_secrets.ensure(home)
    sessions = Sessions(home.database)
    yield Services(home, sign_on.issuer, sign_on.issuer, sessions, Keys(home), Pages(), lambda: None)
    sessions.close()


@pytest.mark.slow
def test_what_the_removed_keep_on_the_chat_page_goes_and_what_they_shared_stays(
    sign_on: SignOn, page: Page, services: Services
) -> None:
    page.fill(sign_on.person("anna"))
    planned = sign_on.box.run("users", "remove", "anna", "--dry-run")
    assert (
        "2 conversations and 3 documents on the chat page, but for what they have shared"
        in planned.stderr + planned.stdout
    )
    port = page.start()
    assert look_after(services, "127.0.0.1", port) == 0
    sign_on.box.run("users", "disable", "anna")
    assert look_after(services, "127.0.0.1", port) == 0, "whoever is only disabled keeps all"
    said = sign_on.box.run("users", "remove", "anna", "--yes").stderr
    assert "2 conversations and 3 documents are deleted within a minute, or as soon as it runs" in said

    # While the page does not run, or refuses, nothing is lost of what is to be done.
    assert look_after(services, "127.0.0.1", free_port()) == 0
    assert sign_on.events("conversations-removed") == []
    for answers in ((500, b"{}"), (200, b"false"), (401, b"{}")):
        page.answers = answers
        with pytest.raises(ApplianceError) as caught:
            look_after(services, "127.0.0.1", port)
        assert caught.value.code == "chat-page-refused"
    page.answers, page.deleted = (200, b"true"), []
    assert look_after(services, "127.0.0.1", port) == 1
    assert page.deleted == [
        "/api/v1/files/f1", "/api/v1/files/f3", "/api/v1/knowledge/mine/delete", "/api/v1/prompts/id/p1/delete",
        "/api/v1/folders/d1", "/api/v1/users/u1",
    ]  # fmt: skip
    assert look_after(services, "127.0.0.1", port) == 0
    event = sign_on.events("conversations-removed")[-1]
    assert (event["actor"], event["target"]) == ("sign-on", "anna")
    assert event["facts"] == {"conversations": 2, "documents": 3}


def test_the_page_is_asked_as_its_built_in_account(sign_on: SignOn, page: Page, services: Services) -> None:
    page.fill(sign_on.person("bert"))
    sign_on.box.run("users", "remove", "bert", "--yes")
    assert look_after(services, "127.0.0.1", page.start()) == 1
    (token,) = page.tokens
    head, claims, seal = token.removeprefix("Bearer ").split(".")
    known = chat_secrets.read(services.home)
    assert known is not None
    good = hmac.digest(known.storage.encode(), f"{head}.{claims}".encode(), "sha256")
    assert base64.urlsafe_b64encode(good).decode().rstrip("=") == seal
    said = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert (said["id"], said["session_stamp"], said["exp"] - said["iat"]) == ("admin", "the stamp", 60)


def test_a_page_without_its_built_in_account_is_asked_later(sign_on: SignOn, page: Page, services: Services) -> None:
    page.fill(sign_on.person("carl"))
    with closing(sqlite3.connect(page.file)) as opened, opened:
        opened.execute("DELETE FROM user WHERE id = 'admin'")
    sign_on.box.run("users", "remove", "carl", "--yes")
    with pytest.raises(ApplianceError) as caught:
        look_after(services, "127.0.0.1", page.start())
    assert (caught.value.code, page.deleted) == ("chat-page-refused", [])


def test_without_a_page_there_is_nothing_to_do(sign_on: SignOn, services: Services) -> None:
    sign_on.person("dora")
    found = sign_on.box.document("users", "remove", "dora", "--yes")
    assert (found["conversations"], found["documents"]) == (0, 0)
    assert look_after(services, "127.0.0.1", free_port()) == 0
