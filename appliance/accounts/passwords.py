"""Passwords as they are kept: argon2id, in parameters that OWASP recommends. One hash takes 19 MiB and some 30 ms.

Hash and compare outside of transactions and off the event loop: both take so long on purpose.
"""

from __future__ import annotations

from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from appliance.policy.passwords import LONGEST, normal

_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Of a password that nobody knows. It is compared with where there is none, so that the time tells nobody who is here;
# a test holds its parameters to those above.
NOBODYS: Final = "$argon2id$v=19$m=19456,t=2,p=1$DAieZbGIxyZWKlTBW7EC/g$ujfdDFiMGLix4Q6zhCN593iqC27Rol/VLCBB6Yx4kFQ"


def hashed(password: str) -> str:
    """What is stored of a password; whether it is a good one has been looked at before."""
    return _HASHER.hash(_bytes(password))


def matches(stored: str, password: str) -> bool:
    """Whether a password is the one whose hash is stored; never where none is. Takes the same time whatever comes."""
    try:
        return _HASHER.verify(stored or NOBODYS, _bytes(password)) and bool(stored)
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(stored: str) -> bool:
    """Whether a password should be hashed anew, as it was under other parameters than today's."""
    return _HASHER.check_needs_rehash(stored)


def _bytes(password: str) -> bytes:
    # One that is longer than any that was taken stays wrong when it is cut.
    return normal(password[: LONGEST * 4])[: LONGEST + 1].encode("utf-8", "surrogatepass")
