"""One-time links: each works once, for one thing, for a while, and only its digest is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlmodel import Session, select

from appliance.accounts import links, owners, people
from appliance.accounts.people_tables import Link
from appliance.errors import ApplianceError
from appliance.policy.roles import Role
from appliance.store.sessions import session
from appliance.units import now_us
from tests.support.people import hashed, somebody


def refused(why: str, act: Callable[[Session, str], object], opened: Session, secret: str) -> None:
    """The link is refused."""
    with pytest.raises(ApplianceError, match=why) as caught:
        act(opened, secret)
    assert caught.value.code == "link-refused"


def test_a_link_has_256_random_bits_of_which_only_a_digest_is_kept(file: Path, opened: Session) -> None:
    link, secret = links.make(opened, somebody(opened, "bits"), links.INVITE)
    assert len(secret) == 43
    assert links.address("https://box.example/", secret) == f"https://box.example/welcome/{secret}"
    assert links.address("", secret) == f"/welcome/{secret}"
    assert len(link.digest) == 64
    opened.commit()
    assert secret.encode() not in b"".join(part.read_bytes() for part in file.parent.iterdir())


@pytest.mark.parametrize("purpose", [links.INVITE, links.RESET])
def test_a_link_works_once(opened: Session, purpose: str) -> None:
    anna = somebody(opened, f"once-{purpose}")
    _, secret = links.make(opened, anna, purpose)
    for _ in range(2):
        assert links.find(opened, secret)[1] is anna
    link, person = links.use(opened, secret)
    assert (link.purpose, person) == (purpose, anna)
    refused("was used already", links.find, opened, secret)
    refused("was used already", links.use, opened, secret)


def test_the_link_for_the_first_owner_is_for_nobody_yet(opened: Session) -> None:
    _, secret = links.make(opened, None, links.OWNER)
    _, newer = links.make(opened, None, links.OWNER)
    refused("not one of ours", links.find, opened, secret)
    link, person = links.use(opened, newer)
    assert (link.purpose, person) == (links.OWNER, None)


def test_the_link_for_the_first_owner_is_void_once_there_is_one(empty_database: bytes, tmp_path: Path) -> None:
    (tmp_path / "appliance.db").write_bytes(empty_database)
    with session(tmp_path / "appliance.db", alone=True) as opened:
        _, secret = links.make(opened, None, links.OWNER)
        olga = people.add(opened, "olga@example.com", role=Role.OWNER)
        owners.must_be_none(opened)
        assert links.find(opened, secret)[1] is None
        olga.password = hashed()
        opened.flush()
        refused("Somebody owns", links.find, opened, secret)
        with pytest.raises(ApplianceError) as caught:
            owners.must_be_none(opened)
        assert caught.value.code == "owner-exists"


def test_a_newer_link_voids_the_earlier_ones_for_the_same_purpose_and_person(opened: Session) -> None:
    anna, ben = somebody(opened, "newer"), somebody(opened, "spared")
    _, old = links.make(opened, anna, links.RESET)
    others = [links.make(opened, anna, links.INVITE)[1], links.make(opened, ben, links.RESET)[1]]
    _, new = links.make(opened, anna, links.RESET)
    refused("a newer one has taken its place", links.find, opened, old)
    for secret in (new, *others):
        links.find(opened, secret)


def test_a_link_ends_with_its_time(opened: Session) -> None:
    link, secret = links.make(opened, somebody(opened, "late"), links.RESET)
    assert 0 <= now_us() + links.LASTS_US[links.RESET] - link.expires_at < 60_000_000
    link.expires_at = now_us()
    opened.flush()
    refused("time of this link is over", links.find, opened, secret)
    refused("time of this link is over", links.use, opened, secret)


def test_whoever_is_shut_out_cannot_come_back_by_a_link(opened: Session) -> None:
    anna = somebody(opened, "out")
    _, secret = links.make(opened, anna, links.RESET)
    people.disable(opened, anna)
    with pytest.raises(ApplianceError) as caught:
        links.use(opened, secret)
    assert caught.value.code == "suspended"
    people.enable(opened, anna)
    assert links.use(opened, secret)[1] is anna


def test_a_guess_is_none_of_ours(opened: Session) -> None:
    link, secret = links.make(opened, somebody(opened, "guess"), links.RESET)
    for guess in ("", secret[:-1], link.digest, f"{secret} ", "\udc80"):
        refused("not one of ours", links.find, opened, guess)


def test_of_two_who_use_a_link_at_once_one_gets_it(file: Path) -> None:
    with session(file, alone=True) as opened:
        _, secret = links.make(opened, somebody(opened, "race"), links.INVITE)
    together, won = threading.Barrier(4), []

    def use() -> None:
        together.wait(30)
        try:
            with session(file, alone=True) as mine:
                links.use(mine, secret)
        except ApplianceError as error:
            won.append(error.code)
        else:
            won.append("used")

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(won) == ["link-refused"] * 3 + ["used"]


def test_a_link_is_not_lost_for_what_fails_in_the_same_transaction(file: Path) -> None:
    with session(file, alone=True) as opened:
        _, secret = links.make(opened, somebody(opened, "kept"), links.INVITE)
    with pytest.raises(ZeroDivisionError), session(file, alone=True) as opened:
        links.use(opened, secret)
        raise ZeroDivisionError
    with session(file) as opened:
        assert links.find(opened, secret)[0] in opened.exec(select(Link)).all()
