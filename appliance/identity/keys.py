"""The keys that tokens are signed with: which there are, and how one takes the place of another.

A key is published as `next` long before it signs, so that whoever keeps a copy of the public keys has it by then. As
`active` it signs; as `retired` it only still proves what it has signed. Rules are pure; the files are written whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from joserfc.jwk import KeySet, RSAKey

from appliance.config.paths import Home
from appliance.errors import ApplianceError
from appliance.store.files import write_atomic
from appliance.store.locks import turn
from appliance.units import now_us

# The one algorithm: every client knows it, and a token that names another is refused.
ALGORITHM: Final = "RS256"
_BITS: Final = 2048
# What proves a token is published for this long after it has signed its last: far longer than any token lives.
_RETIRED_US: Final = 7 * 86_400_000_000

NEXT, ACTIVE, RETIRED = STATES = ("next", "active", "retired")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key. `pem` is its private half, `since` when its state began (microseconds since 1970 UTC)."""

    kid: str
    state: str
    since: int
    pem: str


def made(state: str, now: int) -> SigningKey:
    """A new key. Takes a fifth of a second."""
    key = RSAKey.generate_key(_BITS, auto_kid=True)
    assert key.kid
    return SigningKey(key.kid, state, now, key.as_pem(private=True).decode())


def rotated(keys: Iterable[SigningKey], fresh: SigningKey, now: int) -> tuple[SigningKey, ...]:
    """The keys after a change: the next one signs, the active one has retired, `fresh` is next; old ones are gone."""
    after = {NEXT: ACTIVE, ACTIVE: RETIRED}
    moved = (replace(key, state=after[key.state], since=now) if key.state in after else key for key in keys)
    return (fresh, *(key for key in moved if key.state != RETIRED or key.since > now - _RETIRED_US))


class KeyRing:
    """The keys of one moment, ready for use: reading a private key takes a hundred times as long as signing."""

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        self._keys = {
            key.kid: RSAKey.import_key(key.pem, {"use": "sig", "alg": ALGORITHM, "kid": key.kid}) for key in keys
        }
        self.active = next(self._keys[key.kid] for key in keys if key.state == ACTIVE)

    @property
    def kid(self) -> str:
        """Which key signs."""
        assert self.active.kid
        return self.active.kid

    def document(self) -> dict[str, Any]:
        """The public keys, as they are published (a JWK Set, RFC 7517)."""
        return {"keys": [key.as_dict(private=False) for key in self._keys.values()]}

    def public(self) -> KeySet:
        """The public keys, to check tokens with."""
        return KeySet(list(self._keys.values()))


def read(home: Home) -> tuple[SigningKey, ...]:
    """The keys of an appliance, made at the first use. Raises signing-keys-bad."""
    with turn(home.run / "signing-keys.lock"):
        found = _read(home.signing_keys)
        if found is None:
            now = now_us()
            found = (made(NEXT, now), made(ACTIVE, now))
            _write(home, found)
        elif not home.public_keys.exists():
            _publish(home, found)
    return found


def check(home: Home) -> None:
    """Raises signing-keys-bad where there are keys and they cannot be used; changes nothing."""
    _read(home.signing_keys)


def rotate(home: Home) -> tuple[SigningKey, ...]:
    """Sign with the next key from now on. Raises signing-keys-bad."""
    before = read(home)
    with turn(home.run / "signing-keys.lock"):
        now = now_us()
        after = rotated(_read(home.signing_keys) or before, made(NEXT, now), now)
        _write(home, after)
    return after


def _read(path: Path) -> tuple[SigningKey, ...] | None:
    try:
        keys = tuple(SigningKey(**one) for one in json.loads(path.read_text()))
        KeyRing(keys)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, StopIteration) as error:
        raise ApplianceError(
            "signing-keys-bad",
            f"The keys in {path} that sign-on signs with cannot be used: {error or 'none is active'}.",
            "Restore the file from a backup, or remove it: then new keys are made, and everybody signs in anew.",
        ) from error
    return keys


def _write(home: Home, keys: tuple[SigningKey, ...]) -> None:
    # Published first: nothing may be signed with a key that nobody can know yet.
    _publish(home, keys)
    write_atomic(home.signing_keys, json.dumps([asdict(key) for key in keys]).encode(), 0o600)


def _publish(home: Home, keys: tuple[SigningKey, ...]) -> None:
    write_atomic(home.public_keys, json.dumps(KeyRing(keys).document()).encode(), 0o644)
