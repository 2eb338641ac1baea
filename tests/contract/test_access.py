"""The table of who gets in where is whole, and says the same as the code."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from appliance.gateway.app import routes
from appliance.gateway.box import Box as Parts
from appliance.http.routes import Access
from appliance.identity.app import Threads
from appliance.identity.app import routes as sign_on_routes
from appliance.identity.services import Services
from appliance.policy.roles import TABLE, Permission, Role, Verdict, decide
from docs.generate import commands
from tests.contract.test_commands import READING
from tests.support.access import (
    AT_THE_FORM,
    CARDS,
    CHANGES,
    COMMANDS,
    GATEWAY,
    GOOD_FOR,
    OF_PEOPLE,
    READS,
    SIGN_ON,
    Door,
    Kind,
    State,
)

DOORS = {
    Access.ANYBODY: Door.OPEN,
    Access.KEY: Door.KEY,
    Access.CLIENT: Door.CLIENT,
    Access.BEARER: Door.BEARER,
    Access.SIGNED_IN: Door.SIGNED_IN,
}


def test_every_route_of_the_gateway_has_a_row_that_says_the_same() -> None:
    table = routes(object.__new__(Parts))
    rows = {name: door for name, (door, _) in GATEWAY.items()}
    assert {f"{route.method} {route.path}": DOORS[route.access] for route in table} == rows


def test_every_route_of_sign_on_has_a_row_that_says_the_same() -> None:
    thread = object.__new__(ThreadPoolExecutor)
    table = sign_on_routes(object.__new__(Services), Threads(thread, thread, thread))
    assert {f"{route.method} {route.path}": DOORS[route.access] for route in table} == SIGN_ON


def test_every_role_kind_and_state_is_walked() -> None:
    assert {role for role, _, _ in CARDS} == {*Role, None}
    # These are shown at pages of their own.
    assert {kind for _, kind, _ in CARDS} == {*Kind} - {Kind.PASSWORD, Kind.LINK, Kind.DEVICE_REFRESH}
    assert {state for _, _, state in CARDS} == set(State)
    assert set(GOOD_FOR) == {kind for _, kind, _ in CARDS}
    assert set(AT_THE_FORM) == set(OF_PEOPLE)


def test_every_command_is_an_act_that_somebody_may_do() -> None:
    assert {name for _, name, _ in commands()} == set(COMMANDS)
    # What no command is: that, people do for themselves, or it comes with what does it.
    rest = {*Permission} - {*COMMANDS.values()}
    assert rest <= {"chat", "own-account", "own-factors", "owners-write", "updates", "backup"}


@pytest.mark.parametrize("name", [name for name, act in COMMANDS.items() if act is not None])
@pytest.mark.parametrize("role", Role)
def test_a_command_is_for_the_roles_that_may_do_what_it_does(role: Role, name: str) -> None:
    act = COMMANDS[name]
    assert act is not None
    reads = name in READING or name == "audit export"
    may = set(Role) if act is Permission.API else READS if reads else CHANGES
    if act is Permission.RESTORE:
        may = {Role.OWNER}
    assert (decide(role, act, proved=True) is Verdict.ALLOWED) is (role in may)
    assert TABLE[act].step_up is (act is not Permission.API and not reads)
