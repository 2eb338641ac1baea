"""The company's directory over its real protocol: who is proved, what it is asked, and how it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.identity.directory import DirectoryClient
from appliance.policy.directory import Directory
from tests.support import certificates
from tests.support.box import free_port
from tests.support.ldap_server import BINDER, BINDER_PASSWORD, FakeDirectory

PASSWORD = "their own, there"
GUID = "00112233445566778899aabbccddeeff"


def entry(login: str, number: int = 0, **more: list[str]) -> dict[str, dict[str, list[str]]]:
    """Somebody in Active Directory."""
    return {
        f"cn={login},ou=people,dc=example,dc=com": {
            "objectClass": ["top", "person", "user"],
            "objectCategory": ["person"],
            "objectGUID": [f"hex:{GUID[:-2]}{number:02x}"],
            "mail": [f"{login}@example.com"],
            "displayName": [login.capitalize()],
            "userAccountControl": ["512"],
            "userPassword": [PASSWORD],
            **more,
        }
    }


@pytest.fixture(scope="module")
def server() -> Iterator[FakeDirectory]:
    """The directory, on loopback without TLS."""
    found = FakeDirectory.start()
    yield found
    found.stop()


@pytest.fixture
def terms(tmp_path: Path, server: FakeDirectory) -> Directory:
    """The settings for it."""
    secret = tmp_path / "secret"
    secret.write_text(BINDER_PASSWORD + "\n")
    secret.chmod(0o600)
    return Directory(
        kind="active-directory", url=f"ldap://127.0.0.1:{server.port}", start_tls=False, ca_file=None,
        base="ou=people,dc=example,dc=com", filter=None, bind_dn=BINDER, password_file=str(secret), id_attribute=None,
        mail_attribute="mail", name_attribute=None, groups_attribute="memberOf", domains=("example.com",),
        role="staff", groups={"CN=Sales, OU=Groups,DC=example,DC=com": "sales", "cn=it": "it"}, check_minutes=15,
    )  # fmt: skip


def code(client: DirectoryClient, login: str = "anna@example.com", password: str = PASSWORD) -> tuple[str, str]:
    """Code and sentence of a failure."""
    with pytest.raises(ApplianceError) as caught:
        client.prove(login, password)
    return caught.value.code, caught.value.sentence


def test_whose_password_it_is_and_what_follows(server: FakeDirectory, terms: Directory) -> None:
    server.do(entry("anna", memberOf=["cn=sales,ou=groups,dc=example,dc=com", "cn=other"]) | entry("ben", 1))
    who = DirectoryClient(terms).prove("anna@example.com", PASSWORD)
    assert who is not None
    assert (who.source, who.address, who.name, who.groups) == (
        "directory", "anna@example.com", "Anna", frozenset({"sales"}),
    )  # fmt: skip
    assert who.subject == "33221100-5544-7766-8899-aabbccddee00"
    gone = "33221100-5544-7766-8899-aabbccddee77"
    assert DirectoryClient(terms).still_there([who.subject, gone]) == {who.subject: True, gone: False}


def test_a_group_counts_that_somebody_is_in_by_another_group(server: FakeDirectory, terms: Directory) -> None:
    sales, field, south = (f"cn={name},ou=groups,dc=example,dc=com" for name in ("sales", "field", "south (EU)"))
    # The last one is in a circle, as groups in Active Directory may be.
    groups = {field: {"memberOf": [sales]}, south: {"memberOf": [field]}, sales: {"memberOf": [south]}}
    people = entry("anna", memberOf=[south]) | entry("ben", 1, memberOf=["cn=other"])

    def found(login: str, kind: Directory = terms) -> frozenset[str]:
        who = DirectoryClient(kind).prove(f"{login}@example.com", PASSWORD)
        assert who is not None
        return who.groups

    server.do(people | groups)
    assert (found("anna"), found("ben")) == (frozenset({"sales"}), frozenset())
    assert found("anna", replace(terms, nested_groups=False)) == frozenset()
    server.asked()
    DirectoryClient(terms).prove("anna@example.com", "wrong")
    assert [one[0] for one in server.asked()] == ["bind", "search", "bind"], "only whoever is proved is looked up so"
    # One that does not know the rule lets people in by what stands in their entry, and the check says so.
    server.do(entry("anna", memberOf=[sales]) | groups, how="no rule")
    assert found("anna") == {"sales"}
    with pytest.raises(ApplianceError) as caught:
        DirectoryClient(terms).check()
    assert (caught.value.code, "groups in groups" in caught.value.sentence) == ("directory-refused", True)
    DirectoryClient(replace(terms, nested_groups=False)).check()


def test_nobody_is_proved_by_anything_else(server: FakeDirectory, terms: Directory) -> None:
    client = DirectoryClient(terms)
    off = entry("off", 2, userAccountControl=["514"])
    odd = entry("odd", 3, userAccountControl=[])
    twins = {**entry("twin", 4), **{f"{dn},ou=x": one for dn, one in entry("twin", 5).items()}}
    server.do({**entry("anna"), **off, **odd, **twins})
    for login, password in (
        ("anna@example.com", "wrong"),
        ("anna@example.com", ""),
        ("nobody@example.com", PASSWORD),
        ("nobody@example.com", ""),
        ("off@example.com", PASSWORD),
        ("odd@example.com", PASSWORD),
        ("twin@example.com", PASSWORD),
        ("*", PASSWORD),
        ("anna@example.com)(objectClass=*", PASSWORD),
        ("a*@example.com", PASSWORD),
        ("x)(|(mail=*))@example.com", PASSWORD),
        ("anna\x00@example.com", PASSWORD),
    ):
        server.asked()
        assert client.prove(login, password) is None, login
        # Nobody learns from the time, or the directory's own log, whether there is such an entry.
        kinds = [one[0] for one in server.asked()]
        assert kinds == ["bind", "search", "bind"], login
    client.prove("anna@example.com", "")
    assert [one[2] for one in server.asked() if one[0] == "bind" and not one[2]] == []


def test_an_address_of_another_domain_is_vouched_for_by_nobody(server: FakeDirectory, terms: Directory) -> None:
    server.do(entry("eve", mail=["eve@example.com.evil.example"], userPrincipalName=["eve@example.com"]))
    who = DirectoryClient(terms).prove("eve@example.com", PASSWORD)
    assert who is not None
    assert who.address == ""
    server.do(entry("eve", objectGUID=[]))
    assert code(DirectoryClient(terms), "eve@example.com")[0] == "account-not-vouched"


def test_another_kind_of_directory(server: FakeDirectory, terms: Directory) -> None:
    plain = {"objectClass": ["inetOrgPerson"], "entryUUID": ["uuid-1"], "cn": ["Otto"], "memberOf": ["cn=it"]}
    server.do(entry("otto", 0, **plain))
    client = DirectoryClient(replace(terms, kind="openldap"))
    who = client.prove("otto@example.com", PASSWORD)
    assert who is not None
    assert (who.subject, who.name, who.groups) == ("uuid-1", "Otto", frozenset({"it"}))
    server.do(entry("otto", 0, **plain, pwdAccountLockedTime=["000001010000Z"]))
    assert client.prove("otto@example.com", PASSWORD) is None
    assert client.still_there(["uuid-1"]) == {"uuid-1": False}
    mine = DirectoryClient(replace(terms, filter="(&(objectCategory=person)(cn={login}))"))
    assert mine.prove("anna@example.com", PASSWORD) is None


def test_referrals_are_not_followed(server: FakeDirectory, terms: Directory) -> None:
    server.do(entry("anna"), how="refers")
    assert DirectoryClient(terms).prove("anna@example.com", PASSWORD) is None


def test_settings_that_are_not_right_are_said_in_one_sentence(server: FakeDirectory, terms: Directory) -> None:
    server.do(entry("anna"))
    Path(terms.password_file).write_text("wrong")
    assert code(DirectoryClient(terms)) == (
        "directory-refused", f"The directory does not let us in as {BINDER}: invalidCredentials.",
    )  # fmt: skip
    Path(terms.password_file).write_text("")
    assert "it is empty" in code(DirectoryClient(terms))[1]
    Path(terms.password_file).chmod(0o644)
    assert "others can read" in code(DirectoryClient(terms))[1]
    assert "no such file" in code(DirectoryClient(replace(terms, password_file="/nowhere")))[1]
    Path(terms.password_file).chmod(0o600)
    Path(terms.password_file).write_text(BINDER_PASSWORD)
    assert "noSuchObject" in code(DirectoryClient(replace(terms, base="ou=elsewhere")))[1]
    assert code(DirectoryClient(replace(terms, filter="(mail={login}")))[0] == "directory-unreachable"


def test_a_directory_that_is_gone_is_not_waited_for_twice(server: FakeDirectory, terms: Directory) -> None:
    client = DirectoryClient(replace(terms, url=f"ldap://127.0.0.1:{free_port()}"))
    assert code(client)[0] == "directory-unreachable"
    server.do(entry("anna"), how="hangs")
    client, began = DirectoryClient(terms), time.monotonic()
    assert code(client)[0] == "directory-unreachable"
    assert time.monotonic() - began < 15
    began = time.monotonic()
    assert code(client)[0] == "directory-unreachable"
    client.pretend("anna@example.com")
    assert time.monotonic() - began < 1
    server.do(entry("anna"))


@pytest.mark.parametrize("by_request", [False, True])
def test_over_tls_only_the_right_ca_and_name_count(tmp_path: Path, terms: Directory, *, by_request: bool) -> None:
    ca, certificate, key = certificates.make(tmp_path / "right")
    other, *_ = certificates.make(tmp_path / "other")
    found = FakeDirectory.start(certificate, key, by_request=by_request)
    try:
        found.do(entry("anna"))
        url = f"{'ldap' if by_request else 'ldaps'}://127.0.0.1:{found.port}"
        mine = replace(terms, url=url, start_tls=by_request, ca_file=str(ca))
        assert DirectoryClient(mine).prove("anna@example.com", PASSWORD) is not None
        found.asked()
        for wrong in (replace(mine, ca_file=str(other)), replace(mine, ca_file=None)):
            assert code(DirectoryClient(wrong))[0] == "directory-unreachable"
        named = replace(mine, url=url.replace("127.0.0.1", "localhost"))
        assert code(DirectoryClient(named))[0] == "directory-unreachable"
        assert found.asked() == [], "no password was sent"
    finally:
        found.stop()
