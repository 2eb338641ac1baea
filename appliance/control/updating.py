"""An update of the appliance, step by step; and the way back to the version before.

The old version does all of it, and stays on the disk: the new one is started beside it, proved while nobody else is let
in, and only then made the current one, by one link. Whatever goes wrong until then, also this process, is undone by
`update_recovery`, which every `up` begins with.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Final

from appliance.backup import putting, snapshot
from appliance.backup.snapshot import STATE
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.config.version import VERSION
from appliance.control import update_proof, update_recovery
from appliance.control.backups import alone
from appliance.control.changing import gateway_state
from appliance.control.installation import RELEASES, Installation, bring_page, installed, last_words, stage
from appliance.control.local_key import key_file, local_key
from appliance.control.status import status
from appliance.control.up import down
from appliance.control.update_offer import Offer
from appliance.control.update_proof import Trial, failed
from appliance.control.update_recovery import BACK, BEFORE, INCOMING, LOCK
from appliance.errors import ApplianceError
from appliance.policy import updates
from appliance.policy.backups import ASIDE
from appliance.store import maintenance
from appliance.store.locks import Lock
from appliance.store.privilege import may_be_root
from appliance.store.schema import revision_of
from appliance.units import MIB, now_us, show_bytes, show_instant
from appliance.update import incoming, journal, manifest
from appliance.update.journal import BEGUN, DONE, ROLLBACK, UPDATE, Record

# Answers under way get this long.
_DRAIN_S: Final = 120.0
_POLL_S: Final = 0.1
_ROOM: Final = 512 * MIB
# An environment takes more than the packages that it is made from.
_UNPACKED: Final = 4

Told = Callable[[str], None]
# Hears of each moment that is on record: the step, and `begun` or `done`.
At = Callable[[str, str], None]


def _nobody(step: str, state: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Back:
    """Where `rollback` would lead: the update that it undoes, and whether the data of then come back with it."""

    record: Record
    data: bool


def apply(home: Home, settings: Settings, offer: Offer, told: Told, at: At = _nobody) -> Record:
    """Carry out an update to the release of an offer.

    Raises updating, not-running, update-unavailable, update-not-ready, update-damaged, update-unreachable,
    update-failed or disk-too-small, and then nothing that runs was touched; update-undone when it was and everything
    is as before; update-stuck when the old version does not start again.
    """
    installation, release = installed(), offer.release
    id = _new_id(home)
    record = Record(
        id, UPDATE, str(installation.code), installation.current, release, VERSION, offer.manifest.version,
        offer.manifest.serial,
    )  # fmt: skip
    place = journal.folder_of(home, id) / INCOMING

    def bring() -> None:
        told(f"Fetching version {offer.manifest.version}")
        incoming.bring(offer.source, offer.manifest, offer.documents, place)
        manifest.compare(offer.manifest, offer.files_in(place))

    def put_beside() -> None:
        stage(installation, release, place, offer.manifest, told)
        if settings.chat.enabled:
            told("Getting the new version's chat page")
            bring_page(installation, home, release)

    with _begun(home, record) as work:
        run = _Run(home, settings, installation, record, told, at)
        run.before(updates.VERIFY, bring)
        run.before(updates.CHECK, lambda: run.check(offer.manifest.size))
        run.before(updates.STAGE, put_beside)
        return run.exchange(work, run.migrate)


def roll_back(home: Home, settings: Settings, back: Back, told: Told, at: At = _nobody) -> Record:
    """Go back to the version before an update. Raises as `apply` does."""
    installation, undone = installed(), back.record
    copy = journal.folder_of(home, undone.id) / BEFORE
    record = Record(
        _new_id(home), ROLLBACK, str(installation.code), installation.current, undone.old, VERSION,
        undone.from_version, undone.serial, back=str(copy) if back.data else "",
    )  # fmt: skip
    with _begun(home, record) as work:
        run = _Run(home, settings, installation, record, told, at)
        run.before(updates.CHECK, lambda: run.check(snapshot.size_of(copy) if back.data else 0))
        return run.exchange(work, run.bring_back if back.data else lambda: None)


def way_back(home: Home) -> Back:
    """Where `rollback` leads. Raises update-nothing-before or update-unavailable."""
    installation = installed()
    done = [one for one in journal.history(home) if one.outcome == journal.CARRIED_OUT]
    last = done[-1] if done else None
    if last is None or last.kind != UPDATE or last.new != installation.current:
        raise _nothing_before("No update was carried out that could be undone.")
    copy = journal.folder_of(home, last.id) / BEFORE / STATE / home.database.name
    if not installation.is_complete(last.old) or not copy.exists():
        raise _nothing_before("The version before it, or the copy of its data, is not there any more.")
    # Where the two versions keep their data in the same form, what was done since stays.
    return Back(last, data=revision_of(copy) != revision_of(home.database))


def check(home: Home, settings: Settings, size: int) -> None:
    """Whether the appliance can be updated now; `size` in bytes is that of the release.

    Raises not-running, update-not-ready, disk-too-small, backup-running or update-unavailable.
    """
    found = status(home, settings)
    if found["supervisor"] is None:
        raise ApplianceError("not-running", "The appliance is not running.", "Start it with `appliance up`.")
    if not found["healthy"] or home.restoring.exists():
        problems = " ".join(found["problems"]) or "A restore was cut off."
        raise ApplianceError(
            "update-not-ready", f"The appliance is not healthy: {problems}", "Mend that first, then update."
        )
    code = installed().code
    if not may_be_root() and not all(os.access(place, os.W_OK) for place in (code, code / RELEASES)):
        raise ApplianceError(
            "update-not-ready", f"This account may not write to {code}.", "Run it as the owner of that folder."
        )
    needed = _ROOM + snapshot.size_of(home.state, but=("models", "update")) + _UNPACKED * size
    for place in (home.state, code):
        free = shutil.disk_usage(place).free
        if free < needed:
            raise ApplianceError(
                "disk-too-small",
                f"{place} has {show_bytes(free)} free, and {show_bytes(needed)} are needed for an update.",
                "Free some room and run it again.",
            )


class _begun(ExitStack):  # noqa: N801 - used as a function
    """An update that is on record, which nobody else does meanwhile. Raises updating or backup-running."""

    def __init__(self, home: Home, record: Record) -> None:
        super().__init__()
        home.prepare()
        home.update.mkdir(mode=0o700, exist_ok=True)
        lock = Lock(home.update / LOCK)
        if not lock.acquire():
            raise maintenance.updating()
        self.callback(lock.release)
        try:
            self.enter_context(alone(home))
            journal.write(home, record)
        except BaseException:
            self.close()
            raise


class _Run:
    """One update under way."""

    def __init__(
        self, home: Home, settings: Settings, installation: Installation, record: Record, told: Told, at: At
    ) -> None:
        self._home, self._settings, self._installation = home, settings, installation
        self._record, self._told, self._at = record, told, at
        self._word = ""
        self._speeds: dict[str, float] = {}

    def before(self, step: str, work: Callable[[], None]) -> None:
        """A step that touches nothing that runs: if it fails, that is all."""
        try:
            self._step(step, work)
        except BaseException as error:
            failed_with = replace(self._record, reason=_reason(error))
            journal.close(self._home, failed_with, journal.REFUSED)
            shutil.rmtree(journal.folder_of(self._home, self._record.id), ignore_errors=True)
            journal.forget(self._home)
            raise

    def check(self, size: int) -> None:
        """Whether it can be done now, and what the new version will be held against. Raises as `check` does."""
        check(self._home, self._settings, size)
        # Made before the doors close, if there is none yet.
        local_key(self._home)
        self._speeds = update_proof.speeds_of(self._home)

    def exchange(self, work: ExitStack, change: Callable[[], None]) -> Record:
        """Put the new version in the place of the old one; undo all of it if that fails."""
        steps = (
            (updates.DRAIN, self._drain),
            (updates.STOP, lambda: down(self._home) and None),
            (updates.COPY, self._copy),
            (updates.MIGRATE, change),
            (updates.START, self._start),
            (updates.PROVE, self._prove),
            (updates.SWITCH, lambda: self._installation.switch(self._record.new)),
        )
        try:
            for step, do in steps:
                self._step(step, do)
        except BaseException as error:  # noqa: BLE001 - `_finish` raises what came of it
            # Whatever it is: nobody may be left before closed doors.
            self._record = replace(self._record, reason=_reason(error))
            # On a full disk the reason is lost, and nothing else.
            with suppress(OSError):
                journal.write(self._home, self._record)
            self._told(f"It did not work: {self._record.reason}")
        # The next `up`, of whichever version is the current one now, does the rest: as after a power cut.
        work.close()
        return self._finish()

    def migrate(self) -> None:
        """Bring the database into the new version's form."""
        self._told("Bringing the data into the new version's form")
        done = self._installation.run(
            self._home, self._record.new, str(self._home.database), word=self._word, module="appliance.migrations"
        )
        if done.returncode != 0:
            raise failed(f"the data cannot be brought into its form ({last_words(done)})")

    def bring_back(self) -> None:
        """Bring the data of before an update back; what was done since is put aside."""
        self._told("Bringing the data of before the update back")
        folder = journal.folder_of(self._home, self._record.id) / BACK
        shutil.copytree(self._record.back, folder, symlinks=True)
        stamp = (show_instant(now_us()) or "")[:19].replace("-", "").replace(":", "")
        about = {"id": self._record.id, "made_at": "", "from": "update"}
        putting.put(self._home, folder, self._home.state / f"{ASIDE}{stamp}", about)

    def _step(self, step: str, work: Callable[[], object]) -> None:
        self._record = journal.note(self._home, self._record, step, BEGUN)
        self._at(step, BEGUN)
        work()
        self._record = journal.note(self._home, self._record, step, DONE)
        self._at(step, DONE)

    def _drain(self) -> None:
        self._told("Closing the doors, and waiting for the answers under way")
        self._word = maintenance.close(self._home.maintenance)
        deadline = time.monotonic() + _DRAIN_S
        while time.monotonic() < deadline:
            said = gateway_state(self._settings.gateway)
            if said is not None and not sum(said["busy"].values()) + said["leaving"]:
                return
            time.sleep(_POLL_S)
        # Longer ones are cut off, and charged for what they have had.

    def _copy(self) -> None:
        self._told("Making a copy of all data")
        snapshot.take_whole(self._home, journal.folder_of(self._home, self._record.id) / BEFORE)

    def _start(self) -> None:
        self._told(f"Starting version {self._record.to_version}")
        done = self._installation.run(self._home, self._record.new, "up", "--no-prove", word=self._word)
        if done.returncode != 0:
            raise failed(f"it does not start ({last_words(done)})")

    def _prove(self) -> None:
        self._told("Trying it, while nobody else is let in")
        # As it is now: with the data of then came the key of then.
        key = key_file(self._home).read_text().strip()
        trial = Trial(self._installation, self._record.new, self._word, key, self._speeds)
        update_proof.prove(self._home, self._settings, trial)

    def _finish(self) -> Record:
        release = self._installation.current
        done = self._installation.run(self._home, release, "up", "--no-prove")
        if journal.journal(self._home).exists() or (done.returncode != 0 and release == self._record.old):
            raise ApplianceError(
                "update-stuck",
                f"The update failed ({self._record.reason}), and then `appliance up`: {last_words(done)}",
                "Mend what it says, then run: appliance up",
            )
        ended = next(one for one in reversed(journal.history(self._home)) if one.id == self._record.id)
        if ended.outcome != journal.CARRIED_OUT:
            raise ApplianceError(
                "update-undone",
                f"The update to version {ended.to_version} failed: {ended.reason}. "
                f"Version {ended.from_version} runs as before, with all its data.",
                "See `appliance update history`.",
            )
        if done.returncode != 0:
            raise ApplianceError(
                "process-failed",
                f"Version {ended.to_version} serves, and a part of it does not start: {last_words(done)}",
                "See `appliance status`. To go back: appliance update rollback",
            )
        return ended


def _new_id(home: Home) -> str:
    update_recovery.refuse_if_unfinished(home)
    return (show_instant(now_us()) or "")[:19].replace("-", "").replace(":", "")


def _reason(error: BaseException) -> str:
    """Why, in a sentence without its full stop."""
    if isinstance(error, ApplianceError):
        return error.sentence.removeprefix("The new version does not do: ").strip().rstrip(".")
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _nothing_before(why: str) -> ApplianceError:
    return ApplianceError(
        "update-nothing-before", why, "Install the version that you want, or restore a backup: docs/backup.md"
    )
