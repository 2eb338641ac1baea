"""Incidents of gateways: budgets, keys, other people's things, headers that say who somebody is."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from appliance.accounts import budgets, keys, people, suspension
from appliance.policy.roles import Role
from appliance.policy.windows import Budget
from appliance.store.sessions import session
from tests.support import batches
from tests.support.box import Box, ask, bodies
from tests.support.hands import let_in
from tests.support.sign_on import Browser, Program, SignOn

HELLO = ask("tokens=1")


def code(box: Box, headers: dict[str, str], path: str = "/v1/chat/completions", body: Any = HELLO) -> str:
    """What a request with these headers is told, by its code; empty where it is answered."""
    status, _, said = box.request("POST" if body is not None else "GET", path, body, None, headers)
    return "" if status == 200 else str(said["error"]["code"])


def bearer(secret: str) -> dict[str, str]:
    """The usual header."""
    return {"authorization": f"Bearer {secret}"}


def key(sign_on: SignOn, owner: str, **terms: Any) -> str:
    """A new key."""
    with session(sign_on.box.state / "appliance.db", alone=True) as opened:
        return keys.create(opened, owner, **terms)[1]


@contextmanager
def limited(sign_on: SignOn, kind: str, subject: str) -> Iterator[None]:
    """Somebody may make two requests a day."""
    file = sign_on.box.state / "appliance.db"
    with session(file) as opened:
        budgets.set_budget(opened, Budget(kind, subject, "requests", "day", used(sign_on, kind, subject) + 2))
    try:
        yield
    finally:
        with session(file) as opened:
            budgets.remove(opened, budgets.matching(opened, kind, subject))


def used(sign_on: SignOn, kind: str, subject: str) -> int:
    """How many requests are on record until now."""
    column = {"user": "principal", "team": "team"}.get(kind, "")
    return sum(not column or row[column] == subject for row in sign_on.box.rows())


# Budgets and keys.


@pytest.fixture(scope="module")
def ways(sign_on: SignOn, wiki: Program) -> dict[str, str]:
    """All that tina, whose use counts for the team crew, can prove herself with; the last key counts for another."""
    sign_on.person("tina", Role.STAFF, "crew")
    browser = Browser(sign_on)
    browser.sign_in("tina@example.com")
    return {
        "token": wiki.tokens(browser)["access_token"],
        "key": key(sign_on, "tina"),
        "key of the team": key(sign_on, "tina", team="crew"),
        "key of another team": key(sign_on, "tina", team="guests"),
    }


@pytest.mark.parametrize(
    ("kind", "subject", "counts"),
    [
        ("user", "tina", {"token", "key", "key of the team", "key of another team"}),
        ("team", "crew", {"token", "key", "key of the team"}),
        ("box", "box", {"token", "key", "key of the team", "key of another team"}),
    ],
)
def test_budget_bypass_by_team_key(
    sign_on: SignOn, ways: dict[str, str], kind: str, subject: str, counts: set[str]
) -> None:
    """Elsewhere a key of a team was held to the team's budget alone, and whoever had one spent past their own."""
    with limited(sign_on, kind, subject):
        assert code(sign_on.box, bearer(ways["key of the team"])) == ""
        assert code(sign_on.box, bearer(ways["key"])) == ""
        refused = {name for name, secret in ways.items() if code(sign_on.box, bearer(secret)) == "budget-exhausted"}
    assert refused == counts
    assert {name for name, secret in ways.items() if code(sign_on.box, bearer(secret))} == set()


@pytest.mark.parametrize(
    "secret",
    [
        "apl-' OR '1'='1",
        "apl-' OR 1=1 --",
        "apl-' UNION SELECT id, owner, team, priority, models, endpoints, addresses, NULL, NULL, NULL FROM api_key --",
        "' OR digest LIKE '%",
        'apl-"; DROP TABLE api_key; --',
        "apl-%",
        "apl-_" * 20,
        "apl-\\x27 OR TRUE",
    ],
)
def test_key_look_up_by_string_built_sql(sign_on: SignOn, secret: str) -> None:
    """Elsewhere the bearer went into the text of a query, and whoever sent SQL was somebody, or saw the table."""
    good = key(sign_on, "sam")
    assert code(sign_on.box, bearer(secret)) == "key-refused"
    for path in (f"/v1/files/{quote(secret)}", "/v1/batches/x'%20OR%20'1'='1"):
        assert code(sign_on.box, bearer(good), path, None) in ("file-not-found", "batch-not-found")
    form = {"token": secret, "client_id": secret, "client_secret": secret}
    for path in ("/token", "/revoke", "/introspect", "/device-authorization"):
        said = sign_on.ask("POST", path, form | {"grant_type": "refresh_token", "refresh_token": secret})
        assert (said.status, said.json["error"]) in ((400, "invalid_client"), (401, "invalid_client"))
    assert Browser(sign_on, {"appliance-session": secret}).ask("GET", "/").location == "/sign-in"
    assert "too old" in sign_on.ask("GET", f"/welcome/{quote(secret)}").text
    assert code(sign_on.box, bearer(good)) == ""


def test_a_name_with_sql_in_it_is_only_a_name(sign_on: SignOn) -> None:
    """Elsewhere names of owners and teams went into the text of a query too, from where an admin typed them."""
    strange = "x' OR '1'='1"
    mine, others = key(sign_on, strange, team=strange), key(sign_on, "steve", team="crew two")
    with session(sign_on.box.state / "appliance.db", alone=True) as opened:
        suspension.suspend(opened, suspension.TEAM, strange)
    assert (code(sign_on.box, bearer(mine)), code(sign_on.box, bearer(others))) == ("suspended", "")
    with session(sign_on.box.state / "appliance.db", alone=True) as opened:
        suspension.resume(opened, suspension.TEAM, strange)
    assert code(sign_on.box, bearer(mine)) == ""
    assert sign_on.box.rows(1)[0]["principal"] == strange


def test_x_api_key_beside_authorization(sign_on: SignOn) -> None:
    """Elsewhere a key's limits were looked at in the one header, and the key was taken from the other."""
    box = sign_on.box
    narrow, wide = key(sign_on, "nora", endpoints=["embeddings"]), key(sign_on, "wanda")
    message = bodies("tokens=1")["/v1/messages"]
    assert code(box, {"x-api-key": narrow}, "/v1/messages", message) == "endpoint-not-allowed"
    before = len(box.rows())
    for path, body in bodies("tokens=1").items():
        if path in ("/v1/embeddings", "/v1/rerank"):
            continue
        # Authorization is the one that counts: what stands beside it neither helps nor is charged.
        assert code(box, bearer(narrow) | {"x-api-key": wide}, path, body) == "endpoint-not-allowed", path
        assert code(box, bearer("apl-made-up") | {"x-api-key": wide}, path, body) == "key-refused", path
        assert code(box, {"authorization": ""} | {"x-api-key": wide}, path, body) == "key-missing", path
        assert code(box, bearer(wide) | {"x-api-key": narrow}, path, body) == "", path
    assert {row["principal"] for row in box.rows(len(box.rows()) - before)} == {"wanda"}


def test_two_authorization_headers(sign_on: SignOn) -> None:
    """Elsewhere a proxy checked the first of two headers, and the program behind it took the second."""
    good = key(sign_on, "wanda")
    for values, expected in (((good, "apl-made-up"), "key-refused"), (("apl-made-up", good), "key-refused")):
        connection = http.client.HTTPConnection("127.0.0.1", sign_on.box.port, timeout=30)
        connection.putrequest("GET", "/v1/models")
        for one in values:
            connection.putheader("Authorization", f"Bearer {one}")
        connection.endheaders()
        response = connection.getresponse()
        said = json.loads(response.read())
        connection.close()
        assert (response.status, said["error"]["code"]) == (401, expected)


# Whoever is shut out.


def test_suspended_user_alive_through_an_api_key(sign_on: SignOn, ways: dict[str, str]) -> None:
    """Elsewhere an account was disabled in one table, and its keys were looked up in another."""
    file = sign_on.box.state / "appliance.db"
    for kind, name in (("user", "tina"), ("team", "crew")):
        with session(file, alone=True) as opened:
            suspension.suspend(opened, kind, name)
        found = {way: code(sign_on.box, bearer(secret)) for way, secret in ways.items() if way != "token"}
        assert found == dict.fromkeys(found, "suspended"), kind
        with session(file, alone=True) as opened:
            assert {one.state for one in keys.listed(opened) if one.key.owner == "tina"} == {"suspended"}
            suspension.resume(opened, kind, name)
        assert {code(sign_on.box, bearer(secret)) for way, secret in ways.items() if way != "token"} == {""}


def test_suspended_user_alive_through_a_device_or_a_refresh(sign_on: SignOn, wiki: Program) -> None:
    """Elsewhere a disabled account's refresh tokens went on making access tokens, and so did its devices."""
    sign_on.person("rosa")
    browser = Browser(sign_on)
    browser.sign_in("rosa@example.com")
    tool = Program(sign_on, sign_on.client("Rosa's tool", flows=["device"], public=True))
    device, tokens, unspent = let_in(tool, browser), wiki.tokens(browser), wiki.code(browser)
    for change in (people.disable, people.enable):
        with session(sign_on.box.state / "appliance.db", alone=True) as opened:
            change(opened, people.find(opened, "rosa"))
        # What ended does not come back to life once the suspension is over.
        for token in (device["access_token"], tokens["access_token"]):
            assert code(sign_on.box, bearer(token)) == "key-refused"
            assert sign_on.ask("GET", "/userinfo", headers=bearer(token)).status == 401
        assert tool.refresh(device["refresh_token"]).json["error"] == "invalid_grant"
        assert wiki.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"
        assert wiki.exchange(unspent).json["error"] == "invalid_grant"
        assert browser.ask("GET", wiki.request()).location.startswith("/sign-in?")


def test_a_removed_users_name_is_given_to_somebody_else(sign_on: SignOn) -> None:
    """Elsewhere a new account with an old name got the old one's keys, files and budgets."""
    sign_on.person("uma")
    old = key(sign_on, "uma")
    with session(sign_on.box.state / "appliance.db", alone=True) as opened:
        people.remove(opened, people.find(opened, "uma"))
    sign_on.person("uma")
    with session(sign_on.box.state / "appliance.db", alone=True) as opened:
        assert people.find(opened, "uma@example.com").login == "uma2"
    assert code(sign_on.box, bearer(old)) == "key-refused"


# What belongs to others.


def test_foreign_file_and_batch_id(sign_on: SignOn) -> None:
    """Elsewhere whoever knew, or guessed, the id of a chat or a file could read it, change it and delete it."""
    box = sign_on.box
    mine, other, of_team = key(sign_on, "vera", team="lab"), key(sign_on, "walt"), key(sign_on, "xena", team="lab")
    batch = batches.begin(box, mine, [batches.line("one", "tokens=1")])
    done = batches.until(box, mine, batch)
    files = (done["input_file_id"], done["output_file_id"])
    for stranger in (other, of_team):
        for file in files:
            for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
                alike(box, stranger, method, f"/v1/files/{file}{path}", f"/v1/files/file-made-up{path}")
        alike(box, stranger, "GET", f"/v1/batches/{batch}", "/v1/batches/batch_made_up")
        alike(box, stranger, "POST", f"/v1/batches/{batch}/cancel", "/v1/batches/batch_made_up/cancel")
        wanted = {"input_file_id": files[0], "endpoint": batches.CHAT, "completion_window": "24h"}
        assert code(box, bearer(stranger), "/v1/batches", wanted) == "file-not-found"
        for path in ("/v1/files", "/v1/batches", f"/v1/batches?after={batch}", f"/v1/files?after={files[0]}"):
            _, _, said = box.get(path, stranger)
            assert batch not in json.dumps(said.get("data", []))
            assert not any(file in json.dumps(said.get("data", [])) for file in files)
    assert box.get(f"/v1/files/{files[1]}/content", mine)[0] == 200


def alike(box: Box, stranger: str, method: str, path: str, unknown: str) -> None:
    """To a stranger, what there is looks like what there is not, to the letter."""
    found, expected = (box.request(method, one, None, stranger) for one in (path, unknown))
    assert found[0] == expected[0] == 404, path
    name, other = path.split("/")[3], unknown.split("/")[3]
    assert json.dumps(found[2]).replace(name, other).replace(found[1]["x-request-id"], "") == json.dumps(
        expected[2]
    ).replace(expected[1]["x-request-id"], "")
    assert {*found[1]} == {*expected[1]}


# Headers that say who somebody is.

CLAIMED = {
    "X-Forwarded-User": "bert",
    "X-Forwarded-Email": "bert@example.com",
    "X-Forwarded-Groups": "owners",
    "X-Auth-Request-User": "bert",
    "X-Remote-User": "bert",
    "Remote-User": "bert",
    "X-WEBAUTH-USER": "bert",
    "X-OpenWebUI-User-Id": "bert",
    "X-OpenWebUI-User-Name": "bert",
    "X-OpenWebUI-User-Email": "bert@example.com",
    "X-OpenWebUI-User-Role": "admin",
    "X-Appliance-User": "bert",
    "X-Original-URL": "/health",
    "X-Rewrite-URL": "/health",
    "X-HTTP-Method-Override": "GET",
    "OpenAI-Organization": "owners",
}


def test_header_smuggling_of_identity(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    """Elsewhere a header that only the proxy was to set said who somebody is, and anybody could set it."""
    box = sign_on.box
    assert code(box, CLAIMED) == "key-missing"
    assert code(box, CLAIMED, "/v1/models", None) == "key-missing"
    for secret in (wiki.tokens(anna)["access_token"], key(sign_on, "anna")):
        assert code(box, bearer(secret) | CLAIMED) == ""
        row = box.rows(1)[0]
        assert (row["principal"], row["team"]) == ("anna", "sales")
    stranger = Browser(sign_on, headers=CLAIMED)
    assert stranger.ask("GET", "/").location == "/sign-in"
    assert stranger.ask("GET", wiki.request()).location.startswith("/sign-in?")
    assert sign_on.ask("GET", "/userinfo", headers=CLAIMED).status == 401


def test_a_person_named_in_the_body(sign_on: SignOn) -> None:
    """Elsewhere the field `user` of a request chose whose budget it was charged to."""
    secret = key(sign_on, "wanda")
    assert code(sign_on.box, bearer(secret), body=HELLO | {"user": "bert", "metadata": {"user_id": "bert"}}) == ""
    assert sign_on.box.rows(1)[0]["principal"] == "wanda"
