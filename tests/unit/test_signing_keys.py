"""How one signing key takes the place of another, and how they are kept."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from appliance.config.paths import Home
from appliance.errors import ApplianceError
from appliance.identity.keys import ACTIVE, NEXT, RETIRED, KeyRing, SigningKey, read, rotate, rotated

DAY_US = 86_400_000_000


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An appliance without keys."""
    found = Home(tmp_path / "appliance.toml", tmp_path / "var")
    found.prepare()
    return found


def key(kid: str, state: str, since: int = 0) -> SigningKey:
    """A key that signs nothing."""
    return SigningKey(kid, state, since, "")


def test_the_next_key_signs_and_the_old_one_goes_on_proving() -> None:
    now = 30 * DAY_US
    keys = (
        key("b", NEXT),
        key("a", ACTIVE),
        key("gone", RETIRED, now - 8 * DAY_US),
        key("kept", RETIRED, now - DAY_US),
    )
    after = rotated(keys, key("c", NEXT, now), now)
    assert [(one.kid, one.state) for one in after] == [("c", NEXT), ("b", ACTIVE), ("a", RETIRED), ("kept", RETIRED)]
    assert after[2].since == now
    assert after[3] == keys[3]


def test_keys_are_made_once_and_kept_for_their_owner_only(home: Home) -> None:
    keys = read(home)
    assert read(home) == keys
    assert [one.state for one in keys] == [NEXT, ACTIVE]
    assert stat.S_IMODE(home.signing_keys.stat().st_mode) == 0o600
    ring = KeyRing(keys)
    assert {one["kid"] for one in ring.document()["keys"]} == {one.kid for one in keys}
    assert "d" not in home.public_keys.read_text().split('"')
    home.public_keys.unlink()
    assert read(home) == keys
    assert home.public_keys.exists()


def test_what_was_published_as_next_is_what_signs_after_a_change(home: Home) -> None:
    before = read(home)
    after = rotate(home)
    assert KeyRing(after).kid == before[0].kid
    assert read(home) == after
    assert len(after) == 3


@pytest.mark.parametrize("text", ["", "[]", "{}", '[{"kid": "a"}]', "[1]"])
def test_keys_that_cannot_be_used_are_refused_and_not_made_anew(home: Home, text: str) -> None:
    home.signing_keys.write_text(text)
    with pytest.raises(ApplianceError) as refused:
        read(home)
    assert refused.value.code == "signing-keys-bad"
    assert home.signing_keys.read_text() == text
