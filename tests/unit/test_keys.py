"""Keys and suspensions in a real database, and what the gateway's resolver makes of them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command

from appliance.accounts import keys, suspension
from appliance.accounts.api_keys import digest
from appliance.accounts.resolve import Credentials
from appliance.accounts.tables import ApiKey
from appliance.errors import ApplianceError
from appliance.migrations.__main__ import configuration
from appliance.store.schema import ensure
from appliance.store.sessions import session
from appliance.units import now_us

HOUR = 3_600_000_000
HERE = "192.168.1.7"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database; each test has owners of its own."""
    file = tmp_path_factory.mktemp("keys") / "appliance.db"
    ensure(file)
    return file


@pytest.fixture
def credentials(file: Path) -> Iterator[Credentials]:
    """What the gateway asks."""
    opened = Credentials(file)
    yield opened
    opened.close()


def refused(credentials: Credentials, secret: str | None, address: str | None = HERE) -> ApplianceError:
    """Why a key is refused."""
    with pytest.raises(ApplianceError) as caught:
        credentials.resolve(None if secret is None else f"Bearer {secret}", address)
    return caught.value


def test_a_key_has_256_random_bits_and_carries_its_terms(file: Path, credentials: Credentials) -> None:
    with session(file) as opened:
        key, secret = keys.create(
            opened,
            " anna ",
            team="sales",
            models=["small", "chat"],
            endpoints=["chat"],
            expires_at=now_us() + HOUR,
            addresses=["192.168.1.0/24"],
            priority="background",
        )
        id, stored = key.id, key.digest
    assert len(secret.removeprefix("apl-")) == 43
    assert stored == digest(secret)
    found = credentials.resolve(f"Bearer {secret}", HERE)
    assert (found.name, found.team, found.key_id, found.priority) == ("anna", "sales", id, "background")
    assert (found.models, found.endpoints) == (frozenset({"small", "chat"}), frozenset({"chat"}))
    assert credentials.resolve(f"bearer  {secret} ", HERE) == found


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "key-missing"),
        ("", "key-missing"),
        ("Bearer", "key-missing"),
        ("Bearer  ", "key-missing"),
        ("Basic YTpi", "key-missing"),
        ("apl-x", "key-missing"),
        ("Bearer apl-guessed", "key-refused"),
        ("Bearer sk-other", "key-refused"),
        ("Bearer apl-\udc80", "key-refused"),
        ("Bearer " + "x" * 60_000, "key-refused"),
    ],
)
def test_whatever_no_resolver_knows_is_refused(credentials: Credentials, authorization: str | None, code: str) -> None:
    for _ in range(2):
        with pytest.raises(ApplianceError) as caught:
            credentials.resolve(authorization, HERE)
        assert caught.value.code == code


def test_a_guess_learns_no_more_than_that_it_is_unknown(file: Path, credentials: Credentials) -> None:
    with session(file) as opened:
        key, secret = keys.create(opened, "guessed", addresses=["10.0.0.1"])
        suspension.suspend(opened, suspension.USER, "guessed")
        id, stored = key.id, key.digest
    said = [str(refused(credentials, guess)) for guess in ("apl-x", id, stored, secret[:-1], "x" + secret)]
    assert set(said) == {"The API key is unknown."}


def test_a_key_counts_only_from_its_addresses(file: Path, credentials: Credentials) -> None:
    with session(file) as opened:
        _, secret = keys.create(opened, "bound", addresses=["192.168.1.0/24", "fd00::/8"])
    for address in (HERE, "fd00::7", "::ffff:192.168.1.9"):
        assert credentials.resolve(f"Bearer {secret}", address).name == "bound"
    for other in ("192.168.2.7", "::1", None, "unix:"):
        error = refused(credentials, secret, other)
        assert (error.code, error.kind.http) == ("address-not-allowed", 403)
        assert "192.168.1" not in error.sentence + error.hint


def test_an_expiry_counts_at_once_though_the_key_is_kept(file: Path, credentials: Credentials) -> None:
    with session(file) as opened:
        ends = now_us() + 700_000
        _, secret = keys.create(opened, "brief", expires_at=ends)
    taken = late = 0
    while now_us() < ends + 200_000:
        began = now_us()
        try:
            credentials.resolve(f"Bearer {secret}", HERE)
        except ApplianceError as error:
            assert (error.code, error.kind.http) == ("key-expired", 401)
            assert now_us() >= ends
            late += 1
        else:
            assert began < ends
            taken += 1
        time.sleep(0.001)
    assert taken
    assert late


@pytest.mark.parametrize("kind", [suspension.USER, suspension.TEAM])
def test_a_suspension_shuts_out_all_keys_of_an_owner_or_a_team_and_nobody_else(
    file: Path, credentials: Credentials, kind: str
) -> None:
    name = f"carla {kind}"
    with session(file) as opened:
        mine = [keys.create(opened, name, team=f"a {kind}")[1], keys.create(opened, name, team=name)[1]]
        others = [keys.create(opened, f"b {kind}", team=name)[1], keys.create(opened, "dora")[1]]
    hit, spared = (mine, others) if kind == suspension.USER else ([mine[1], others[0]], [mine[0], others[1]])
    everybody = [f"Bearer {secret}" for secret in [*hit, *spared]]
    for _ in range(2):
        for one in everybody:
            credentials.resolve(one, HERE)
        with session(file) as opened:
            first = suspension.suspend(opened, kind, name).at
            assert suspension.suspend(opened, kind, f" {name} ").at == first
            assert {one.owner for one in suspension.keys_of(opened, kind, name)} <= {name, f"b {kind}"}
        for secret in hit:
            error = refused(credentials, secret)
            assert (error.code, error.kind.http) == ("suspended", 403)
            assert name in error.sentence
        for secret in spared:
            credentials.resolve(f"Bearer {secret}", HERE)
        with session(file) as opened:
            suspension.resume(opened, kind, name)
    with session(file) as opened, pytest.raises(ApplianceError) as caught:
        suspension.resume(opened, kind, name)
    assert caught.value.code == "not-suspended"


def test_a_rotated_key_has_the_same_terms_and_works_beside_the_old_one(file: Path, credentials: Credentials) -> None:
    with session(file) as opened:
        old, old_secret = keys.create(
            opened, "eve", team="hr", models=["chat"], endpoints=["chat"], addresses=[HERE], priority="batch"
        )
        fresh, secret = keys.rotate(opened, old, 3600)
        assert old.successor == fresh.id
        assert old.expires_at is not None
        assert 0 <= now_us() + HOUR - old.expires_at < 60_000_000
        own = {"id", "digest", "created_at", "expires_at", "successor"}
        assert fresh.model_dump(exclude=own) == old.model_dump(exclude=own)
        assert (fresh.expires_at, fresh.successor) == (None, None)
    ways = [credentials.resolve(f"Bearer {one}", HERE) for one in (old_secret, secret)]
    assert ways[0].key_id != ways[1].key_id
    assert (ways[0].models, ways[0].endpoints, ways[0].team) == (ways[1].models, ways[1].endpoints, ways[1].team)


def test_rotation_never_lengthens_a_key_and_gives_the_new_one_the_old_end_unless_told(file: Path) -> None:
    ends = now_us() + HOUR
    with session(file) as opened:
        old, _ = keys.create(opened, "fay", expires_at=ends)
        assert keys.rotate(opened, old, 7 * 86_400)[0].expires_at == old.expires_at == ends
        other, _ = keys.create(opened, "fay", expires_at=ends)
        assert keys.rotate(opened, other, 60, ends + HOUR)[0].expires_at == ends + HOUR
        assert other.expires_at is not None
        assert other.expires_at < ends


def test_what_works_no_more_cannot_be_rotated(file: Path, credentials: Credentials) -> None:
    with session(file) as opened:
        revoked, _ = keys.create(opened, "gus")
        keys.revoke(opened, revoked)
        expired, _ = keys.create(opened, "gus", expires_at=now_us())
        replaced, secret = keys.create(opened, "gus")
        successor, _ = keys.rotate(opened, replaced, 0)
        for key, why in ((revoked, "revoked"), (expired, "expired"), (replaced, f"replaced by {successor.id}")):
            with pytest.raises(ApplianceError, match=why) as caught:
                keys.rotate(opened, key, 60)
            assert caught.value.code == "wrong-use"
        heir = successor.id
    error = refused(credentials, secret)
    assert (error.code, heir in error.sentence) == ("key-expired", True)


def test_the_state_is_what_shuts_out_for_longest() -> None:
    key = ApiKey(id="key-1", owner="a", digest="d", created_at=0)

    def state(suspended: bool = False, **changed: int | str) -> str:
        return keys.state(key.model_copy(update=changed), suspended=suspended, now=1000)

    assert state() == state(expires_at=1001) == "active"
    assert state(successor="key-2", expires_at=1001) == "replaced"
    assert state(suspended=True, successor="key-2", expires_at=1001) == "suspended"
    assert state(suspended=True, expires_at=1000) == "expired"
    assert state(suspended=True, expires_at=1000, revoked_at=5) == "revoked"


def test_the_state_in_words_fits_its_column() -> None:
    now = 1_000_000_000
    key = ApiKey(id="key-1", owner="a", digest="d", created_at=0)
    replaced = key.model_copy(update={"successor": "key-0123456789ab", "expires_at": now + HOUR})
    ending = key.model_copy(update={"expires_at": now + 36_525 * 24 * HOUR})
    listed = [keys.Listed(key, "active", None), keys.Listed(replaced, "replaced", None)]
    listed += [keys.Listed(replaced, "expired", None), keys.Listed(ending, "active", None)]
    words = [keys.in_words(one, now) for one in listed]
    assert words == [
        "active",
        "replaced by key-0123456789ab",
        "replaced by key-0123456789ab",
        "expires in 36525 d 0 h",
    ]
    assert max(map(len, words)) <= 28


def test_a_key_made_before_there_were_terms_still_works(tmp_path: Path) -> None:
    file, secret = tmp_path / "old.db", "apl-made-by-an-older-release"
    command.upgrade(configuration(file), "0002")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("INSERT INTO api_key VALUES ('key-1', 'anna', ?, 5, NULL)", (digest(secret),))
        connection.execute("INSERT INTO api_key VALUES ('key-2', 'anna', ?, 5, 6)", (digest(secret + "2"),))
    ensure(file)
    opened = Credentials(file)
    found = opened.resolve(f"Bearer {secret}", None)
    assert (found.name, found.key_id, found.team, found.priority) == ("anna", "key-1", "", "api")
    assert found.models == found.endpoints == frozenset()
    assert refused(opened, secret + "2").code == "key-refused"
    opened.close()
    with session(file) as writing:
        assert [one.state for one in keys.listed(writing)] == ["active", "revoked"]
        fresh, _ = keys.rotate(writing, keys.find(writing, "key-1"), 60)
        assert fresh.owner == "anna"
