"""What can be on the audit log: a fixed list of acts, and for each the facts that may stand beside it.

There is no field for free text: a fact has a name from this table and a short plain value, so
that a word of a prompt has no way in. `docs/reference/audit.md` is generated from it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Fact = str | int | bool | None

# Characters that are kept of any text.
LONGEST = 200
_LARGEST = 2**63

_KEY = ("owner", "team", "priority", "models", "endpoints", "addresses", "expires_at")
_BUDGET = ("kind", "unit", "period", "amount", "before")


class Action(StrEnum):
    """Everything that can be on record."""

    DENIED = "denied"
    KEY_CREATED = "key-created"
    KEY_CHANGED = "key-changed"
    KEY_ROTATED = "key-rotated"
    KEY_REVOKED = "key-revoked"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    PERSON_ADDED = "person-added"
    PERSON_INVITED = "person-invited"
    PERSON_RESET = "person-reset"
    OWNER_INVITED = "owner-invited"
    PERSON_REMOVED = "person-removed"
    CONVERSATIONS_REMOVED = "conversations-removed"
    PERSON_LINKED = "person-linked"
    PERSON_UNLINKED = "person-unlinked"
    ROLE_CHANGED = "role-changed"
    GROUP_ADDED = "group-added"
    GROUP_REMOVED = "group-removed"
    GROUP_JOINED = "group-joined"
    GROUP_LEFT = "group-left"
    BUDGET_SET = "budget-set"
    BUDGET_REMOVED = "budget-removed"
    SETTINGS_CHANGED = "settings-changed"
    DEPLOYMENT_TAKEN = "deployment-taken"
    MODEL_REMOVED = "model-removed"
    BATCH_CANCELLED = "batch-cancelled"
    CLOUD_ALLOWED = "cloud-allowed"
    CLOUD_FORBIDDEN = "cloud-forbidden"
    CLOUD_SENT = "cloud-sent"
    SIGNED_IN = "signed-in"
    SIGNED_OUT = "signed-out"
    VOUCHING_ENDED = "vouching-ended"
    LINK_USED = "link-used"
    SIGN_IN_REFUSED = "sign-in-refused"
    PASSWORD_CHANGED = "password-changed"  # noqa: S105 - the name of an act
    AUTHENTICATOR_ADDED = "authenticator-added"
    AUTHENTICATOR_REMOVED = "authenticator-removed"
    RECOVERY_CODES_MADE = "recovery-codes-made"
    PASSKEY_ADDED = "passkey-added"
    PASSKEY_REMOVED = "passkey-removed"
    DEVICE_ALLOWED = "device-allowed"
    DEVICE_REFUSED = "device-refused"
    CLIENT_ADDED = "client-added"
    CLIENT_REMOVED = "client-removed"
    SIGNING_KEY_CHANGED = "signing-key-changed"
    CALLS_PUT_TOGETHER = "calls-put-together"
    SECRET_CHANGED = "secret-changed"  # noqa: S105 - the name of an act
    BACKUPS_SET_UP = "backups-set-up"
    BACKED_UP = "backed-up"
    BACKUP_EXPORTED = "backup-exported"
    BACKUP_DRILLED = "backup-drilled"
    RESTORED = "restored"
    UPDATED = "updated"
    UPDATE_UNDONE = "update-undone"
    ROLLED_BACK = "rolled-back"
    STARTED = "started"
    STOPPED = "stopped"
    AUDIT_RESUMED = "audit-resumed"
    AUDIT_RESTARTED = "audit-restarted"


@dataclass(frozen=True, slots=True)
class Kind:
    """One action: what it means, how a person reads it, and the names of its facts."""

    meaning: str
    sentence: str
    facts: tuple[str, ...] = ()


KINDS: dict[Action, Kind] = {
    Action.DENIED: Kind(
        "A request was refused: no or a bad key, no right, no budget left. Repeats within a minute are one event"
        " with their `count`.",
        "{actor} was refused {target} ({code})",
        ("code", "count", "since"),
    ),
    Action.KEY_CREATED: Kind("An API key was made.", "{owner}'s key {target} was made by {actor}", _KEY),
    Action.KEY_CHANGED: Kind("What a key may do was changed.", "{owner}'s key {target} was changed by {actor}", _KEY),
    Action.KEY_ROTATED: Kind(
        "A key got a successor.",
        "{owner}'s key {target} was replaced by {successor}, by {actor}",
        ("owner", "successor", "expires_at"),
    ),
    Action.KEY_REVOKED: Kind(
        "A key was made useless.", "{owner}'s key {target} was revoked by {actor}", ("owner", "team")
    ),
    Action.SUSPENDED: Kind(
        "An owner or a team was shut out.", "{kind} {target} was shut out by {actor}", ("kind", "why")
    ),
    Action.RESUMED: Kind(
        "An owner or a team was let in again.", "{kind} {target} was let in by {actor}", ("kind", "why")
    ),
    Action.PERSON_ADDED: Kind(
        "Somebody got an account.", "{target} got an account as {role} from {actor}", ("role", "groups", "password")
    ),
    Action.PERSON_INVITED: Kind(
        "A link was made with which somebody sets their first password.",
        "{target} was invited by {actor}",
        ("expires_at",),
    ),
    Action.PERSON_RESET: Kind(
        "A link was made with which somebody sets a new password; the old one ended at once if `now`, and their second"
        " factors were dropped if `second_factor`.",
        "{target} may set a new password, by {actor}",
        ("expires_at", "now", "second_factor"),
    ),
    Action.OWNER_INVITED: Kind(
        "A link was made on which the first owner says who they are.",
        "{actor} made the link for the first owner",
        ("expires_at",),
    ),
    Action.PERSON_REMOVED: Kind(
        "Somebody's account was removed, and their keys revoked.", "{target} was removed by {actor}", ("role", "keys")
    ),
    Action.CONVERSATIONS_REMOVED: Kind(
        "What somebody kept on the chat page who was removed is deleted there. On record before it is done, and once"
        " more for each try.",
        "what {target} kept on the chat page is deleted: {conversations} conversations and {documents} documents",
        ("conversations", "documents"),
    ),
    Action.PERSON_LINKED: Kind(
        "An account elsewhere was found to be somebody's: with it they sign in.",
        "{target} signs in with their account at {source}",
        ("source",),
    ),
    Action.PERSON_UNLINKED: Kind(
        "Somebody's accounts elsewhere were forgotten.",
        "{target}'s accounts elsewhere were forgotten by {actor}",
        ("accounts",),
    ),
    Action.ROLE_CHANGED: Kind("Somebody got another role.", "{target} is {after} now, by {actor}", ("before", "after")),
    Action.GROUP_ADDED: Kind("A group was made.", "the group {target} was made by {actor}"),
    Action.GROUP_REMOVED: Kind("A group was removed.", "the group {target} was removed by {actor}", ("people",)),
    Action.GROUP_JOINED: Kind(
        "Somebody joined a group.", "{target} is in the group {group} now, by {actor}", ("group", "team")
    ),
    Action.GROUP_LEFT: Kind(
        "Somebody left a group.", "{target} is not in the group {group} any more, by {actor}", ("group", "team")
    ),
    Action.BUDGET_SET: Kind(
        "A budget was set.", "the budget of {kind} {target} was set to {amount} {unit} a {period} by {actor}", _BUDGET
    ),
    Action.BUDGET_REMOVED: Kind(
        "A budget was taken away.", "the budget of {kind} {target} was taken away by {actor}", _BUDGET
    ),
    Action.SETTINGS_CHANGED: Kind(
        "A setting was changed.", "{target} was set to {after} by {actor}", ("before", "after")
    ),
    Action.DEPLOYMENT_TAKEN: Kind(
        "The gateway began to serve another deployment.",
        "the gateway serves {target} now",
        ("serial", "release", "engines", "cloud"),
    ),
    Action.MODEL_REMOVED: Kind("A model's file was removed.", "model {target} was removed by {actor}", ("bytes",)),
    Action.BATCH_CANCELLED: Kind(
        "An admin ended somebody's batch.", "batch {target} was cancelled by {actor}", ("owner", "team", "completed")
    ),
    Action.CLOUD_ALLOWED: Kind("Sending to a cloud was allowed.", "{target} was allowed by {actor}", ("before",)),
    Action.CLOUD_FORBIDDEN: Kind("Sending to a cloud was forbidden.", "{target} was forbidden by {actor}", ("before",)),
    Action.CLOUD_SENT: Kind(
        "A request leaves the machine. On record before it does.",
        "{actor}'s request goes out to {target}",
        ("model", "team", "key_id", "region", "route", "bytes"),
    ),
    Action.SIGNED_IN: Kind("Somebody signed in.", "{actor} signed in, as {target}", ("means", "address")),
    Action.SIGNED_OUT: Kind("Somebody signed out.", "{actor} signed out of {target}"),
    Action.VOUCHING_ENDED: Kind(
        "Somebody was signed out: the provider or directory that they come from has not vouched for them lately.",
        "{target} was signed out, since {source} has not vouched for them lately",
        ("source",),
    ),
    Action.LINK_USED: Kind(
        "Somebody chose a password, by a one-time link.", "{actor} chose a password", ("purpose", "address")
    ),
    Action.SIGN_IN_REFUSED: Kind(
        "Somebody was not let in: a wrong password or code, too many tries, or shut out. Who did it is the address that"
        " it came from; for whom stands there only if they have an account. Repeats within a minute are one event"
        " with their `count`.",
        "{actor} was not let in as {target} ({code})",
        ("code", "count", "since"),
    ),
    Action.PASSWORD_CHANGED: Kind(
        "Somebody changed their password. They are signed out everywhere else.",
        "{actor} changed their password",
        ("address",),
    ),
    Action.AUTHENTICATOR_ADDED: Kind(
        "Somebody set up an authenticator.", "{actor} set up an authenticator", ("address",)
    ),
    Action.AUTHENTICATOR_REMOVED: Kind(
        "Somebody removed their authenticator.", "{actor} removed their authenticator", ("address",)
    ),
    Action.RECOVERY_CODES_MADE: Kind(
        "Somebody made new recovery codes; the old ones are void.", "{actor} made new recovery codes", ("address",)
    ),
    Action.PASSKEY_ADDED: Kind("Somebody added a passkey.", "{actor} added the passkey {name}", ("name", "address")),
    Action.PASSKEY_REMOVED: Kind(
        "Somebody removed a passkey of theirs.", "{actor} removed the passkey {name}", ("name", "address")
    ),
    Action.DEVICE_ALLOWED: Kind(
        "Somebody let a device or a program without a browser in.", "{actor} let a device of {target} in", ("address",)
    ),
    Action.DEVICE_REFUSED: Kind(
        "Somebody did not let a device in.", "{actor} did not let a device of {target} in", ("address",)
    ),
    Action.CLIENT_ADDED: Kind(
        "A program was registered for sign-on.",
        "the program {name} was registered as {target} by {actor}",
        ("name", "flows", "redirects"),
    ),
    Action.CLIENT_REMOVED: Kind(
        "A program's registration was removed.", "the program {name} ({target}) was removed by {actor}", ("name",)
    ),
    Action.SIGNING_KEY_CHANGED: Kind(
        "Sign-on began to sign with its next key.", "sign-on signs with {target} from now on, by {actor}", ("before",)
    ),
    Action.CALLS_PUT_TOGETHER: Kind(
        "Old calls of the ledger are put together by day: their sums stay, and the calls themselves go. On record"
        " before it is done.",
        "calls of the ledger before {target} are put together by day, by {actor}",
        ("calls",),
    ),
    Action.SECRET_CHANGED: Kind(
        "A secret that the box keeps for itself is replaced. On record before it is done.",
        "the secret {target} is replaced by {actor}",
    ),
    Action.BACKUPS_SET_UP: Kind(
        "Backups got a place, and a recovery key if they had none.",
        "{actor} had backups kept in {target}",
        ("new_key",),
    ),
    Action.BACKED_UP: Kind("A backup was made.", "{actor} made the backup {target}", ("bytes", "added")),
    Action.BACKUP_EXPORTED: Kind("A backup was made as one file.", "{actor} made the backup file {target}", ("bytes",)),
    Action.BACKUP_DRILLED: Kind(
        "A backup was restored beside what runs, and tried.",
        "{actor} tried the backup {target}: all was back within {back_s} s",
        ("lost_s", "back_s"),
    ),
    Action.RESTORED: Kind(
        "All state was replaced by that of a backup. What was done between the two is not on this record.",
        "{actor} restored the backup {target}",
        ("made_at", "from"),
    ),
    Action.UPDATED: Kind(
        "The appliance was updated to another version.", "{actor} updated to version {target}", ("before", "serial")
    ),
    Action.UPDATE_UNDONE: Kind(
        "An update failed at a `step`, and the version and the data of before it are back.",
        "the update to version {target} failed ({step}) and was undone",
        ("before", "serial", "step"),
    ),
    Action.ROLLED_BACK: Kind(
        "An admin went back to the version before an update. Where `data`, all state is as it was then, and what was"
        " done since is not on this record.",
        "{actor} went back to version {target}",
        ("before", "data"),
    ),
    Action.STARTED: Kind("The gateway began to serve.", "the gateway {target} has started", ("version", "serial")),
    Action.STOPPED: Kind("The gateway ended in order.", "the gateway {target} has stopped", ("version",)),
    Action.AUDIT_RESUMED: Kind(
        "The audit log could not be written for a while; what needs it was refused meanwhile.",
        "the audit log is written again ({refused} were refused meanwhile)",
        ("refused", "since"),
    ),
    Action.AUDIT_RESTARTED: Kind(
        "A damaged audit log was put aside, and this one begun.",
        "{actor} put a damaged audit log aside, as {target} (fault: {fault} at {at_seq})",
        ("fault", "at_seq", "events", "sha256"),
    ),
}


def plain(text: str) -> str:
    """A text as it is kept: printable characters only, so that it does nothing to a terminal, and not too many."""
    cut = text[:LONGEST]
    return cut if cut.isprintable() else "".join(one if one.isprintable() else "?" for one in cut)


def facts_text(action: Action, facts: dict[str, Fact]) -> str:
    """The facts of an event as JSON. Raises ValueError for a name or a value that the table does not have."""
    kept: dict[str, Fact] = {}
    for name, value in facts.items():
        if name not in KINDS[action].facts:
            raise ValueError(f"{action} has no fact {name!r}")
        if isinstance(value, str):
            kept[name] = plain(value)
        elif value is None or (isinstance(value, int) and -_LARGEST <= value < _LARGEST):
            kept[name] = value
        else:
            raise ValueError(f"{name} of {action} is neither a short text nor a number")
    return json.dumps(kept, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def sentence(actor: str, action: str, target: str, facts: dict[str, Any]) -> str:
    """An event as a person reads it; also one of a version that knew other actions."""
    known = {"actor": actor or "somebody", "target": target or "it"}
    if action not in Action.__members__.values():
        return f"{action}: {known['target']} by {known['actor']}"
    words = KINDS[Action(action)].sentence.format_map(defaultdict(lambda: "?", {**facts, **known}))
    return f"{words}, {facts['count']} times since {facts.get('since')}" if facts.get("count") else words
