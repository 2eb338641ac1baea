"""Codes of an authenticator: each is taken once, and only near its time."""

from __future__ import annotations

import pytest

from appliance.policy.totp import STEP_S, address, recovery_code, step_of

# The SHA-1 secret and the first times of RFC 6238, appendix B, cut to six figures.
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
RFC_6238 = [
    (59, "287082"),
    (1111111109, "081804"),
    (1111111111, "050471"),
    (1234567890, "005924"),
    (2000000000, "279037"),
]


@pytest.mark.parametrize(("now", "code"), RFC_6238)
def test_a_code_is_that_of_the_standard(now: int, code: str) -> None:
    assert step_of(SECRET, code, now, 0) == now // STEP_S
    assert step_of(SECRET, f" {code[:3]} {code[3:]}\n", now, 0) == now // STEP_S


def test_a_code_counts_one_step_before_and_after_its_own() -> None:
    now, code = RFC_6238[3]
    step = now // STEP_S
    taken = [step_of(SECRET, code, (step + off) * STEP_S, 0) for off in (-2, -1, 0, 1, 2)]
    assert taken == [None, step, step, step, None]
    assert step_of(SECRET, code, (step + 2) * STEP_S - 0.001, 0) == step


def test_a_code_is_taken_once_and_none_before_it_afterwards() -> None:
    now, code = RFC_6238[3]
    step = now // STEP_S
    assert step_of(SECRET, code, now, step - 1) == step
    assert step_of(SECRET, code, now, step) is None
    assert step_of(SECRET, code, now, step + 1) is None


@pytest.mark.parametrize(
    "code",
    ["", "5924", "0005924", "005925", "\uff10\uff10\uff15\uff19\uff12\uff14", "00592\uff14", "\udc80", "x" * 100_000],
)
def test_anything_else_is_refused(code: str) -> None:
    assert step_of(SECRET, code, RFC_6238[3][0], 0) is None


def test_an_app_is_told_whose_secret_it_is() -> None:
    told = address(SECRET, "anna@example.com", "Brauerei Ott")
    assert told == f"otpauth://totp/Brauerei%20Ott:anna%40example.com?secret={SECRET}&issuer=Brauerei%20Ott"


def test_a_recovery_code_may_be_typed_with_or_without_its_lines() -> None:
    assert recovery_code(" ABCD-efgh ijkl\n") == recovery_code("abcdefghijkl") == "abcdefghijkl"
