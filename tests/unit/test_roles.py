"""The table of permissions, walked row by row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ApplianceError
from appliance.policy.roles import MEANINGS, TABLE, Permission, Role, Verdict, decide, is_fresh, role, to_change

# Who may do what, written a second time: a change of the table is a change of both.
ALLOWED: dict[str, set[str]] = {
    "owner": {*Permission},
    "admin": {*Permission} - {"owners-write", "restore"},
    "auditor": {
        "chat", "api", "own-account", "own-factors",
        "people-read", "keys-read", "budgets-read", "usage-read", "audit-read", "settings-read",
    },
    "staff": {"chat", "api", "own-account", "own-factors"},
    "service": {"api"},
}  # fmt: skip


def test_every_permission_has_a_row_and_every_role_a_meaning() -> None:
    assert set(TABLE) == set(Permission)
    assert set(MEANINGS) == set(Role) == set(ALLOWED)
    for said in (*(rule.meaning for rule in TABLE.values()), *MEANINGS.values()):
        assert said[0].isupper()
        assert said.endswith(".")


@pytest.mark.parametrize("permission", Permission)
@pytest.mark.parametrize("who", Role)
def test_a_role_may_do_what_is_written_here_and_nothing_else(who: Role, permission: Permission) -> None:
    expected = Verdict.ALLOWED if permission in ALLOWED[who] else Verdict.REFUSED
    assert decide(who, permission, proved=True) is expected


@pytest.mark.parametrize("permission", Permission)
def test_whatever_changes_proofs_or_something_for_others_needs_a_fresh_proof(permission: Permission) -> None:
    changes = not permission.endswith("-read") and permission not in ("chat", "api", "own-account")
    assert TABLE[permission].step_up is changes
    assert decide("owner", permission, proved=False) is (Verdict.STEP_UP if changes else Verdict.ALLOWED)


@pytest.mark.parametrize(("age_s", "fresh"), [(0, True), (599, True), (600, False), (-1, False)])
def test_a_proof_counts_for_ten_minutes(age_s: int, fresh: bool) -> None:
    now = 1_800_000_000_000_000
    assert is_fresh(now - age_s * 1_000_000, now) is fresh


def test_a_proof_gives_nobody_what_their_role_does_not() -> None:
    for who in Role:
        for permission in Permission:
            if permission not in ALLOWED[who]:
                assert decide(who, permission, proved=False) is decide(who, permission, proved=True) is Verdict.REFUSED


def test_the_owner_may_do_everything_and_only_owners_have_a_say_over_owners() -> None:
    assert all(Role.OWNER in rule.roles for rule in TABLE.values())
    assert TABLE[Permission.OWNERS_WRITE].roles == {Role.OWNER}
    assert to_change("staff", "admin") is Permission.PEOPLE_WRITE
    assert to_change("owner", "staff") is to_change("staff", "owner") is Permission.OWNERS_WRITE


@given(st.text(), st.text())
def test_what_is_not_in_the_table_is_refused(who: str, permission: str) -> None:
    known = who in Role.__members__.values() and permission in Permission.__members__.values()
    assert known or decide(who, permission, proved=True) is Verdict.REFUSED


@pytest.mark.parametrize("said", ["", "root", "Owners", "owner\0", "CHAT", "owner,admin"])
def test_a_role_that_is_none_may_nothing(said: str) -> None:
    assert {decide(said, one, proved=True) for one in Permission} == {Verdict.REFUSED}
    assert {decide(one, said, proved=True) for one in Role if said != "CHAT"} <= {Verdict.REFUSED}
    with pytest.raises(ApplianceError) as caught:
        role(said)
    assert caught.value.code == "wrong-use"
    assert "owner, admin, auditor, staff, service" in caught.value.hint


def test_a_role_is_read_as_people_write_it() -> None:
    assert role(" Owner ") is Role.OWNER
