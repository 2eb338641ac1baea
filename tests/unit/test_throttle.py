"""Guessing is slowed down, and nobody is locked out by others."""

from __future__ import annotations

import pytest

from appliance.identity.throttle import OF_ACCOUNT, OF_DEVICE, OF_NETWORK, WINDOW_S, Attempt, Throttle, network_of

ANNA = "anna@example.com"


def guessed(throttle: Throttle, attempt: Attempt, times: int, at: float = 0.0) -> None:
    """Wrong tries at one moment."""
    for _ in range(times):
        throttle.wrong(attempt, at)


def test_after_some_wrong_tries_there_is_a_wait_which_ends() -> None:
    throttle, here = Throttle(), Attempt("10.0.0.1", ANNA)
    guessed(throttle, here, OF_ACCOUNT - 1)
    assert throttle.wait_s(here, 1.0) == 0
    guessed(throttle, here, 1)
    assert throttle.wait_s(here, 60.0) == WINDOW_S - 60
    assert throttle.wait_s(here, WINDOW_S) == 0


def test_a_guesser_elsewhere_keeps_nobody_out() -> None:
    throttle = Throttle()
    guessed(throttle, Attempt("6.6.6.6", ANNA), OF_ACCOUNT)
    assert throttle.wait_s(Attempt("10.0.0.1", ANNA), 1.0) == 0
    assert throttle.wait_s(Attempt("6.6.6.6", "bert@example.com"), 1.0) == 0


def test_a_known_device_is_counted_by_itself() -> None:
    throttle = Throttle()
    known = Attempt("10.0.0.1", ANNA, "device")
    guessed(throttle, Attempt("10.0.0.1", ANNA), OF_NETWORK)
    assert throttle.wait_s(known, 1.0) == 0
    guessed(throttle, known, OF_DEVICE)
    assert throttle.wait_s(known, 1.0) > 0


def test_a_network_that_tries_many_accounts_waits() -> None:
    throttle = Throttle()
    for number in range(OF_NETWORK):
        throttle.wrong(Attempt("6.6.6.6", f"{number}@example.com"), 0.0)
    assert throttle.wait_s(Attempt("6.6.6.6", ANNA), 1.0) > 0


def test_a_right_try_forgets_the_wrong_ones_but_not_those_of_the_network() -> None:
    throttle, here = Throttle(), Attempt("10.0.0.1", ANNA)
    guessed(throttle, here, OF_ACCOUNT)
    throttle.right(here)
    assert throttle.wait_s(here, 1.0) == 0
    guessed(throttle, Attempt("10.0.0.1", "b@example.com"), OF_NETWORK - OF_ACCOUNT)
    assert throttle.wait_s(here, 1.0) > 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.168.1.7", "192.168.1.7"),
        ("::ffff:192.168.1.7", "192.168.1.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("made up", "unknown"),
        (None, "unknown"),
    ],
)
def test_a_network_is_what_one_household_has(address: str | None, network: str) -> None:
    assert network_of(address) == network
