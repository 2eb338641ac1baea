"""The chat page: installed, registered, told what the settings say, and without an admin."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

from appliance.accounts import chat_secrets
from appliance.accounts.chat_secrets import CHAT_PAGE
from appliance.chat import install
from appliance.chat.environment import BUILT_IN, variables
from appliance.chat.prepare import terms
from appliance.config.paths import cache_folder
from appliance.doctor.check import DATABASE, SETTINGS, Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import CURRENT, Situation
from appliance.errors import ApplianceError
from appliance.store import schema


def look(situation: Situation) -> Iterator[Finding]:
    """What is not as `up` makes it; nothing where the page is switched off."""
    if not situation.told.chat.enabled:
        return
    try:
        install.find(cache_folder())
    except ApplianceError as error:
        yield Finding("chat-page-not-installed", error.sentence, "", error.hint)
    # Both are made by a start.
    if situation.supervisor and situation.database == CURRENT:
        yield from _registered(situation)
        yield from _told(situation)
    yield from _admins(situation)


def _registered(situation: Situation) -> Iterator[Finding]:
    with closing(schema.read_only(situation.home.database)) as connection:
        if connection.execute("SELECT 1 FROM client WHERE id = ?", (CHAT_PAGE,)).fetchone() is None:
            yield Finding("chat-page-not-registered", "The chat page is not registered for sign-on.")


def _told(situation: Situation) -> Iterator[Finding]:
    """Whether its roles and all else that it was started with are what the settings make of it now."""
    secrets = chat_secrets.read(situation.home)
    if secrets is None:
        return
    wanted = variables(terms(situation.home, situation.told), secrets)
    try:
        has = json.loads(situation.home.chat_environment.read_text())
    except (OSError, ValueError):
        has = {}
    # Names only: values may be secrets.
    other = sorted(name for name, value in wanted.items() if has.get(name) != value)
    if other:
        words = f"The chat page was told otherwise than the settings say: {', '.join(other[:5])}."
        yield Finding("chat-page-told-otherwise", words, facts={"variables": len(other)})


def _admins(situation: Situation) -> Iterator[Finding]:
    file = situation.home.chat / "webui.db"
    if not file.exists():
        return
    try:
        with closing(schema.read_only(file)) as connection:
            sql = "SELECT count(*) FROM user WHERE role = 'admin' AND email != ?"
            count = connection.execute(sql, (BUILT_IN,)).fetchone()[0]
    except sqlite3.Error:
        # It is being made, or its own check tells.
        return
    if count:
        yield Finding("chat-page-admin", f"{count} people are admins of the chat page.", facts={"people": count})


CHECK = Check("chat page", "The chat page is as it should be.", look, needs=frozenset({SETTINGS, DATABASE}))
