"""People and groups in a real database: who is who, who is shut out, and who must stay."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from appliance.accounts import budgets, groups, importing, keys, links, owners, people, second_factor, suspension
from appliance.accounts.people_tables import Link, Membership, Passkey, Person, RecoveryCode
from appliance.accounts.resolve import Credentials
from appliance.errors import ApplianceError
from appliance.policy.roles import Role
from appliance.policy.roster import Entry, Fault
from appliance.store.sessions import session
from tests.support.people import hashed, owner, somebody


@pytest.fixture
def file(empty_database: bytes, tmp_path: Path) -> Path:
    """A database of the test's own."""
    file = tmp_path / "appliance.db"
    file.write_bytes(empty_database)
    return file


@pytest.fixture
def opened(file: Path) -> Iterator[Session]:
    """A transaction on it."""
    with session(file, alone=True) as one:
        yield one


def refused(code: str, act: Callable[..., object], *said: Any, **more: Any) -> ApplianceError:
    """The refusal of an act."""
    with pytest.raises(ApplianceError) as caught:
        act(*said, **more)
    assert caught.value.code == code, caught.value
    return caught.value


def test_an_account_is_made_from_an_address_alone(opened: Session) -> None:
    anna = people.add(opened, " Anna.Krahl@Example.com ")
    assert (anna.email, anna.name, anna.login, anna.role) == (
        "anna.krahl@example.com", "Anna Krahl", "anna.krahl", Role.STAFF
    )  # fmt: skip
    assert (anna.team, anna.password, anna.password_at, anna.totp, anna.removed_at) == ("", "", None, "", None)
    assert anna.id.startswith("per-")
    assert len(anna.id) == 16


@pytest.mark.parametrize(
    "spelling",
    ["ANNA@MÜLLER.EXAMPLE", " anna@müller.example", "anna@mu\u0308ller.example", "Anna@xn--mller-kva.example"],
)
def test_nobody_is_added_twice_by_another_spelling(opened: Session, spelling: str) -> None:
    anna = people.add(opened, "anna@müller.example")
    assert "anna@müller.example" in refused("person-exists", people.add, opened, spelling).sentence
    assert people.find(opened, spelling) is anna


def test_two_of_one_name_get_two_logins_and_a_login_is_chosen_once(opened: Session) -> None:
    people.add(opened, "anna@example.com")
    assert people.add(opened, "anna@other.example").login == "anna2"
    assert people.add(opened, "anna@third.example", login="Anna-M").login == "anna-m"
    assert "anna-m" in refused("person-exists", people.add, opened, "x@example.com", login="ANNA-M").sentence


def test_somebody_is_found_by_address_login_or_id(opened: Session) -> None:
    anna = people.add(opened, "anna@example.com")
    for said in ("Anna@example.com", "anna", "ANNA ", anna.id):
        assert people.find(opened, said) is anna
    for said in ("ben", "ben@example.com", "per-0", "", "no\0body", "a@b@c"):
        assert refused("person-not-found", people.find, opened, said).sentence.isprintable()


def test_the_last_owner_who_can_sign_in_cannot_be_removed_demoted_or_disabled(file: Path) -> None:
    with session(file, alone=True) as opened:
        one = owner(opened, "one")
        # Neither of these can take their place: one never had a password, the others are shut out.
        people.add(opened, "invited@example.com", role=Role.OWNER)
        people.disable(opened, owner(opened, "disabled"))
        groups.add(opened, "sales")
        somebody(opened, "sold", Role.OWNER, into=["sales"])
        suspension.suspend(opened, suspension.TEAM, "sales")
        groups.add(opened, "hr")
        assert owners.who_can_sign_in(opened) == {one.id}
    acts: list[Callable[[Session, Person], object]] = [
        people.remove,
        people.disable,
        people.end_password,
        lambda opened, one: people.set_role(opened, one, Role.ADMIN),
        lambda opened, one: suspension.suspend(opened, suspension.USER, one.login),
        lambda opened, one: groups.join(opened, groups.find(opened, "sales"), one),
    ]
    for act in acts:
        with pytest.raises(ApplianceError) as caught, session(file, alone=True) as opened:
            act(opened, people.find(opened, "one"))
        assert caught.value.code == "last-owner"
    with session(file, alone=True) as opened:
        two = owner(opened, "two")
        people.set_role(opened, people.find(opened, "one"), Role.STAFF)
        assert owners.who_can_sign_in(opened) == {two.id}
        groups.join(opened, groups.find(opened, "hr"), two)
    with pytest.raises(ApplianceError) as caught, session(file, alone=True) as opened:
        suspension.suspend(opened, suspension.TEAM, "hr")
    assert caught.value.code == "last-owner"


def test_the_last_owner_without_a_password_keeps_their_passkey(opened: Session) -> None:
    one = people.add(opened, "one@example.com", role=Role.OWNER)
    opened.add(Passkey(id="k", person_id=one.id, public_key=b"x", sign_count=0, name="phone", created_at=1))
    opened.flush()
    assert owners.who_can_sign_in(opened) == {one.id}
    refused("last-owner", second_factor.drop, opened, one)


def test_where_no_owner_can_sign_in_anything_may_be_done(opened: Session) -> None:
    one = people.add(opened, "one@example.com", role=Role.OWNER)
    people.disable(opened, one)
    people.set_role(opened, one, Role.STAFF)
    people.remove(opened, one)


def test_of_the_last_two_owners_who_remove_each_other_at_once_one_remains(file: Path) -> None:
    with session(file, alone=True) as opened:
        owner(opened, "one")
        owner(opened, "two")
    together, codes = threading.Barrier(2), []

    def remove(name: str) -> None:
        together.wait(30)
        try:
            with session(file, alone=True) as mine:
                people.remove(mine, people.find(mine, name))
        except ApplianceError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=remove, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert codes == ["last-owner"]
    with session(file) as opened:
        assert len(owners.who_can_sign_in(opened)) == 1


def test_whoever_is_removed_leaves_a_login_that_nobody_gets_and_nothing_else(file: Path) -> None:
    with session(file, alone=True) as opened:
        groups.add(opened, "sales")
        anna = somebody(opened, "anna", into=["sales"], name="Anna Krahl")
        _, secret = keys.create(opened, "anna")
        other = keys.create(opened, "ben")[1]
        links.make(opened, anna, links.RESET)
        second_factor.renew_recovery_codes(opened, anna)
        opened.add(Passkey(id="k", person_id=anna.id, public_key=b"x", sign_count=0, name="phone", created_at=1))
        id = anna.id
        people.disable(opened, anna)
    with session(file, alone=True) as opened:
        assert people.remove(opened, people.find(opened, "anna")) == 1
    with session(file) as opened:
        kept = opened.get(Person, id)
        assert kept is not None
        assert (kept.email, kept.name, kept.password, kept.totp, kept.team) == ("", "", "", "", "")
        for table in (Link, Passkey, RecoveryCode, Membership):
            assert opened.exec(select(table)).all() == []
        assert suspension.listed(opened) == []
        for said in ("anna", "anna@example.com", id):
            refused("person-not-found", people.find, opened, said)
        assert people.listed(opened) == []
        refused("wrong-use", keys.create, opened, "anna")
        refused("person-exists", people.add, opened, "new@example.com", login="anna")
        assert people.add(opened, "anna@example.com").login == "anna2"
    with closing(Credentials(file)) as credentials:
        assert refused("key-refused", credentials.resolve, f"Bearer {secret}", None)
        assert credentials.resolve(f"Bearer {other}", None).name == "ben"


def test_a_credential_of_somebody_who_was_removed_is_refused_even_if_it_was_forgotten(file: Path) -> None:
    with session(file, alone=True) as opened:
        anna = somebody(opened, "anna")
        _, secret = keys.create(opened, "anna")
        people.remove(opened, anna)
        for key in keys.listed(opened):
            key.key.revoked_at = None
    with closing(Credentials(file)) as credentials:
        assert "was removed" in refused("suspended", credentials.resolve, f"Bearer {secret}", None).sentence


def test_being_disabled_is_the_suspension_that_keys_have(file: Path) -> None:
    with session(file, alone=True) as opened:
        anna = somebody(opened, "anna")
        _, secret = keys.create(opened, "anna")
        people.disable(opened, anna)
        assert [(one.kind, one.name) for one in suspension.listed(opened)] == [("user", "anna")]
        assert people.shut_out(opened, anna) == "user"
    with closing(Credentials(file)) as credentials:
        refused("suspended", credentials.resolve, f"Bearer {secret}", None)
    with session(file, alone=True) as opened:
        people.enable(opened, people.find(opened, "anna"))
        refused("not-suspended", people.enable, opened, people.find(opened, "anna"))
    with closing(Credentials(file)) as credentials:
        assert credentials.resolve(f"Bearer {secret}", None).name == "anna"


def test_a_key_made_under_another_spelling_of_a_login_ends_with_its_person(file: Path) -> None:
    with session(file, alone=True) as opened:
        anna = somebody(opened, "anna")
        key, secret = keys.create(opened, " Anna")
        assert key.owner == "anna"
        assert keys.create(opened, "Ben")[0].owner == "Ben"
        people.disable(opened, anna)
    with closing(Credentials(file)) as credentials:
        refused("suspended", credentials.resolve, f"Bearer {secret}", None)
    with session(file, alone=True) as opened:
        people.remove(opened, people.find(opened, "anna"))
        refused("wrong-use", keys.create, opened, "ANNA")


def test_the_list_says_who_can_sign_in_and_with_what(opened: Session) -> None:
    groups.add(opened, "sales")
    somebody(opened, "anna", into=["sales"], name="anna Krahl")
    links.make(opened, people.add(opened, "ben@example.com", name="Ben"), links.INVITE)
    people.add(opened, "carla@example.com", name="Carla")
    people.disable(opened, somebody(opened, "dora", name="Dora"))
    eve = somebody(opened, "eve", name="Eve")
    eve.totp = "GEZDGNBVGY3TQOJQ"
    opened.add(Passkey(id="k", person_id=eve.id, public_key=b"x", sign_count=0, name="phone", created_at=1))
    found = [(one.person.name, one.state, one.groups, one.second_factors) for one in people.listed(opened)]
    assert found == [
        ("anna Krahl", "active", ("sales",), ()),
        ("Ben", "invited", (), ()),
        ("Carla", "no password", (), ()),
        ("Dora", "disabled", (), ()),
        ("Eve", "active", (), ("totp", "passkey")),
    ]
    suspension.suspend(opened, suspension.TEAM, "sales")
    first = people.listed(opened)[0]
    assert (first.state, first.shut_out) == ("disabled", "team")


def test_what_somebody_uses_counts_for_their_first_group_until_it_is_said_otherwise(opened: Session) -> None:
    for name in ("sales", "hr", "lab"):
        groups.add(opened, name)
    anna = people.add(opened, "anna@example.com", into=["sales", "hr", "sales"])
    assert (anna.team, groups.members(opened)[anna.id]) == ("sales", ["hr", "sales"])
    groups.join(opened, groups.find(opened, "lab"), anna, counts=True)
    assert anna.team == "lab"
    groups.leave(opened, groups.find(opened, "hr"), anna)
    assert anna.team == "lab"
    refused("wrong-use", groups.leave, opened, groups.find(opened, "hr"), anna)
    groups.remove(opened, groups.find(opened, "lab"))
    assert (anna.team, groups.members(opened)[anna.id]) == ("", ["sales"])
    assert [group.name for group in groups.listed(opened)] == ["hr", "sales"]


def test_a_budget_may_be_for_whoever_has_an_account_or_for_a_group(opened: Session) -> None:
    groups.add(opened, "sales")
    people.remove(opened, people.add(opened, "gone@example.com"))
    people.add(opened, "anna@example.com")
    known = [("user", "anna"), ("team", "sales"), ("user", "gone"), ("team", "anna"), ("user", "sales")]
    assert [budgets.is_known(opened, kind, name) for kind, name in known] == [True, True, False, False, False]


def test_a_group_is_there_once_and_must_be_there_before_somebody_is_in_it(opened: Session) -> None:
    groups.add(opened, "Vertrieb Süd")
    refused("group-exists", groups.add, opened, "vertrieb su\u0308d ")
    refused("group-not-found", groups.find, opened, "vertrieb süd")
    assert "groups add 'hr'" in refused("group-not-found", people.add, opened, "anna@example.com", into=["hr"]).hint


def test_of_a_list_everybody_is_added_or_nobody(file: Path) -> None:
    entries = tuple(
        Entry(line, f"{name}@example.com", name.title(), Role.STAFF, groups)
        for line, name, groups in ((2, "anna", ("sales",)), (3, "ben", ("sales", "hr")), (4, "carla", ()))
    )
    with session(file, alone=True) as opened:
        groups.add(opened, "sales")
        people.add(opened, "carla@example.com")
    with session(file, alone=True) as opened:
        said = refused("import-refused", importing.add_all, opened, entries).sentence
        assert said == (
            "Nobody was added: line 3: there is no group 'hr'; line 4: carla@example.com has an account already."
        )
        assert [one.person.login for one in people.listed(opened)] == ["carla"]
        groups.add(opened, "hr")
        added = importing.add_all(opened, entries[:2])
        assert [(one.login, one.team, one.password) for one in added] == [("anna", "sales", ""), ("ben", "sales", "")]


def test_of_very_many_mistakes_the_first_are_told() -> None:
    faults = tuple(Fault(line, "no") for line in range(200, 0, -1))
    with pytest.raises(ApplianceError) as caught:
        importing.must_be_right(faults)
    assert "line 1: no; line 2: no" in caught.value.sentence
    assert caught.value.sentence.endswith("; and 150 more.")


def test_a_password_is_on_the_row_with_its_time_until_it_is_ended(opened: Session) -> None:
    anna = somebody(opened, "anna")
    assert anna.password == hashed()
    assert anna.password_at is not None
    people.end_password(opened, anna)
    assert anna.model_dump(include={"password", "password_at"}) == {"password": "", "password_at": None}
