"""Who asks by the chat page: with their own token to talk, with the page's key and its word for reading documents."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from appliance.accounts import chat_secrets
from appliance.accounts.chat_secrets import CHAT_PAGE, ChatSecrets
from appliance.accounts.resolve import Credentials
from appliance.config.paths import find_home
from appliance.errors import ApplianceError
from appliance.policy.roles import Role
from tests.support.box import Box, ask, environment
from tests.support.engines import FakeEngine
from tests.support.sign_on import Browser, Program, SignOn
from tests.support.vouching import REDIRECT, part, registered, rename, signed, voucher

DOCUMENT = {"model": "embed", "input": "tokens=3"}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, fake_engine: FakeEngine) -> Iterator[SignOn]:
    """Sign-on and a gateway with engines for talking, searching and sorting, as the chat page finds them."""
    found = SignOn(Box(tmp_path_factory.mktemp("page")))
    engines = (("chat", "fake"), ("embed", "vectors"), ("rerank", "sorter"))
    tables = "".join(f'[engines.{role}]\nurl = "{fake_engine.url}"\nmodel = "{model}"\n' for role, model in engines)
    found.box.configure(f"engine_wait_s = 1\n{found.settings}{tables}")
    found.person("anna", Role.STAFF, "sales")
    found.person("bert", Role.ADMIN)
    for login in ("carl", "dora"):
        found.person(login)
    try:
        found.start()
        found.box.serve()
        yield found
    finally:
        found.stop()
        found.box.stop()


@pytest.fixture(scope="module")
def secrets(page: SignOn, chat: Program) -> ChatSecrets:
    """What the chat page is known by."""
    return chat_secrets.ensure(find_home(page.box.config, page.box.state))


def token_of(page: SignOn, login: str, program: Program) -> str:
    """An access token of somebody who signs in to a program."""
    browser = Browser(page)
    assert browser.sign_in(f"{login}@example.com").location == "/"
    return str(program.tokens(browser)["access_token"])


@pytest.fixture(scope="module")
def chat(page: SignOn) -> Program:
    """The chat page, as sign-on knows it."""
    return registered(page)


def code(answer: tuple[int, dict[str, str], Any]) -> tuple[int, str]:
    """Status, and code of a refusal."""
    return answer[0], "" if answer[0] == 200 else answer[2]["error"]["code"]


def test_the_pages_key_reads_documents_for_the_person_that_it_names(page: SignOn, secrets: ChatSecrets) -> None:
    box = page.box
    for path, body in (
        ("/v1/embeddings", DOCUMENT),
        ("/v1/rerank", {"model": "rerank", "query": "tokens=3", "documents": ["one", "two"]}),
    ):
        assert box.post(body, secrets.service_key, path, voucher(secrets))[0] == 200
        row = box.rows(1)[0]
        assert (row["principal"], row["team"], row["priority"]) == ("anna", "sales", "chat")
        assert row["key_id"].startswith("chat-per-")
        assert box.post(body, secrets.service_key, path, voucher(secrets, "Dora@Example.com"))[0] == 200
        assert box.rows(1)[0]["principal"] == "dora"
    assert box.rows(1)[0]["key_id"] != row["key_id"]


def test_the_pages_key_is_good_for_nothing_else(page: SignOn, secrets: ChatSecrets) -> None:
    box, headers, key = page.box, voucher(secrets), secrets.service_key
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses"):
        body = {"model": "chat", "input": "x"} if path == "/v1/responses" else ask(max_tokens=5)
        assert code(box.post(body, key, path, headers)) == (401, "key-refused")
    for path in ("/v1/models", "/v1/files", "/v1/batches", "/metrics"):
        assert code(box.request("GET", path, None, key, headers)) == (401, "key-refused")


def test_the_pages_key_needs_its_word_for_a_person_that_is_good(page: SignOn, secrets: ChatSecrets) -> None:
    now, good = int(time.time()), voucher(secrets)
    name = next(iter(good))
    claims = {"email": "anna@example.com", "iss": "open-webui", "exp": now + 300}
    bad = {
        "none": {},
        "empty": {name: ""},
        "no token": {name: "anna@example.com"},
        "plain headers": {"X-OpenWebUI-User-Email": "anna@example.com"},
        "over": voucher(secrets, exp=now - 1),
        "no end": voucher(secrets, exp=None),
        "an end in words": voucher(secrets, exp=str(now + 300)),
        "an end that is endless": voucher(secrets, exp=float("inf")),
        "other issuer": voucher(secrets, iss="someone"),
        "no issuer": voucher(secrets, iss=None),
        "nobody": voucher(secrets, "nobody@example.com"),
        "no address": voucher(secrets, email=""),
        "an address that is none": voucher(secrets, email=["anna@example.com"]),  # type: ignore[arg-type]
        "other secret": {name: signed(secrets.service_key, {"alg": "HS256"}, claims)},
        "unsigned": {name: f"{part({'alg': 'none'})}.{part(claims)}."},
        "other algorithm": {name: signed(secrets.user_header, {"alg": "HS512"}, claims, "sha512")},
        "what no reader understands": {name: f"{part({'alg': 'HS256', 'crit': 5})}.{part(claims)}.AAAA"},
        "changed": {name: good[name][:-6] + "AAAAAA"},
        "twice over": {**good, name.lower(): voucher(secrets, "bert@example.com")[name]},
        "by a proxy": {**good, "X-Forwarded-For": "192.168.1.7"},
        "by another proxy": {**good, "Via": "1.1 caddy"},
    }
    before = len(page.box.rows())
    found = {
        why: code(page.box.post(DOCUMENT, secrets.service_key, "/v1/embeddings", headers))
        for why, headers in bad.items()
    }
    assert found == dict.fromkeys(bad, (401, "key-refused"))
    assert code(page.box.post(DOCUMENT, secrets.service_key[:-1] + "x", "/v1/embeddings", good)) == (401, "key-refused")
    assert len(page.box.rows()) == before
    assert [one for one in page.events("denied") if one["facts"]["code"] == "key-refused"]


def test_the_word_for_a_person_is_no_credential_by_itself(page: SignOn, secrets: ChatSecrets, chat: Program) -> None:
    headers = voucher(secrets, "bert@example.com")
    assert code(page.box.post(DOCUMENT, None, "/v1/embeddings", headers)) == (401, "key-missing")
    assert code(page.box.post(DOCUMENT, next(iter(headers.values())), "/v1/embeddings")) == (401, "key-refused")
    token = token_of(page, "anna", chat)
    assert page.box.post(DOCUMENT, token, "/v1/embeddings", headers)[0] == 200
    assert page.box.rows(1)[0]["principal"] == "anna"


@pytest.mark.slow
def test_the_page_reads_nothing_for_somebody_who_is_shut_out(page: SignOn, secrets: ChatSecrets) -> None:
    headers = voucher(secrets, "carl@example.com")
    assert page.box.post(DOCUMENT, secrets.service_key, "/v1/embeddings", headers)[0] == 200
    page.box.run("users", "disable", "carl")
    assert code(page.box.post(DOCUMENT, secrets.service_key, "/v1/embeddings", headers)) == (403, "suspended")
    page.box.run("users", "enable", "carl")
    assert page.box.post(DOCUMENT, secrets.service_key, "/v1/embeddings", headers)[0] == 200


def test_secrets_that_are_replaced_are_good_no_more(page: SignOn, secrets: ChatSecrets) -> None:
    home = find_home(page.box.config, page.box.state)
    kept = home.chat_secrets.read_bytes()
    try:
        for text in (b"{", None):
            home.chat_secrets.unlink()
            if text is not None:
                home.chat_secrets.write_bytes(text)
            page.box.key("eve")  # a command, so that what is known is asked for anew
            answer = page.box.post(DOCUMENT, secrets.service_key, "/v1/embeddings", voucher(secrets))
            assert code(answer) == (401, "key-refused")
            if text is None:
                home.chat_secrets.write_bytes(b"")
    finally:
        home.chat_secrets.write_bytes(kept)
    page.box.key("eve")
    assert page.box.post(DOCUMENT, secrets.service_key, "/v1/embeddings", voucher(secrets))[0] == 200


def test_a_page_that_is_switched_off_has_no_key(page: SignOn, secrets: ChatSecrets) -> None:
    def said() -> tuple[int, str]:
        return code(page.box.post(DOCUMENT, secrets.service_key, "/v1/embeddings", voucher(secrets)))

    assert said() == (200, "")
    rename(page, CHAT_PAGE, "client-0")
    assert said() == (401, "key-refused")
    rename(page, "client-0", CHAT_PAGE)
    assert said() == (200, "")


@pytest.mark.slow
def test_what_the_page_asks_for_unasked_is_told_apart_and_charged_to_the_same_person(
    page: SignOn, chat: Program
) -> None:
    token = token_of(page, "anna", chat)
    said = {"": None, "title_generation": "title_generation", "A new one!": "other", "chat": "other"}
    for word, task in said.items():
        assert page.box.post(ask("tokens=2"), token, headers={"X-Appliance-Task": word})[0] == 200
        row = page.box.rows(1)[0]
        assert (row["principal"], row["task"]) == ("anna", task)
        assert row["priority"] == ("chat" if task is None else "background")
    tasks = {
        (row["principal"], row["priority"], row["task"]): row["calls"] for row in page.box.document("usage", "--tasks")
    }
    assert tasks["anna", "background", "other"] == 2
    assert tasks["anna", "background", "title_generation"] == 1
    assert tasks["anna", "chat", ""] >= 1


def test_other_programs_name_tasks_of_their_own(page: SignOn) -> None:
    wiki = Program(page, page.client("Wiki", redirects=[REDIRECT]))
    for secret in (token_of(page, "anna", wiki), page.box.key("anna")):
        for word, task in (("summary", "summary"), ("Not a word!", None)):
            assert page.box.post(ask("tokens=2"), secret, headers={"X-Appliance-Task": word})[0] == 200
            assert page.box.rows(1)[0]["task"] == task


def test_everybody_sees_the_same_models_in_the_page_and_none_that_cannot_talk(page: SignOn, chat: Program) -> None:
    def seen(secret: str) -> list[str]:
        return [one["id"] for one in page.box.get("/v1/models", secret)[2]["data"]]

    anna, bert = (token_of(page, login, chat) for login in ("anna", "bert"))
    assert seen(anna) == seen(bert) == ["auto", "chat", "fake"]
    assert {"embed", "rerank"} <= set(seen(page.box.key("anna")))


def test_the_first_token_is_not_waited_for_while_its_check_is_imported(page: SignOn) -> None:
    program = """
import sys, asyncio
from pathlib import Path
from appliance.accounts.resolve import Credentials
from appliance.errors import ApplianceError
state, token, key, said = Path(sys.argv[1]), *sys.argv[2:5]
credentials = Credentials(state / "appliance.db", sys.argv[5], state / "public-keys.json", state / "secrets/chat.json")
before = set(sys.modules)
print(credentials.resolve(f"Bearer {token}", None).name, credentials.resolve(f"Bearer {key}", "127.0.0.1", said).name)
print(sorted(set(sys.modules) - before))
"""
    known = chat_secrets.ensure(find_home(page.box.config, page.box.state))
    token = token_of(page, "anna", Program(page, page.client("Imports", redirects=[REDIRECT])))
    words = (str(page.box.state), token, known.service_key, voucher(known)["X-OpenWebUI-User-Jwt"], page.issuer)
    done = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stdout == "anna anna\n[]\n"


@pytest.mark.parametrize(
    ("address", "good"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False), (None, False)],
)
def test_the_pages_key_stays_on_this_machine(page: SignOn, secrets: ChatSecrets, address: str, good: bool) -> None:
    state = page.box.state
    keys, secret = state / "public-keys.json", state / "secrets/chat.json"
    said = next(iter(voucher(secrets).values()))
    for issuer, taken in ((page.issuer, good), ("", False)):
        with closing(Credentials(state / "appliance.db", issuer, keys, secret)) as credentials:
            if taken:
                assert credentials.resolve(f"Bearer {secrets.service_key}", address, said).name == "anna"
                continue
            with pytest.raises(ApplianceError) as caught:
                credentials.resolve(f"Bearer {secrets.service_key}", address, said)
            assert caught.value.code == "key-refused"
