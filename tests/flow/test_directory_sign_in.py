"""Signing in with the password of the company's directory, and what ends when somebody is gone there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from appliance.accounts import people
from appliance.accounts.groups import members
from appliance.audit.acts import acting
from appliance.config.load import load
from appliance.config.paths import Home
from appliance.control.federation import directory_of
from appliance.errors import ApplianceError
from appliance.identity import vouching
from appliance.identity.directory import DirectoryClient
from appliance.identity.directory_sign_in import look_after
from appliance.identity.pages import Pages
from appliance.identity.services import Keys, Services
from appliance.policy.roles import Role
from appliance.store.schema import connect
from appliance.store.sessions import Sessions, session
from appliance.units import now_us
from tests.flow.test_directory import PASSWORD as THERE
from tests.flow.test_directory import entry
from tests.support.box import Box
from tests.support.ldap_server import BINDER, BINDER_PASSWORD, FakeDirectory
from tests.support.people import PASSWORD
from tests.support.sign_on import Browser, SignOn

SALES = "cn=sales,ou=groups,dc=example,dc=com"


@pytest.fixture(scope="module")
def server() -> Iterator[FakeDirectory]:
    """The directory."""
    found = FakeDirectory.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory, server: FakeDirectory) -> Iterator[SignOn]:
    """A sign-on that asks the directory."""
    found = SignOn(Box(tmp_path_factory.mktemp("directory")))
    secret = found.box.folder / "secret"
    secret.write_text(BINDER_PASSWORD)
    secret.chmod(0o600)
    found.box.configure(
        f'{found.settings}[identity.directory]\nurl = "ldap://127.0.0.1:{server.port}"\n'
        f'base = "ou=people,dc=example,dc=com"\nbind_dn = "{BINDER}"\nbind_password_file = "{secret}"\n'
        f'domains = ["example.com"]\ngroups = {{ "{SALES}" = "sales" }}\n'
    )
    found.person("olga", Role.OWNER, "sales")
    found.person("local")
    found.person("here", password="")
    server.do({})
    found.start()
    yield found
    found.stop()


@pytest.fixture
def services(fed: SignOn) -> Iterator[tuple[Services, DirectoryClient]]:
    """The parts of the process, to look after people now and not in a quarter of an hour."""
    home = Home(fed.box.config, fed.box.state)
    terms = directory_of(load(fed.box.config).identity)
    assert terms is not None
    sessions = Sessions(home.database)
    yield Services(home, fed.issuer, fed.issuer, sessions, Keys(home), Pages(), lambda: None), DirectoryClient(terms)
    sessions.close()


def last_logged(fed: SignOn) -> str:
    """The last line of the log."""
    return (fed.box.folder / "identity.log").read_text().splitlines()[-1]


def test_whoever_is_new_and_whoever_has_no_password_here_signs_in(fed: SignOn, server: FakeDirectory) -> None:
    server.do(entry("nina", 1, memberOf=[SALES]) | entry("here", 2))
    nina = Browser(fed)
    assert nina.sign_in("Nina@example.com", THERE).location == "/"
    assert "nina@example.com" in nina.get("/").text
    assert Browser(fed).sign_in("here@example.com", THERE).location == "/"
    with session(fed.box.state / "appliance.db") as opened:
        by_login = {one.person.login: one for one in people.listed(opened)}
        nina_id = by_login["nina"].person.id
        assert members(opened)[nina_id] == ["sales"]
    assert (by_login["nina"].sources, by_login["nina"].state) == (("directory",), "active")
    assert (by_login["here"].sources, by_login["local"].sources) == (("directory",), ())
    server.do(entry("nina", 1))
    assert nina.sign_in("nina@example.com", THERE).location == "/"
    with session(fed.box.state / "appliance.db") as opened:
        assert members(opened).get(nina_id, []) == []


def test_a_password_here_alone_counts_and_never_goes_to_the_directory(fed: SignOn, server: FakeDirectory) -> None:
    server.do(entry("local", 3))
    server.asked()
    assert Browser(fed).sign_in("local@example.com").location == "/"
    assert server.asked() == []
    assert Browser(fed).sign_in("local@example.com", THERE).status == 403
    asked = server.asked()
    assert [one[0] for one in asked] == ["bind", "search", "bind"], "the time is the same"
    assert THERE not in [one[2] for one in asked] and PASSWORD not in [one[2] for one in asked]
    # Nor does a second name in the directory lead around it.
    server.do(entry("local", 3, userPrincipalName=["other@example.com"]))
    assert Browser(fed).sign_in("other@example.com", THERE).status == 403
    with session(fed.box.state / "appliance.db") as opened:
        assert not people.sources(opened).get(people.find(opened, "local").id)
    server.do({})
    assert Browser(fed).sign_in("olga@elsewhere.example", PASSWORD).status == 403
    assert server.asked() == [], "another domain is none of its business"


def test_whoever_is_not_let_in_is_told_the_same(fed: SignOn, server: FakeDirectory) -> None:
    server.do(entry("pia", 4) | entry("off", 5, userAccountControl=["514"]))

    def told(email: str, password: str) -> tuple[int, str]:
        said = Browser(fed, headers={"X-Forwarded-For": f"192.0.2.{len(email)}"}).sign_in(email, password)
        return said.status, re.sub(r'value="[^"]*"', "", said.text)

    wrong = told("pia@example.com", "wrong")
    assert wrong[0] == 403
    for email, password in (
        ("nobody@example.com", "wrong"),
        ("off@example.com", THERE),
        ("local@example.com", "wrong"),
        ("*@example.com", THERE),
        ("x)(mail=*)@example.com", THERE),
    ):
        assert told(email, password) == wrong, email
    server.do(entry("pia", 4, mail=["pia@elsewhere.example"], userPrincipalName=["pia@example.com"]))
    said = Browser(fed).sign_in("pia@example.com", THERE)
    assert (said.status, "has no access here" in said.text) == (403, True)


def test_wrong_passwords_are_counted_like_all_others(fed: SignOn, server: FakeDirectory) -> None:
    server.do(entry("rita", 6))
    for _ in range(5):
        assert Browser(fed).sign_in("rita@example.com", "wrong").status == 403
    server.asked()
    assert Browser(fed).sign_in("rita@example.com", THERE).status == 429
    assert server.asked() == []


def test_whoever_is_gone_or_switched_off_there_loses_all_until_they_are_back(
    fed: SignOn, server: FakeDirectory, services: tuple[Services, DirectoryClient]
) -> None:
    there = entry("sara", 7) | entry("nina", 1) | entry("here", 2)
    server.do(there)
    look_after(*services)
    sara = Browser(fed)
    assert sara.sign_in("sara@example.com", THERE).location == "/"
    assert look_after(*services) == 0
    for gone in ({**there, **entry("sara", 7, userAccountControl=["514"])}, entry("nina", 1) | entry("here", 2)):
        server.do(gone)
        assert look_after(*services) == 1
        assert look_after(*services) == 0
        assert fed.alive("sara@example.com") == 0
        assert sara.ask("GET", "/").location == "/sign-in"
        assert Browser(fed).sign_in("sara@example.com", THERE).status == 403
        server.do(there)
        assert look_after(*services) == 1
        assert sara.ask("GET", "/").location == "/sign-in"
        assert sara.sign_in("sara@example.com", THERE).location == "/"
    (event,) = [one for one in fed.events("suspended") if one["target"] == "sara"][-1:]
    assert (event["actor"], event["facts"]) == ("directory", {"kind": "user", "why": "gone-from-directory"})
    # Whom somebody here has shut out, the directory does not let in.
    with acting(services[0].home) as acts:
        people.disable(acts.session, people.find(acts.session, "sara"))
    assert look_after(*services) == 0
    said = Browser(fed).sign_in("sara@example.com", THERE)
    assert (said.status, "switched off" in said.text) == (403, True)


def test_whoever_is_back_need_not_wait_for_the_next_look(
    fed: SignOn, server: FakeDirectory, services: tuple[Services, DirectoryClient]
) -> None:
    server.do(entry("tom", 8))
    assert Browser(fed).sign_in("tom@example.com", THERE).location == "/"
    server.do({})
    look_after(*services)
    server.do(entry("tom", 8))
    assert Browser(fed).sign_in("tom@example.com", THERE).location == "/"


def test_a_directory_that_says_nothing_for_too_long_keeps_nobody_signed_in(
    fed: SignOn, server: FakeDirectory, services: tuple[Services, DirectoryClient]
) -> None:
    parts, client = services
    server.do(entry("vera", 10))
    vera = Browser(fed)
    assert vera.sign_in("vera@example.com", THERE).location == "/"
    age(fed, 25)
    look_after(parts, client)
    assert vouching.look_after(parts) == 0, "the look has renewed it"
    age(fed, 23)
    assert vouching.look_after(parts) == 0
    age(fed, 24)
    assert vouching.look_after(parts) >= 1
    assert vera.ask("GET", "/").location == "/sign-in"
    with session(fed.box.state / "appliance.db") as opened:
        assert people.shut_out(opened, people.find(opened, "vera")) == "", "nobody is shut out for it"


def age(fed: SignOn, hours: int) -> None:
    """It is so long since the directory was heard."""
    with closing(connect(fed.box.state / "appliance.db")) as connection:
        connection.execute("UPDATE foreign_account SET seen_at = ?", (now_us() - hours * 3_600_000_000 - 1,))


def test_a_directory_that_is_down_shuts_nobody_out_and_others_sign_in(
    fed: SignOn, server: FakeDirectory, services: tuple[Services, DirectoryClient]
) -> None:
    server.do(entry("uwe", 9))
    uwe = Browser(fed)
    assert uwe.sign_in("uwe@example.com", THERE).location == "/"
    server.do(entry("uwe", 9), how="hangs")
    with pytest.raises(ApplianceError) as caught:
        look_after(*services)
    assert caught.value.code == "directory-unreachable"
    said = Browser(fed).sign_in("uwe@example.com", THERE)
    assert (said.status, "does not answer" in said.text) == (503, True)
    assert '"directory-unreachable"' in last_logged(fed)
    assert uwe.get("/").status == 200
    assert Browser(fed).sign_in("olga@example.com").location == "/"


@pytest.mark.slow
def test_what_is_wrong_is_said_in_one_sentence(fed: SignOn, server: FakeDirectory) -> None:
    server.do({})
    assert [one["name"] for one in fed.box.document("sign-in", "check")] == ["directory"]
    secret = fed.box.folder / "secret"
    secret.write_text("another")
    try:
        assert "does not let us in as" in fed.box.run("sign-in", "check", "directory", code=1).stderr
    finally:
        secret.write_text(BINDER_PASSWORD)
