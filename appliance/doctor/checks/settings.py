"""The settings: whether they can be read, are safe, and are what runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

from appliance.config.addresses import is_loopback
from appliance.control import exposure, up
from appliance.doctor.check import Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import CURRENT, Situation
from appliance.errors import ApplianceError
from appliance.policy.cloud import EVERYBODY
from appliance.store import schema


def look(situation: Situation) -> Iterator[Finding]:
    """What is not safe, or not in force."""
    if situation.mistake is not None:
        yield Finding("settings-unreadable", situation.mistake.sentence, "", situation.mistake.hint)
        return
    settings = situation.told
    try:
        exposure.check(settings)
    except ApplianceError as error:
        yield Finding("settings-open-to-network", error.sentence, "gateway.host", error.hint)
    if settings.gateway.insecure_lan and not is_loopback(settings.gateway.host):
        words = f"The gateway listens on {settings.gateway.host} without encryption."
        yield Finding("settings-unencrypted", words, "gateway.insecure_lan")
    if settings.cloud.enabled and EVERYBODY in settings.cloud.teams:
        yield Finding("cloud-for-everybody", "Everybody may use models of the cloud.", "cloud.teams")
    if situation.database == CURRENT:
        yield from _people(situation)
    if situation.supervisor:
        yield from _in_force(situation)


def _people(situation: Situation) -> Iterator[Finding]:
    try:
        with closing(schema.read_only(situation.home.database)) as connection:
            budgets = connection.execute("SELECT count(*) FROM budget").fetchone()[0]
            owners = connection.execute("SELECT count(DISTINCT owner) FROM api_key WHERE owner != 'admin'").fetchone()[
                0
            ]
            people = connection.execute("SELECT count(*) FROM person WHERE removed_at IS NULL").fetchone()[0]
    except sqlite3.Error:
        # What is wrong with a database, its own check says.
        return
    if not budgets and max(owners, people) > 1:
        yield Finding("budgets-none", "Several people share the box, and no budget is set.")


def _in_force(situation: Situation) -> Iterator[Finding]:
    release, settings = up.is_outdated(situation.home, situation.told)
    if release:
        yield Finding("release-differs", "What runs was started from another release than this one.")
    if settings:
        yield Finding("settings-changed", "The settings have changed since the box was started.")


CHECK = Check("settings", "The settings are safe, and in force.", look)
