"""Where backups are kept: a repository of restic, encrypted and deduplicated, in a folder or at an address."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.errors import ApplianceError
from appliance.policy.backups import Retention, is_folder


@dataclass(frozen=True, slots=True)
class Kept:
    """One backup: its id, and when it was made (RFC 3339)."""

    id: str
    made_at: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository. `key_file` holds the recovery key; `cache` is a folder of restic's own."""

    target: str
    key_file: Path
    cache: Path

    def exists(self) -> bool:
        """Whether there is one. Raises backup-wrong-key or backup-unreachable."""
        try:
            self._run("cat", "config")
        except ApplianceError as error:
            if error.code == "backup-not-found":
                return False
            raise
        return True

    def make(self) -> None:
        """Begin a new one. Raises backup-unreachable."""
        if is_folder(self.target):
            try:
                Path(self.target).mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise _unreachable(self.target, error.strerror or str(error)) from error
        self._run("init")

    def add(self, folder: Path) -> dict[str, Any]:
        """Add a backup of a folder; restic's own summary, with `snapshot_id`, `data_added` (bytes) and the like."""
        # Locks of one that was killed; those of one that lives stay.
        self._run("unlock")
        said = self._run("backup", "--json", "--host", "appliance", ".", cwd=folder)
        return next(one for one in _documents(said) if one.get("message_type") == "summary")

    def kept(self) -> list[Kept]:
        """All backups, the oldest first."""
        return [Kept(one["short_id"], one["time"]) for one in json.loads(self._run("snapshots", "--json")) or []]

    def restore(self, id: str, into: Path) -> None:
        """Bring a backup back into a folder. Raises backup-not-found or backup-damaged."""
        self._run("restore", id, "--target", str(into), damage=True)

    def size(self, id: str) -> int:
        """Bytes that a backup takes when it is restored."""
        return int(json.loads(self._run("stats", id, "--mode", "restore-size", "--json"))["total_size"])

    def verify(self) -> None:
        """Read every byte that is kept. Raises backup-damaged."""
        self._run("check", "--read-data", damage=True)

    def forget(self, keep: Retention) -> None:
        """Remove what need not be kept any more, and the room that it took."""
        rule = ("--keep-daily", str(keep.daily), "--keep-weekly", str(keep.weekly), "--keep-monthly", str(keep.monthly))
        self._run("forget", "--keep-last", "2", *rule, "--group-by", "host", "--prune")

    def _run(self, *words: str, cwd: Path | None = None, damage: bool = False) -> str:
        """What restic prints. It gives way to whoever is served."""
        program = shutil.which("restic")
        if program is None:
            raise ApplianceError(
                "backup-tool-missing",
                "restic, which keeps the backups, is not installed.",
                "Run: sudo apt install restic",
            )
        options = ("--repo", self.target, "--password-file", str(self.key_file), "--cache-dir", str(self.cache))
        command = ["nice", "-n", "10", program, *words, *options]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise self._explain(done.stderr, damage)
        return done.stdout

    def _explain(self, said: str, damage: bool) -> ApplianceError:
        """What restic's words mean. `damage` is what a failure without known words means where all was only read."""
        last = ([line.strip() for line in said.splitlines() if line.strip()] or ["it gave no reason"])[-1].rstrip(".")
        for words, failure in _MEANS:
            if any(one in said.lower() for one in words):
                return failure(self.target, last)
        return _damaged(self.target, last) if damage else _failed(self.target, last)


def _wrong_key(target: str, last: str) -> ApplianceError:
    return ApplianceError(
        "backup-wrong-key",
        f"The recovery key is not that of the backups in {target}.",
        "Give the words that were shown when these were set up.",
    )


def _full(target: str, last: str) -> ApplianceError:
    return ApplianceError(
        "disk-full", f"There is no room left in {target}.", "Free some room there, or name another place for backups."
    )


def _busy(target: str, last: str) -> ApplianceError:
    return ApplianceError(
        "backup-running", f"Another backup is under way in {target}.", "Wait for it to end, then run it again."
    )


def _unreachable(target: str, last: str) -> ApplianceError:
    return ApplianceError(
        "backup-unreachable",
        f"{target} cannot be reached or written: {last}.",
        "See that the disk is plugged in, or the machine is on, then run it again.",
    )


def _not_found(target: str, last: str) -> ApplianceError:
    return ApplianceError(
        "backup-not-found", f"There are no backups in {target}.", "Name the place that they were made in."
    )


def _damaged(target: str, last: str) -> ApplianceError:
    return ApplianceError(
        "backup-damaged",
        f"The backups in {target} are damaged: {last}.",
        "Keep them, and begin new ones elsewhere: appliance backup set-up OTHER-PLACE",
    )


def _failed(target: str, last: str) -> ApplianceError:
    return ApplianceError("backup-failed", f"restic failed: {last}.", "Mend what it says, then run it again.")


# What restic says, in parts of its lines.
_MEANS: Final = (
    (("wrong password", "no key found"), _wrong_key),
    (("no space left",), _full),
    (("already locked",), _busy),
    (("unable to create lock", "permission denied", "not a directory", "read-only file system"), _unreachable),
    (("connection refused", "no such host", "i/o timeout", "no route to host"), _unreachable),
    (("unable to open config file",), _not_found),
)


def _documents(text: str) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in text.splitlines() if line.startswith("{"))
