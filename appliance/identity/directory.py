"""The company's directory as we ask it (LDAP): who somebody is, whether that is their password, whether they are there.

First an account of ours looks for the one entry that is meant, then that entry's password is tried. Each question has a
connection of its own, and a limit of time; referrals to other servers are not followed.
"""

from __future__ import annotations

import secrets
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import ldap3
from ldap3.core.exceptions import LDAPException

from appliance.audit.log import note
from appliance.cloud.secrets import UnusableKeyError, read_secret
from appliance.errors import ApplianceError
from appliance.policy.directory import Directory, Entry
from appliance.policy.federation import Vouched

_LONGEST_S: Final = 5
# After a failure nobody waits for it for so long: they are told at once.
_PAUSE_S: Final = 20.0
# So many may wait for it at once; there are more threads than that, for those whose password is here.
AT_ONCE: Final = 4
_SUCCESS, _NO_SUCH = 0, 32


class DirectoryClient:
    """Asks the directory. For use by several threads."""

    def __init__(self, terms: Directory) -> None:
        self.terms = terms
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._down: tuple[float, ApplianceError] | None = None

    def prove(self, login: str, password: str) -> Vouched | None:
        """Who it is that types this, if that is their password and their account is not switched off; else None.

        The same is asked of the directory whether there is such an entry or not. Raises directory-unreachable,
        directory-refused or account-not-vouched.
        """
        with self._asking() as connection:
            found = self._found(connection, self.terms.search(login))
            entry = found[0] if len(found) == 1 else None
            # A bind without a password is no proof: it succeeds, for nobody (RFC 4513, 5.1.2).
            is_right = self._binds(
                f"cn={secrets.token_hex(8)},{self.terms.base}" if entry is None else entry[0],
                password or secrets.token_hex(8),
            )
            if entry is None or not password or not is_right or self.terms.is_disabled(entry[1]):
                return None
            return self.terms.vouched(entry[1], self._groups(connection, entry[0]))

    def pretend(self, login: str) -> None:
        """Ask as much as for somebody who signs in by it, with a password of nobody's. Raises nothing of its own."""
        try:
            self.prove(login, secrets.token_hex(8))
        except ApplianceError:
            return

    def still_there(self, subjects: Iterable[str]) -> dict[str, bool]:
        """Who of these is still there, and not switched off. Raises directory-unreachable or directory-refused."""
        with self._asking() as connection:
            found = {one: self._found(connection, self.terms.search_again(one)) for one in subjects}
        return {one: len(them) == 1 and not self.terms.is_disabled(them[0][1]) for one, them in found.items()}

    def check(self) -> None:
        """Raises what is wrong with the directory, or with the settings for it."""
        with self._asking() as connection:
            self._found(connection, self.terms.search("nobody@example.com"))
            if self.terms.follows_groups:
                self._groups(connection, self.terms.bind_dn, must=True)

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        """A connection as the account that looks people up."""
        if self._down is not None and time.monotonic() < self._down[0]:
            raise self._down[1]
        if not self._places.acquire(blocking=False):
            raise _unreachable("too many wait for it already")
        try:
            connection = self._connected(self.terms.bind_dn, self._password())
            try:
                if connection.result["result"] != _SUCCESS:
                    raise ApplianceError(
                        "directory-refused",
                        f"The directory does not let us in as {self.terms.bind_dn}: {_said(connection)}.",
                        "Check `bind_dn` and `bind_password_file` under [identity.directory] in the settings.",
                    )
                yield connection
            finally:
                connection.unbind()
        except (LDAPException, OSError, ValueError) as error:
            raise self._failed(error) from error
        finally:
            self._places.release()

    def _binds(self, dn: str, password: str) -> bool:
        connection = self._connected(dn, password)
        found = connection.result["result"]
        connection.unbind()
        return bool(found == _SUCCESS)

    def _connected(self, dn: str, password: str) -> Any:
        """A connection on which an account was tried; its `result` says how that went. Raises LDAPException."""
        parts, terms = urlsplit(self.terms.url), self.terms
        is_secure = parts.scheme == "ldaps"
        tls = _Tls(parts.hostname or "", terms.ca_file) if is_secure or terms.start_tls else None
        server = ldap3.Server(
            parts.hostname or "", parts.port or (636 if is_secure else 389), use_ssl=is_secure, tls=tls,
            get_info=ldap3.NONE, connect_timeout=_LONGEST_S,
        )  # fmt: skip
        connection = ldap3.Connection(
            server, dn, password, auto_bind=ldap3.AUTO_BIND_NONE, auto_referrals=False, receive_timeout=_LONGEST_S,
            read_only=True, check_names=False, raise_exceptions=False,
        )  # fmt: skip
        try:
            if terms.start_tls and not connection.start_tls():
                raise ValueError("it does not turn on TLS")
            connection.bind()
        except (LDAPException, OSError, ValueError):
            # ldap3 leaves it open.
            if connection.socket is not None:
                connection.socket.close()
            raise
        return connection

    def _found(self, connection: Any, filter: str) -> list[tuple[str, Entry]]:
        """The entries, two at most, by their DN."""
        terms = self.terms
        connection.search(
            terms.base, filter, attributes=terms.attributes, size_limit=2, time_limit=_LONGEST_S,
            dereference_aliases=ldap3.DEREF_NEVER,
        )  # fmt: skip
        # 4 is "there are more than two", which is as good as two.
        if connection.result["result"] not in (_SUCCESS, 4):
            raise ApplianceError(
                "directory-refused",
                f"The directory does not look people up for us: {_said(connection)}.",
                "Check `base` and `filter` under [identity.directory] in the settings.",
            )
        found = [one for one in connection.response or [] if one["type"] == "searchResEntry"]
        return [(one["dn"], one["raw_attributes"]) for one in found]

    def _groups(self, connection: Any, dn: str, *, must: bool = False) -> list[str]:
        """Those of the groups in the settings that an entry is in by others, as the directory follows them.

        One that does not know how is put on record, and then only what stands in the entry counts. With `must` it
        raises directory-refused.
        """
        found, refused = [], ""
        for group in self.terms.groups if self.terms.follows_groups else ():
            connection.search(
                dn, self.terms.is_in(group), search_scope=ldap3.BASE, attributes=[ldap3.NO_ATTRIBUTES],
                time_limit=_LONGEST_S, dereference_aliases=ldap3.DEREF_NEVER,
            )  # fmt: skip
            # What may not be looked at is in nothing.
            if connection.result["result"] not in (_SUCCESS, _NO_SUCH):
                if must:
                    raise ApplianceError(
                        "directory-refused",
                        f"The directory does not follow groups in groups: {_said(connection)}.",
                        "Set `nested_groups = false` under [identity.directory], and name each group under `groups`.",
                    )
                refused = _said(connection)
                continue
            found += [group for one in connection.response or [] if one["type"] == "searchResEntry"]
        if refused:
            note("nested-groups-refused", "", why=refused)
        return found

    def _password(self) -> str:
        """Of the account that looks people up, read anew each time."""
        try:
            found = read_secret(Path(self.terms.password_file))
        except UnusableKeyError as error:
            raise self._no_password(str(error)) from error
        if found is None:
            raise self._no_password("there is no such file")
        return found

    def _no_password(self, why: str) -> ApplianceError:
        return ApplianceError(
            "directory-refused",
            f"The password in {self.terms.password_file} cannot be used: {why}.",
            "Put the password of `bind_dn` into that file, and run `chmod 600` on it.",
        )

    def _failed(self, error: Exception) -> ApplianceError:
        found = _unreachable(str(error)[:200] or type(error).__name__)
        self._down = time.monotonic() + _PAUSE_S, found
        return found


class _Tls(ldap3.Tls):
    """TLS as Python does it by itself: the CA and the name count. ldap3 compares names by functions that are going."""

    def __init__(self, host: str, ca_file: str | None) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._host = host
        self._context = ssl.create_default_context(cafile=ca_file)

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Put TLS onto a connection, proved at once."""
        connection.socket = self._context.wrap_socket(connection.socket, server_hostname=self._host)


def _unreachable(why: str) -> ApplianceError:
    return ApplianceError(
        "directory-unreachable",
        f"The directory cannot be asked: {why}.",
        "Others sign in with their password here. To see more: appliance sign-in check directory",
    )


def _said(connection: Any) -> str:
    """What it answered, in the words that the protocol has for it."""
    return str(connection.result.get("description", "no answer"))
