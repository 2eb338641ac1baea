"""Who knows their password, and who has their second factor; whatever is wrong says the same."""

from __future__ import annotations

import statistics
import threading
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from pyotp import TOTP
from sqlmodel import Session, select

from appliance.accounts import passwords, people, second_factor, sign_in
from appliance.accounts.people_tables import Passkey, Person, RecoveryCode
from appliance.errors import ApplianceError
from appliance.store.sessions import session
from tests.support.people import PASSWORD, hashed, somebody

NOON = 1_795_514_400.0


def refused(act: Callable[..., object], *said: Any, code: str = "sign-in-refused") -> str:
    """What a refusal says."""
    with pytest.raises(ApplianceError) as caught:
        act(*said)
    assert caught.value.code == code
    return caught.value.sentence


def test_a_password_is_kept_as_argon2id_with_the_parameters_of_today() -> None:
    for stored in (hashed(), passwords.NOBODYS):
        assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert not passwords.is_outdated(stored)
    assert passwords.hashed(PASSWORD) != hashed()


def test_a_password_matches_however_its_accents_are_typed_and_nothing_else_does() -> None:
    assert passwords.matches(hashed(), PASSWORD)
    assert passwords.matches(hashed(), unicodedata.normalize("NFD", PASSWORD))
    for other in (PASSWORD.upper(), PASSWORD + " ", PASSWORD[:-1], "", "\udc80", "x" * 1_000_000, hashed()):
        assert not passwords.matches(hashed(), other)
    for nothing in ("", "x", "$argon2id$", hashed()[:-1]):
        assert not passwords.matches(nothing, PASSWORD)


def test_the_longest_password_is_compared_to_its_last_character() -> None:
    longest = "".join(chr(0x4E00 + number) for number in range(256))
    stored = passwords.hashed(longest)
    assert passwords.matches(stored, longest)
    assert not passwords.matches(stored, longest + "x")
    assert not passwords.matches(stored, longest[:-1])


def test_whoever_knows_their_password_gets_in_and_nobody_learns_who_else_is_here(opened: Session) -> None:
    anna = somebody(opened, "anna")
    people.add(opened, "invited@example.com")
    assert sign_in.with_password(opened, "ANNA@example.com", PASSWORD) == (anna, "")
    said = {
        refused(sign_in.with_password, opened, address, password)
        for address, password in (
            ("anna@example.com", "wrong"),
            ("anna@example.com", ""),
            ("invited@example.com", PASSWORD),
            ("invited@example.com", ""),
            ("nobody@example.com", PASSWORD),
            ("anna", PASSWORD),
            ("", ""),
            ("' OR 1=1 --", PASSWORD),
        )
    }
    assert said == {"Address or password is not right."}


def test_only_whoever_knows_the_password_learns_that_they_are_shut_out(opened: Session) -> None:
    ben = somebody(opened, "ben")
    people.disable(opened, ben)
    refused(sign_in.with_password, opened, "ben@example.com", "wrong")
    refused(sign_in.with_password, opened, "ben@example.com", PASSWORD, code="suspended")
    people.remove(opened, ben)
    refused(sign_in.with_password, opened, "ben@example.com", PASSWORD)


def test_the_time_does_not_tell_who_has_an_account(opened: Session) -> None:
    """User enumeration by timing: an unknown address costs as much as a wrong password."""
    somebody(opened, "timed")
    people.add(opened, "timed-invited@example.com")
    took: dict[str, list[float]] = {"timed": [], "timed-invited": [], "timed-nobody": []}
    for _ in range(7):
        for name, times in took.items():
            began = time.thread_time()
            refused(sign_in.with_password, opened, f"{name}@example.com", "wrong password here")
            times.append(time.thread_time() - began)
    middles = [statistics.median(times) for times in took.values()]
    assert max(middles) < 1.5 * min(middles), took


def test_a_hash_under_old_parameters_is_made_anew_when_its_password_is_known(file: Path) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash(PASSWORD)
    with session(file, alone=True) as opened:
        somebody(opened, "old", password=old)
        person, fresh = sign_in.with_password(opened, "old@example.com", PASSWORD)
        assert passwords.matches(fresh, PASSWORD)
        assert not passwords.is_outdated(fresh)
        sign_in.keep(opened, person, fresh)
    with session(file, alone=True) as opened:
        person, none = sign_in.with_password(opened, "old@example.com", PASSWORD)
        assert (person.password, none) == (fresh, "")
        # Whoever sets another password in the meantime is not overruled.
        before = person.model_copy()
        sign_in.set_password(person, "changed")
        opened.flush()
        sign_in.keep(opened, before, fresh)
        opened.refresh(person)
        assert person.password == "changed"


def test_a_new_password_is_judged_by_what_is_known_of_its_person(opened: Session) -> None:
    for password in ("karla-brehm-2026", "brehm@ottbraeu.example", "Ottbraeu-Brehm-1"):
        refused(
            sign_in.good,
            password,
            "brehm@ottbraeu.example",
            "Karla Brehm",
            "kbrehm",
            code="password-refused",
        )
    carla = people.add(opened, "carla@example.com")
    sign_in.set_password(carla, sign_in.good(PASSWORD, carla.email, carla.name, carla.login))
    assert carla.password_at is not None
    assert sign_in.with_password(opened, carla.email, PASSWORD)[0] is carla


def test_an_authenticator_is_asked_once_it_has_shown_a_code(opened: Session) -> None:
    dora, secret = somebody(opened, "dora"), second_factor.new_secret()
    assert len(secret) == 32
    refused(second_factor.turn_on, opened, dora, secret, "000000", NOON)
    assert dora.totp == ""
    codes = second_factor.turn_on(opened, dora, secret, TOTP(secret).at(NOON), NOON)
    assert dora.totp == secret
    assert len(set(codes)) == 10
    refused(second_factor.check, opened, dora, TOTP(secret).at(NOON), NOON)
    second_factor.check(opened, dora, TOTP(secret).at(NOON + 30), NOON + 30)
    refused(second_factor.check, opened, dora, TOTP(secret).at(NOON + 30), NOON + 31)
    opened.refresh(dora)
    assert dora.totp_step == (NOON + 30) // 30


def test_a_recovery_code_stands_in_once_and_only_for_its_own_person(opened: Session) -> None:
    eve, fay = somebody(opened, "eve"), somebody(opened, "fay")
    codes = second_factor.renew_recovery_codes(opened, eve)
    second_factor.renew_recovery_codes(opened, fay)
    assert all(len(code) == 19 for code in codes)
    stored = {row.digest for row in opened.exec(select(RecoveryCode).where(RecoveryCode.person_id == eve.id))}
    assert all(len(digest) == 64 for digest in stored)
    refused(second_factor.check, opened, fay, codes[0], NOON)
    second_factor.check(opened, eve, codes[0].upper().replace("-", " "), NOON)
    refused(second_factor.check, opened, eve, codes[0], NOON)
    assert second_factor.recovery_codes_left(opened, eve) == 9
    second_factor.renew_recovery_codes(opened, eve)
    refused(second_factor.check, opened, eve, codes[1], NOON)
    assert second_factor.recovery_codes_left(opened, eve) == 10


@pytest.mark.parametrize("code", ["", " ", "000000", "-", "\udc80"])
def test_whoever_has_no_second_factor_passes_with_no_code(opened: Session, code: str) -> None:
    refused(second_factor.check, opened, somebody(opened, f"none{ord(code[:1] or 'x')}"), code, NOON)


def test_of_two_who_use_one_code_at_once_one_gets_in(file: Path) -> None:
    secret = second_factor.new_secret()
    with session(file, alone=True) as opened:
        gus = somebody(opened, "gus")
        (recovery, *_) = second_factor.turn_on(opened, gus, secret, TOTP(secret).at(NOON - 60), NOON - 60)
    for code in (TOTP(secret).at(NOON), recovery):
        together = threading.Barrier(4)
        won: list[str] = []

        def use(code: str = code, together: threading.Barrier = together, won: list[str] = won) -> None:
            together.wait(30)
            try:
                with session(file, alone=True) as mine:
                    second_factor.check(mine, people.find(mine, "gus"), code, NOON)
            except ApplianceError:
                won.append("refused")
            else:
                won.append("in")

        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(won) == ["in", "refused", "refused", "refused"]


def test_all_second_factors_are_dropped_together(opened: Session) -> None:
    hal, secret = somebody(opened, "hal"), second_factor.new_secret()
    second_factor.turn_on(opened, hal, secret, TOTP(secret).at(NOON), NOON)
    opened.add(Passkey(id="k", person_id=hal.id, public_key=b"x", sign_count=0, name="phone", created_at=1))
    second_factor.drop(opened, hal)
    assert (hal.totp, hal.totp_step) == ("", 0)
    assert opened.exec(select(Passkey).where(Passkey.person_id == hal.id)).all() == []
    assert second_factor.recovery_codes_left(opened, hal) == 0
    assert isinstance(hal, Person)
