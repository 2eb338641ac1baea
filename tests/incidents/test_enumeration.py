"""User enumeration: elsewhere a sign-in page told, by its words or by its time, who has an account.

Time is counted in hashes of passwords, each of which takes as long as everything else together: a clock on a busy
machine would tell of the machine.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyotp
import pytest
from argon2 import PasswordHasher
from sqlmodel import Session

from appliance.accounts import people, second_factor, suspension
from appliance.accounts.api_keys import digest
from appliance.accounts.passwords import NOBODYS
from appliance.config.paths import Home
from appliance.identity import sign_in
from appliance.identity.asked import Answer, Asked
from appliance.identity.browser import Visit
from appliance.identity.pages import Pages
from appliance.identity.services import Keys, Services
from appliance.policy.roles import Role
from appliance.store.sessions import Sessions, session
from tests.support.people import somebody

ISSUER = "http://127.0.0.1:1"
WRONG = "a guess of somebody"
# All of one length, so that even the length of an answer can be compared.
KINDS = ("active", "nobody", "paused", "teamed", "gone66", "invite", "factor", "robot6", "owner6", "second")


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The parts of sign-on, with people in every state."""
    folder = tmp_path_factory.mktemp("enumeration")
    home = Home(config=folder / "appliance.toml", state=folder / "var")
    home.prepare()
    with session(home.database, alone=True) as opened:
        _people(opened)
    sessions = Sessions(home.database)
    yield Services(home, ISSUER, ISSUER, sessions, object.__new__(Keys), Pages(), lambda: None)
    sessions.close()


def _people(opened: Session) -> None:
    somebody(opened, "active")
    somebody(opened, "second")
    somebody(opened, "owner6", Role.OWNER)
    somebody(opened, "robot6", Role.SERVICE)
    somebody(opened, "invite", password="")
    suspension.suspend(opened, suspension.USER, somebody(opened, "paused").login)
    teamed = somebody(opened, "teamed")
    teamed.team = "crew"
    suspension.suspend(opened, suspension.TEAM, "crew")
    people.remove(opened, somebody(opened, "gone66"))
    secret = second_factor.new_secret()
    second_factor.turn_on(opened, somebody(opened, "factor"), secret, pyotp.TOTP(secret).now(), time.time())


@dataclass
class Hashes:
    """How often passwords were hashed or compared."""

    seen: Counter[str]

    def of(self, act: Any) -> tuple[Any, dict[str, int]]:
        """What an act answers, and what it took."""
        self.seen.clear()
        return act(), dict(self.seen)


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> Hashes:
    """Counts them."""
    seen: Counter[str] = Counter()
    for name in ("verify", "hash"):
        _count(monkeypatch, seen, name, getattr(PasswordHasher, name))
    return Hashes(seen)


def _count(monkeypatch: pytest.MonkeyPatch, seen: Counter[str], name: str, real: Any) -> None:
    def counted(self: PasswordHasher, *said: Any) -> Any:
        seen[name] += 1
        # What costs time is the hash that is compared with: one of fewer rounds would be quicker.
        if name == "verify":
            seen[f"of {str(said[0])[:30]}"] += 1
        return real(self, *said)

    monkeypatch.setattr(PasswordHasher, name, counted)


def attempt(services: Services, email: str, network: str, password: str = WRONG) -> Answer:
    """Send the form, as somebody in a network."""
    form = {"email": [email], "password": [password], "token": [digest("a-form")]}
    asked = Asked("POST", f"{ISSUER}/sign-in", {}, form, {})
    return sign_in.sign_in(services, Visit(asked, {"appliance-form": "a-form"}, "en", network, network, is_ours=True))


def alike(said: Answer, name: str) -> tuple[Any, ...]:
    """All of an answer but the address that was typed."""
    return said.status, said.headers, len(said.body), said.body.replace(name.encode(), b"......")


@pytest.mark.parametrize("name", KINDS)
def test_user_enumeration_by_words_headers_length_and_time(services: Services, hashes: Hashes, name: str) -> None:
    """Elsewhere an unknown address was refused in a tenth of the time, or in other words."""
    known, took = hashes.of(lambda: attempt(services, f"{name}@example.com", f"10.0.0.{KINDS.index(name)}"))
    other, expected = hashes.of(lambda: attempt(services, "nobody@example.com", f"10.0.1.{KINDS.index(name)}"))
    assert alike(known, name) == alike(other, "nobody")
    assert known.status == 403
    assert took == expected
    assert took["verify"] == 1


@pytest.mark.parametrize("name", KINDS)
def test_user_enumeration_by_lock_out(services: Services, hashes: Hashes, name: str) -> None:
    """Elsewhere only an address with an account was ever locked, so whoever was locked out had found one."""
    network = f"10.0.2.{KINDS.index(name)}"
    said = [hashes.of(lambda: attempt(services, f"{name}@example.com", network)) for _ in range(6)]
    assert [(one.status, took.get("verify", 0)) for one, took in said] == [(403, 1)] * 5 + [(429, 0)]
    other = f"10.0.3.{KINDS.index(name)}"
    for _ in range(5):
        attempt(services, "nobody@example.com", other)
    assert alike(said[-1][0], name) == alike(attempt(services, "nobody@example.com", other), "nobody")


@pytest.mark.parametrize("said", ["", "no", "a@b", "x" * 300 + "@a.b", "\u0430nna@example.com", "' OR 1=1"])
def test_what_is_no_address_takes_as_long_as_one(services: Services, hashes: Hashes, said: str) -> None:
    """Elsewhere what could be no address at all was refused at once, and so told how addresses here look."""
    known, took = hashes.of(lambda: attempt(services, said, "10.0.4.1" if len(said) < 12 else "10.0.4.2"))
    assert (known.status, took["verify"]) == (403, 1)


def test_the_right_password_of_whoever_has_no_account(services: Services, hashes: Hashes) -> None:
    """Elsewhere an account without a password was entered with none, or with a hash that everybody could read."""
    for name in ("invite", "nobody", "gone66"):
        for number, password in enumerate(("", NOBODYS, "None", "null", " ")):
            network = f"10.1.{number}.{KINDS.index(name)}"
            said, took = hashes.of(partial(attempt, services, f"{name}@example.com", network, password))
            assert (said.status, took["verify"]) == (403, 1)
