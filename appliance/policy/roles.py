"""Who may do what: the roles, and the one table of permissions.

Whatever is not in the table is refused, and so is a role that is not one. `docs/reference/permissions.md` is
generated from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from appliance.errors import ApplianceError

# How long it counts, in seconds, that somebody has shown that it is them.
PROOF_S: Final = 600


class Role(StrEnum):
    """What somebody is here."""

    OWNER = "owner"
    ADMIN = "admin"
    AUDITOR = "auditor"
    STAFF = "staff"
    SERVICE = "service"


class Permission(StrEnum):
    """Everything that somebody may be allowed to do."""

    CHAT = "chat"
    API = "api"
    OWN_ACCOUNT = "own-account"
    OWN_FACTORS = "own-factors"
    PEOPLE_READ = "people-read"
    PEOPLE_WRITE = "people-write"
    OWNERS_WRITE = "owners-write"
    KEYS_READ = "keys-read"
    KEYS_WRITE = "keys-write"
    CLIENTS_WRITE = "clients-write"
    BUDGETS_READ = "budgets-read"
    BUDGETS_WRITE = "budgets-write"
    USAGE_READ = "usage-read"
    AUDIT_READ = "audit-read"
    SETTINGS_READ = "settings-read"
    SETTINGS_WRITE = "settings-write"
    MODELS_WRITE = "models-write"
    UPDATES = "updates"
    BACKUP = "backup"
    RESTORE = "restore"


class Verdict(StrEnum):
    """What comes of asking. `STEP_UP`: allowed, once they have proved again that it is them."""

    ALLOWED = "allowed"
    STEP_UP = "step-up"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table: what it allows, to whom, and whether they must have proved lately that it is them."""

    meaning: str
    roles: frozenset[Role]
    step_up: bool = False


MEANINGS: Final[dict[Role, str]] = {
    Role.OWNER: "Everything. There is always one who can sign in.",
    Role.ADMIN: "Runs the appliance, but has no say over owners and puts no backup back.",
    Role.AUDITOR: "Works as staff do, and looks at everything that is on record. Changes nothing.",
    Role.STAFF: "Chats, makes programs ask, and looks after their own account.",
    Role.SERVICE: "A program with an account: it asks through the API, and has no pages.",
}

_OWNER: Final = frozenset({Role.OWNER})
_ADMINS: Final = _OWNER | {Role.ADMIN}
_READERS: Final = _ADMINS | {Role.AUDITOR}
_PEOPLE: Final = _READERS | {Role.STAFF}
_ALL: Final = _PEOPLE | {Role.SERVICE}

TABLE: Final[dict[Permission, Rule]] = {
    Permission.CHAT: Rule("Use the chat page.", _PEOPLE),
    Permission.API: Rule("Ask models through the API.", _ALL),
    Permission.OWN_ACCOUNT: Rule("Change one's own password and language; see one's own use.", _PEOPLE),
    Permission.OWN_FACTORS: Rule("Change one's own authenticator, recovery codes and passkeys.", _PEOPLE, step_up=True),
    Permission.PEOPLE_READ: Rule("See people, groups and who is shut out.", _READERS),
    Permission.PEOPLE_WRITE: Rule("Add, change, shut out and remove people and groups.", _ADMINS, step_up=True),
    Permission.OWNERS_WRITE: Rule("Do so with owners, and make somebody one.", _OWNER, step_up=True),
    Permission.KEYS_READ: Rule("See everybody's API keys, not the keys themselves.", _READERS),
    Permission.KEYS_WRITE: Rule("Make, replace and revoke API keys for others.", _ADMINS, step_up=True),
    Permission.CLIENTS_WRITE: Rule("Register programs that people sign in to.", _ADMINS, step_up=True),
    Permission.BUDGETS_READ: Rule("See all budgets and what is used of them.", _READERS),
    Permission.BUDGETS_WRITE: Rule("Set and remove budgets.", _ADMINS, step_up=True),
    Permission.USAGE_READ: Rule("See what everybody uses.", _READERS),
    Permission.AUDIT_READ: Rule("Read and verify the audit log.", _READERS),
    Permission.SETTINGS_READ: Rule("See the settings.", _READERS),
    Permission.SETTINGS_WRITE: Rule("Change settings, the cloud's among them.", _ADMINS, step_up=True),
    Permission.MODELS_WRITE: Rule("Fetch, exchange and remove models.", _ADMINS, step_up=True),
    Permission.UPDATES: Rule("Update the appliance, and go back.", _ADMINS, step_up=True),
    Permission.BACKUP: Rule("Make backups.", _ADMINS, step_up=True),
    Permission.RESTORE: Rule("Put a backup in the place of what there is.", _OWNER, step_up=True),
}


def decide(role: str, permission: str, *, proved: bool) -> Verdict:
    """Whether a role may do something. `proved`: they have shown a moment ago that it is them."""
    rule = TABLE.get(Permission(permission)) if permission in Permission.__members__.values() else None
    if rule is None or role not in rule.roles:
        return Verdict.REFUSED
    return Verdict.STEP_UP if rule.step_up and not proved else Verdict.ALLOWED


def is_fresh(proved_at_us: int, now_us: int) -> bool:
    """Whether a proof is of a moment ago; never one of the future, which a clock that was put back would make last."""
    return 0 <= now_us - proved_at_us < PROOF_S * 1_000_000


def to_change(*roles: str) -> Permission:
    """What it takes to change somebody who has, or is to have, one of these roles."""
    return Permission.OWNERS_WRITE if Role.OWNER in roles else Permission.PEOPLE_WRITE


def role(text: str) -> Role:
    """A role by its name. Raises wrong-use."""
    said = text.strip().casefold()
    if said not in Role.__members__.values():
        shown = "".join(one if one.isprintable() else "?" for one in said[:40])
        raise ApplianceError("wrong-use", f"There is no role '{shown}'.", f"Use one of: {', '.join(Role)}.")
    return Role(said)
