"""What sign-on does without being asked: end what is over, tell programs of it, and forget what nobody needs."""

from __future__ import annotations

import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from sqlmodel import col, delete, select

from appliance.accounts.sign_on_tables import AuthorizationCode, DeviceGrant, RefreshToken, SignOn, TokenFamily
from appliance.audit.log import note
from appliance.config.paths import Home
from appliance.identity.notices import deliver, end_shut_out
from appliance.identity.services import Services
from appliance.store.generation import Generation
from appliance.units import now_us

# Between two looks at whether a command has changed the database.
_LOOK_S: Final = 0.2
# Whoever writes the database without our commands is noticed after this, and notices that wait are looked at so often.
_AT_LEAST_S: Final = 10.0
_RETRY_S: Final = 1.0
_CLEAN_S: Final = 3600.0
# What is over is kept for a day, for those who look for what happened.
_KEPT_US: Final = 86_400_000_000
_SENDERS: Final = 8


class Watch(threading.Thread):
    """Looks after sign-on until `stop`."""

    def __init__(self, home: Home) -> None:
        super().__init__(name="watch", daemon=True)
        self._generation = Generation(home.database)
        self._wake = threading.Event()
        self._stopped = False
        self.services: Services | None = None

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    def stop(self) -> None:
        """End. What is being sent is sent."""
        self._stopped = True
        self._wake.set()
        self.join()

    def run(self) -> None:
        """Look again and again. A failure is put on record, and the next look tries anew."""
        services = self.services
        assert services is not None
        seen, looked, cleaned, waits = b"", 0.0, 0.0, False
        with ThreadPoolExecutor(_SENDERS, "tell") as senders:
            while not self._stopped:
                now, mark = time.monotonic(), self._generation.now()
                pause_s = _RETRY_S if waits else _AT_LEAST_S
                if mark != seen or self._wake.is_set() or now > looked + pause_s:
                    self._wake.clear()
                    # The mark first: what is read after it is at least as new.
                    seen, looked = mark, now
                    _tried(end_shut_out, services)
                    waits = bool(_tried(deliver, services, senders))
                _tried(services.refusals.settle, now)
                if now > cleaned + _CLEAN_S:
                    cleaned = now
                    _tried(clean, services)
                self._wake.wait(_LOOK_S)
        _tried(services.refusals.settle, None)


def clean(services: Services) -> None:
    """Forget what has long been over."""
    before = now_us() - _KEPT_US
    with services.sessions.writing() as session:
        over = select(TokenFamily.id).where(TokenFamily.expires_at < before)
        session.exec(delete(RefreshToken).where(col(RefreshToken.family_id).in_(over)))
        for table in (TokenFamily, AuthorizationCode, DeviceGrant, SignOn):
            session.exec(delete(table).where(col(table.expires_at) < before))


def _tried(task: Any, *arguments: Any) -> Any:
    try:
        return task(*arguments)
    except Exception:  # noqa: BLE001 - the outermost frame of a thread: whatever arrives here must not end it
        note("bug", "", task=task.__name__, trace=traceback.format_exc())
        return None
