"""What the company's directory (LDAP, Active Directory) says of somebody, and how it is asked (pure)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from appliance.errors import ApplianceError
from appliance.policy import names
from appliance.policy.federation import Vouched, display_name, domains_of

# What people come from who come from the directory. No issuer of a provider is called so.
SOURCE: Final = "directory"
ACTIVE_DIRECTORY: Final = "active-directory"
# By kind: how somebody is found, what never changes, the name. In Active Directory, `person` leaves computers out.
_DEFAULTS: Final = {
    ACTIVE_DIRECTORY: (
        "(&(objectCategory=person)(objectClass=user)(|(mail={login})(userPrincipalName={login})))",
        "objectGUID",
        "displayName",
    ),
    "openldap": ("(&(objectClass=inetOrgPerson)(mail={login}))", "entryUUID", "cn"),
}
# Bit of Active Directory's userAccountControl: the account is disabled.
_CONTROL: Final = "userAccountControl"
_DISABLED: Final = 2
# OpenLDAP's password policy: an account that was locked for good, not for guesses.
_LOCKED: Final = "pwdAccountLockedTime"
_FOR_GOOD: Final = b"000001010000Z"
# Active Directory's rule that follows groups into the groups that they are in (LDAP_MATCHING_RULE_IN_CHAIN).
_IN_CHAIN: Final = "1.2.840.113556.1.4.1941"

Entry = Mapping[str, Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Directory:
    """The directory, as the settings have it; `groups` maps its groups, by DN, to ours. Attributes by small letters."""

    kind: str
    url: str
    start_tls: bool
    ca_file: str | None
    base: str
    filter: str | None
    bind_dn: str
    password_file: str
    id_attribute: str | None
    mail_attribute: str
    name_attribute: str | None
    groups_attribute: str
    domains: tuple[str, ...]
    role: str
    groups: dict[str, str]
    check_minutes: int
    nested_groups: bool | None = None

    @property
    def identifier(self) -> str:
        """The attribute that never changes."""
        return self.id_attribute or _DEFAULTS[self.kind][1]

    @property
    def attributes(self) -> list[str]:
        """What is asked of an entry."""
        wanted = [self.identifier, self.mail_attribute, self._name, self.groups_attribute]
        return [*wanted, _CONTROL if self.kind == ACTIVE_DIRECTORY else _LOCKED]

    @property
    def _name(self) -> str:
        return self.name_attribute or _DEFAULTS[self.kind][2]

    def search(self, login: str) -> str:
        """The filter that finds whoever types this."""
        return (self.filter or _DEFAULTS[self.kind][0]).replace("{login}", escaped(login.encode()))

    def search_again(self, subject: str) -> str:
        """The filter that finds somebody who is known by what never changes."""
        return f"({self.identifier}={escaped(self._subject_bytes(subject))})"

    def takes(self, address: str) -> bool:
        """Whether it may vouch for whoever has this address."""
        return address.rpartition("@")[2] in domains_of(self.domains)

    @property
    def follows_groups(self) -> bool:
        """Whether a group counts that somebody is in by another group."""
        return bool(self.groups) and (
            self.kind == ACTIVE_DIRECTORY if self.nested_groups is None else self.nested_groups
        )

    def is_in(self, group: str) -> str:
        """The filter that fits an entry which is in a group, or in one that is in it, and so on."""
        return f"({self.groups_attribute}:{_IN_CHAIN}:={escaped(group.encode())})"

    def vouched(self, entry: Entry, more: Iterable[str] = ()) -> Vouched:
        """Whom an entry means, who is in these `more` groups of theirs as well.

        Raises account-not-vouched for one that says too little.
        """
        subject = self._subject(_first(entry, self.identifier))
        if not subject:
            raise ApplianceError(
                "account-not-vouched",
                f"An entry of the directory has no {self.identifier}.",
                "Check `id_attribute` under [identity.directory] in the settings.",
            )
        address = _address(_first(entry, self.mail_attribute))
        theirs = {_folded(one.decode("utf-8", "replace")) for one in _all(entry, self.groups_attribute)}
        theirs |= {_folded(one) for one in more}
        return Vouched(
            source=SOURCE,
            subject=subject,
            address=address if self.takes(address) else "",
            name=display_name(_first(entry, self._name).decode("utf-8", "replace")),
            groups=frozenset(ours for their, ours in self.groups.items() if _folded(their) in theirs),
            domains=domains_of(self.domains),
            role=self.role,
        )

    def is_disabled(self, entry: Entry) -> bool:
        """Whether an account is switched off there. One of which Active Directory does not say so counts as off."""
        if self.kind != ACTIVE_DIRECTORY:
            return _first(entry, _LOCKED) == _FOR_GOOD
        try:
            return bool(int(_first(entry, _CONTROL)) & _DISABLED)
        except ValueError:
            return True

    def _subject(self, found: bytes) -> str:
        if self.identifier.lower() == "objectguid":
            return str(uuid.UUID(bytes_le=found)) if len(found) == 16 else ""
        return found.decode("utf-8", "replace")[:255]

    def _subject_bytes(self, subject: str) -> bytes:
        return uuid.UUID(subject).bytes_le if self.identifier.lower() == "objectguid" else subject.encode()


def escaped(value: bytes) -> str:
    """A value as it stands in a filter (RFC 4515): nothing in it is taken for part of the filter."""
    return "".join(
        chr(one) if chr(one).isascii() and (chr(one).isalnum() or chr(one) in "@.-_+ ") else f"\\{one:02x}"
        for one in value
    )


def _all(entry: Entry, name: str) -> Sequence[bytes]:
    wanted = name.lower()
    return next((values for known, values in entry.items() if known.lower() == wanted), ())


def _first(entry: Entry, name: str) -> bytes:
    found = _all(entry, name)
    return bytes(found[0]) if found else b""


def _address(said: bytes) -> str:
    try:
        return names.email(said.decode())
    except (ApplianceError, UnicodeDecodeError):
        return ""


def _folded(dn: str) -> str:
    """A DN as it is compared: without capitals, and without blanks beside its commas."""
    return ",".join(part.strip() for part in dn.casefold().split(","))
