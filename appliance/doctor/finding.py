"""What a check finds: values, and the table of all that can be found.

An id is a promise: scripts match on it. `docs/reference/doctor.md` is generated from `KINDS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class Level(StrEnum):
    """How bad it is. From `WARNING` on, `appliance doctor` ends with exit code 1."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAULT = "fault"


ORDER: Final = tuple(Level)


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that can be found: how bad it is, what it means for staff, what to do, and whether `--fix` does it."""

    level: Level
    means: str
    do: str
    fixable: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. With its id, `about` tells it from others: a file, a process, a card.

    `what` is a sentence with everything that an admin wants to know, names and paths too; `facts` are numbers and
    nothing else, so that a report for support may hold them. `do` is set where the table's words do not do.
    """

    id: str
    what: str
    about: str = ""
    do: str = ""
    facts: dict[str, int] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """Its row of the table."""
        return KINDS[self.id]

    @property
    def key(self) -> str:
        """What it is known by from one run to the next."""
        return f"{self.id} {self.about}".strip()

    def to_json(self, check: str, since: str | None) -> dict[str, Any]:
        """It as JSON."""
        return {
            "id": self.id,
            "check": check,
            "level": self.kind.level,
            "about": self.about,
            "what": self.what,
            "since": since,
            "means": self.kind.means,
            "do": self.do or self.kind.do,
            "fixable": self.kind.fixable,
            "facts": self.facts,
        }


def worst(findings: tuple[Finding, ...]) -> Level:
    """The worst of some findings; `OK` for none."""
    return max((one.kind.level for one in findings), key=ORDER.index, default=Level.OK)


_NOTHING: Final = "Nothing changes for staff yet."
_DOWN: Final = "Nobody is served."
_STATUS: Final = "Look at `appliance status` and `appliance logs`."
_RESTORE: Final = "Bring the last backup back: `appliance down`, then `appliance restore`."

KINDS: Final[dict[str, Kind]] = {
    # The doctor itself.
    "check-failed": Kind(Level.WARNING, "Nobody knows how it is there.", "Send `appliance report` to support."),
    "check-slow": Kind(
        Level.WARNING, "Nobody knows how it is there.", "Try again when the machine has less to do; then ask support."
    ),
    # Disk and memory.
    "disk-full": Kind(
        Level.FAULT,
        "What cannot be put on record is not answered: soon nobody is served.",
        "Free room: `appliance models gc`, or move what is not ours to another disk. Service returns by itself.",
    ),
    "disk-low": Kind(
        Level.WARNING, _NOTHING, "Free room: `appliance models gc`, or move what is not ours to another disk."
    ),
    "disk-soon": Kind(
        Level.WARNING, "Nobody is served once it is full.", "Free room, or move the state folder to a larger disk."
    ),
    "files-low": Kind(
        Level.WARNING,
        "Once the disk takes no more files, nobody is served.",
        "Find the folder with very many small files, and remove what is not needed.",
    ),
    "memory-low": Kind(
        Level.WARNING,
        "Answers get slow, or the engine is ended by the system.",
        "End other programs, or choose a smaller model: `appliance models plan`.",
    ),
    # Graphics cards and speed.
    "card-unusable": Kind(Level.WARNING, "Models run elsewhere, and slower.", "Do what the sentence says."),
    "engine-off-card": Kind(
        Level.WARNING,
        "Answers come far slower than this machine could give them.",
        "Do what the sentence says, then `appliance down` and `appliance up`.",
    ),
    "card-not-used": Kind(
        Level.FAULT,
        "Answers come far slower than planned.",
        "Do what the sentence says, then `appliance models prove`.",
    ),
    "card-hot": Kind(
        Level.WARNING, "The card slows itself down.", "Clean its fans, and see that air reaches the machine."
    ),
    "clocks-held-down": Kind(
        Level.WARNING,
        "Answers come slower than they could.",
        "Do what the sentence says; then `appliance models prove`.",
    ),
    "engine-slow": Kind(
        Level.WARNING, "Answers come slower than they did.", "Do what the sentence says, then `appliance models prove`."
    ),
    "engine-over-plan": Kind(
        Level.WARNING, _NOTHING, "Run `appliance models prove`; if it stays so, send `appliance report` to support."
    ),
    "engine-not-measured": Kind(Level.NOTE, _NOTHING, "Run `appliance models prove`."),
    "model-gone": Kind(Level.FAULT, "At the next start nobody is served.", "Fetch it again: `appliance models pull`."),
    # Certificates and time.
    "certificate-unreadable": Kind(Level.FAULT, "Browsers do not reach the box.", "Do what the sentence says."),
    "certificate-ends-soon": Kind(
        Level.WARNING,
        "After that day browsers refuse the box, until each device trusts a new certificate.",
        "Plan a day for it: `appliance down`, remove the folder named here, `appliance up`, then `appliance ca show`.",
    ),
    "certificate-ended": Kind(
        Level.FAULT,
        "Browsers refuse the box.",
        "`appliance down`, remove the folder named here, `appliance up`; every device must trust the new certificate.",
    ),
    "certificate-not-renewed": Kind(
        Level.FAULT,
        "Browsers refuse the box.",
        "Look at `appliance logs lan`, then `appliance down` and `appliance up`.",
    ),
    "clock-alone": Kind(
        Level.NOTE,
        "If the clock goes wrong, codes of authenticators and certificates are refused.",
        "Have the system set the clock: `sudo apt-get install chrony`, or `sudo timedatectl set-ntp true`.",
    ),
    "clock-behind": Kind(
        Level.FAULT,
        "Budgets and sign-ins count by a wrong time.",
        "Put the clock right (`date` shows it), then `appliance down` and `appliance up`.",
    ),
    # Processes and ports.
    "not-running": Kind(Level.WARNING, _DOWN, "Start it: `appliance up`."),
    "process-not-ready": Kind(Level.FAULT, "A part of the service is missing.", _STATUS),
    "process-restarted": Kind(Level.WARNING, "Answers have been cut off in the middle.", _STATUS),
    "gateway-silent": Kind(Level.FAULT, _DOWN, "Look at `appliance logs serve`."),
    "change-cut-off": Kind(Level.WARNING, _NOTHING, "Run `appliance up`: it puts that right."),
    "restore-cut-off": Kind(Level.FAULT, _DOWN, "Run `appliance up`: it ends what was begun."),
    "port-taken": Kind(
        Level.FAULT, "That part of the box is not reached.", "End that program, or set another port in the settings."
    ),
    "port-not-allowed": Kind(
        Level.FAULT,
        "The box does not start.",
        "Allow it once: `echo net.ipv4.ip_unprivileged_port_start=80 | sudo tee /etc/sysctl.d/50-appliance.conf`, then "
        "`sudo sysctl --system`.",
    ),
    "connection-unknown": Kind(
        Level.FAULT,
        "Something may leave the box that should not.",
        "`appliance down` ends it. Find out what it is, and send `appliance report` to support.",
    ),
    # Settings and release.
    "settings-unreadable": Kind(Level.FAULT, "At the next start nobody is served.", "Do what the sentence says."),
    "settings-open-to-network": Kind(Level.FAULT, "At the next start nobody is served.", "Do what the sentence says."),
    "settings-unencrypted": Kind(
        Level.WARNING,
        "Keys and prompts can be read on the way.",
        "Set `enabled = true` under [lan] for HTTPS, unless a proxy of your own stands before it.",
    ),
    "cloud-for-everybody": Kind(
        Level.NOTE,
        "Whatever anybody asks a model of the cloud leaves the box.",
        "Name the teams that have consent under [cloud], or leave it so if that is meant.",
    ),
    "budgets-none": Kind(
        Level.NOTE, "One person can take all that the box can do.", "Set one: `appliance budgets set`."
    ),
    "owner-missing": Kind(
        Level.WARNING, "Nobody can add people or help them.", "Make the link for it: `appliance users owner-link`."
    ),
    "settings-changed": Kind(
        Level.NOTE, "What was changed does not count yet.", "`appliance down`, then `appliance up`."
    ),
    "release-differs": Kind(
        Level.WARNING,
        "Another release serves than the one that is installed.",
        "`appliance down`, then `appliance up`.",
    ),
    # What is kept.
    "folder-open": Kind(
        Level.WARNING, "Other accounts of this machine can look in.", "`appliance doctor --fix`.", fixable=True
    ),
    "secret-open": Kind(
        Level.FAULT,
        "Other accounts of this machine can read a secret.",
        "`appliance doctor --fix`; if somebody else uses this machine, `appliance secrets rotate` too.",
        fixable=True,
    ),
    "file-of-somebody-else": Kind(
        Level.WARNING,
        "The box may be unable to read or replace it.",
        "Give it back: `sudo chown` to the state's owner.",
    ),
    "secret-unusable": Kind(Level.FAULT, "What needs it is refused.", "Do what the sentence says."),
    "database-damaged": Kind(Level.FAULT, "Answers may fail, and books be wrong.", _RESTORE),
    "database-references": Kind(Level.FAULT, "Something of somebody who is gone is still there.", _RESTORE),
    "database-newer": Kind(
        Level.FAULT, "The box does not start.", "Install the newer release again, or restore the backup before it."
    ),
    "database-older": Kind(Level.NOTE, _NOTHING, "Run `appliance up`: it brings the database up to date."),
    "books-differ": Kind(
        Level.FAULT,
        "Budgets may let too much or too little through.",
        "Find out who wrote the database by other means (`appliance audit tail`), then restore the last backup.",
    ),
    "calls-old": Kind(
        Level.NOTE,
        "Details of calls are kept for longer than is set.",
        "`appliance doctor --fix`.",
        fixable=True,
    ),
    "calls-open": Kind(Level.NOTE, _NOTHING, "Run `appliance up`: the next start closes them as interrupted."),
    "calls-open-long": Kind(
        Level.WARNING, "Budgets hold what these calls might still use.", "Look at `appliance logs serve`."
    ),
    "audit-damaged": Kind(
        Level.FAULT,
        "What must be on record may be refused.",
        "Keep a copy (`appliance audit export`), find out who did it; then `appliance audit restart`.",
    ),
    # Backups.
    "backups-not-set-up": Kind(
        Level.WARNING,
        "If the disk breaks, everything is lost.",
        "`appliance backup set-up PLACE`, best on another disk.",
    ),
    "backup-program-missing": Kind(Level.WARNING, "No backups are made.", "Install it: `sudo apt-get install restic`."),
    "backup-place-away": Kind(
        Level.WARNING,
        "No backups are made.",
        "Connect the disk, or name another place: `appliance backup set-up PLACE`.",
    ),
    "backup-on-same-disk": Kind(
        Level.WARNING,
        "If the disk breaks, the backups are lost with it.",
        "Name a place on another disk: `appliance backup set-up PLACE`.",
    ),
    "backup-old": Kind(
        Level.WARNING, "If the disk breaks, all work since then is lost.", "Make one: `appliance backup create`."
    ),
    "backup-leftover": Kind(
        Level.NOTE, "It takes room, and nobody needs it.", "`appliance doctor --fix`.", fixable=True
    ),
    # The chat page.
    "chat-page-not-installed": Kind(
        Level.FAULT, "There is no chat page.", "Install it: `appliance chat-page install`, then `appliance up`."
    ),
    "chat-page-not-registered": Kind(
        Level.FAULT, "Nobody can sign in to the chat page.", "`appliance down`, then `appliance up`."
    ),
    "chat-page-told-otherwise": Kind(
        Level.WARNING,
        "Who may use the chat page, or what it does, is not what the settings say.",
        "`appliance down`, then `appliance up`.",
    ),
    "chat-page-admin": Kind(
        Level.FAULT,
        "Somebody can look at what others keep on the chat page.",
        "Find out how that came about, then `appliance down` and `appliance up`: a sign-in puts the role right.",
    ),
}
