"""What is kept of the audit log outside the database: its key, and the anchor that says how far it goes."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.audit.chain import KEY_BYTES, START, Anchor, Fault, Link, Trouble, anchor_text, parse_anchor, read_anchor
from appliance.config.paths import Home
from appliance.errors import ApplianceError
from appliance.store.files import Staged, write_atomic
from appliance.store.locks import turn

_NOWHERE = (0, 0)


class Vault:
    """The two files of one appliance."""

    def __init__(self, home: Home) -> None:
        self._key = home.audit_key
        self._anchor = home.audit_anchor
        self._lock = home.run / "audit.lock"

    def read(self) -> tuple[bytes, Anchor] | Fault | None:
        """Key and anchor; what is wrong with them; or None when no log was ever begun here."""
        key = self._key.read_bytes() if self._key.exists() else None
        text = self._anchor.read_bytes() if self._anchor.exists() else None
        if key is None and (text is None or _is_unused(text)):
            # Both, or the anchor of a beginning that was cut off before it had made the key.
            return None
        if key is None or len(key) != KEY_BYTES:
            return Fault(Trouble.KEY_MISSING, *_NOWHERE)
        if text is None:
            return Fault(Trouble.ANCHOR_MISSING, *_NOWHERE)
        try:
            return key, read_anchor(key, text)
        except ValueError:
            return Fault(Trouble.ANCHOR_EDITED, *_NOWHERE)

    def furthest(self) -> int:
        """How far the anchor says that the log goes, be it true or not; 0 without one."""
        try:
            return parse_anchor(self._anchor.read_bytes())[0].last.seq
        except (OSError, ValueError):
            return 0

    def begin(self, begin: Link = START) -> tuple[bytes, Anchor]:
        """A new key, and the anchor of a log without events. The anchor first: a key without one is a fault."""
        key, anchor = os.urandom(KEY_BYTES), Anchor(begin, begin)
        write_atomic(self._anchor, anchor_text(key, anchor), 0o600)
        write_atomic(self._key, key, 0o600)
        return key, anchor

    def keep(self, beside: Path) -> None:
        """Copy both files as they are to a name with their own endings."""
        for file in (self._key, self._anchor):
            if file.exists():
                write_atomic(beside.with_suffix(file.suffix), file.read_bytes(), 0o600)

    def stage(self, key: bytes, anchor: Anchor) -> Staged:
        """The anchor that is to come, on the disk but not in its place yet."""
        staged = Staged(self._anchor, 0o600)
        try:
            staged.file.write(anchor_text(key, anchor))
            staged.sync()
        except BaseException:
            staged.discard()
            raise
        return staged

    def put(self, staged: Staged, anchor: Anchor) -> None:
        """Put a staged anchor in its place, unless another process has put a newer one there."""
        try:
            with turn(self._lock):
                found = self.read()
                # An anchor that somebody has tampered with stays as it is: it is evidence.
                if isinstance(found, tuple) and found[1].begin == anchor.begin and found[1].last.seq < anchor.last.seq:
                    # After a power cut the older anchor may be back: then the log is merely ahead of it.
                    staged.put(for_good=False)
        finally:
            staged.discard()


def broken(fault: Fault) -> ApplianceError:
    """A damaged log, as a person is told of it."""
    return ApplianceError(
        "audit-broken",
        f"The audit log is damaged. {fault.words}",
        "Keep a copy (`appliance audit export`), find out who did it; then `appliance audit restart` puts it aside.",
    )


def _is_unused(text: bytes) -> bool:
    try:
        anchor, _ = parse_anchor(text)
    except ValueError:
        return False
    return anchor.last == anchor.begin == START
