"""What a credential of any kind comes to, and what each kind must be able to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from appliance.policy.addresses import Network
from appliance.policy.principals import Principal


@dataclass(frozen=True, slots=True)
class Grant:
    """Whom a credential stands for, and on which terms.

    From `expires_at` on (microseconds since 1970 UTC) it is refused; None is without end. It counts only from
    `addresses`, or from everywhere where there are none. `successor` is the id of the key that replaces it.
    """

    principal: Principal
    expires_at: int | None = None
    addresses: tuple[Network, ...] = ()
    successor: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request shows besides its secret.

    `address` is where the connection comes from, None where it has none; `voucher` is what the chat page has signed
    to say for whom it asks, None where there is none, or where somebody stands between it and the gateway.
    """

    address: str | None = None
    voucher: str | None = None


class Kind(Protocol):
    """One kind of credential: an API key, the token of a sign-on, or the chat page's own key."""

    def find(self, secret: str, shown: Shown) -> Grant | None:
        """What the credential grants; None where it is none of this kind, or unknown.

        Raises key-refused for one that is known and was taken back. Its expiry, its addresses and who is suspended
        are not looked at here: that is the same for all kinds, and stands in `resolve`.
        """

    def by_id(self, key_id: str) -> Grant | None:
        """The same for the id under which its calls are on record: for work that goes on after a request.

        Raises key-refused for one that is known and was taken back.
        """
