"""What the doctor finds in settings and in what is kept: secrets, databases, books, backups, the chat page."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.accounts import chat_secrets
from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.config.load import load
from appliance.config.paths import Home
from appliance.control.up import note_settings
from appliance.doctor.checks import (
    audit,
    backups,
    books,
    certificates,
    chat_page,
    database,
    owner,
    permissions,
    secrets,
    settings,
)
from appliance.doctor.run import examine
from appliance.lan import authority
from appliance.store import schema
from appliance.store.sessions import session
from appliance.units import now_us
from tests.support.doctored import (
    AS_ROOT,
    CALL,
    DAY_US,
    LAN,
    configure,
    copied,
    found,
    holding,
    ids,
    supervised,
    used,
    write,
)
from tests.support.people import owner as owner_of
from tests.support.people import somebody


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box that was used."""
    return used(tmp_path_factory.mktemp("pattern"))


@pytest.fixture
def home(tmp_path: Path, pattern: Path) -> Home:
    """Such a box of the test's own."""
    return copied(pattern, tmp_path)


# Settings.


def test_settings_that_cannot_be_read(home: Home) -> None:
    configure(home, 'gate = "x"')
    (one,) = found(settings.CHECK, home)
    assert one.id == "settings-unreadable"
    assert "gate" in one.what


@pytest.mark.parametrize(
    ("gateway", "more", "expected"),
    [
        ('host = "0.0.0.0"', "", {"settings-open-to-network"}),
        ('host = "0.0.0.0"\ninsecure_lan = true', "", {"settings-unencrypted"}),
        (
            "",
            '[cloud]\nenabled = true\nteams = ["*"]\nmonthly_cap = "5"\n[cloud.providers.p]\nurl = "https://p.test/v1"\n'
            '[cloud.models.big]\nprovider = "p"\nmodel = "big-1"',
            {"cloud-for-everybody"},
        ),
    ],
)
def test_settings_that_are_not_safe(home: Home, gateway: str, more: str, expected: set[str]) -> None:
    configure(home, more, gateway)
    assert ids(settings.CHECK, home) == expected


def test_several_people_without_a_budget(home: Home) -> None:
    with session(home.database) as opened:
        somebody(opened, "anna")
        somebody(opened, "bert")
    assert ids(settings.CHECK, home) == {"budgets-none"}
    write(home, ("INSERT INTO budget VALUES ('box', 'box', 'tokens', 'day', 5, 1)", ()))
    assert ids(settings.CHECK, home) == set()


def test_nobody_owns_a_box_that_people_sign_in_to(home: Home) -> None:
    assert ids(owner.CHECK, home) == set()
    configure(home, "[identity]\nenabled = true")
    assert ids(owner.CHECK, home) == {"owner-missing"}
    with session(home.database) as opened:
        owner_of(opened, "olga")
    assert ids(owner.CHECK, home) == set()


def test_what_runs_is_not_what_is_set_or_installed(home: Home) -> None:
    with supervised(home):
        note_settings(home, load(home.config))
        assert ids(settings.CHECK, home) == set()
        configure(home, '[[prices]]\nmodel = "m"\nfrom = 2026-01-01\ninput = "1"')
        assert ids(settings.CHECK, home) == {"settings-changed"}
        note_settings(home, load(home.config))
        began = home.run / "settings.json"
        began.write_text(json.dumps({**json.loads(began.read_text()), "release": "/somewhere"}))
        assert ids(settings.CHECK, home) == {"release-differs"}


# What is kept.


def test_secrets_and_folders_that_others_can_read_are_found_and_mended(home: Home, tmp_path: Path) -> None:
    named = tmp_path / "mail-password"
    named.write_text("secret")
    configure(home, f'[mail]\nserver = "m.test"\nsender = "a@b.test"\nuser = "a"\npassword_file = "{named}"')
    (home.secrets / "cli.key").write_text("apl-1")
    for path, mode in ((home.state, 0o755), (home.secrets / "cli.key", 0o644), (home.audit_key, 0o640), (named, 0o604)):
        path.chmod(mode)
    broken = {(one.id, one.about) for one in found(permissions.CHECK, home)}
    assert broken == {
        ("folder-open", str(home.state)),
        *(("secret-open", str(file)) for file in (home.secrets / "cli.key", home.audit_key, named)),
    }
    result = examine(home, fix=True, checks=(permissions.CHECK,))
    assert (result.findings, len(result.mended)) == ([], 4)
    assert named.stat().st_mode & 0o777 == 0o600
    assert home.state.stat().st_mode & 0o777 == 0o700
    assert named.read_text() == "secret"


def test_without_fix_nothing_is_mended_and_what_cannot_be_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.audit_key.chmod(0o644)
    assert examine(home, checks=(permissions.CHECK,)).mended == ()
    assert home.audit_key.stat().st_mode & 0o777 == 0o644

    def refuses(*_: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "chmod", refuses)
    result = examine(home, fix=True, checks=(permissions.CHECK,))
    assert [finding.id for _, finding in result.findings] == ["secret-open"]
    assert result.mended[0].startswith("Not mended:")


@AS_ROOT
def test_a_secret_of_another_account(home: Home) -> None:
    os.chown(home.audit_key, 65534, 65534)
    assert ids(permissions.CHECK, home) == {"file-of-somebody-else"}


def test_secrets_that_cannot_be_used(home: Home) -> None:
    home.signing_keys.write_text("[]")
    home.chat_secrets.write_text('{"client": "short"}')
    assert [(one.id, one.about) for one in found(secrets.CHECK, home)] == [
        ("secret-unusable", "signing-keys"),
        ("secret-unusable", "chat-page"),
    ]


def flipped(file: Path) -> None:
    """The file with the pages of its tables spoiled, as by a disk that is going."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(file.read_bytes())
    for place in range(4096, len(data), 4096):
        data[place] ^= 0x5A
    file.write_bytes(bytes(data))


def test_a_damaged_database_is_found_and_stops_no_other_check(home: Home) -> None:
    flipped(home.database)
    (home.state / "chat").mkdir(mode=0o700)
    (home.state / "chat/webui.db").write_bytes(b"this is no database at all" * 100)
    of_pages = [one for one in found(database.CHECK, home) if one.id == "database-damaged"]
    assert {one.about for one in of_pages} == {"appliance.db", "chat/webui.db"}
    result = examine(home)
    assert "database-damaged" in {finding.id for _, finding in result.findings}
    assert "check-failed" not in {finding.id for _, finding in result.findings}


@pytest.mark.parametrize(("version", "id"), [("9999", "database-newer"), ("0005", "database-older")])
def test_a_database_of_another_release_is_left_as_it_is(home: Home, version: str, id: str) -> None:
    write(home, ("UPDATE alembic_version SET version_num = ?", (version,)))
    result = examine(home)
    assert id in {finding.id for _, finding in result.findings}
    with closing(schema.read_only(home.database)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (version,)


def test_rows_that_refer_to_nothing(home: Home) -> None:
    write(home, ("INSERT INTO membership VALUES ('nobody', 'nowhere', '')", ()))
    (one,) = [one for one in found(database.CHECK, home) if one.about == "membership"]
    assert one.id == "database-references"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE usage_day SET tokens = tokens + 1 WHERE day = (SELECT max(day) FROM usage_day)",
        "DELETE FROM usage_day WHERE day = (SELECT max(day) FROM usage_day)",
        "UPDATE call SET cost = cost + 1 WHERE request_id = 'r0'",
        "DELETE FROM call WHERE request_id = 'r0'",
    ],
)
def test_books_that_do_not_agree(home: Home, statement: str) -> None:
    assert ids(books.CHECK, home) == set()
    write(home, (statement, ()))
    (one,) = found(books.CHECK, home)
    assert (one.id, one.facts["days"]) == ("books-differ", 1)


def test_calls_that_stay_open(home: Home) -> None:
    write(home, (CALL, ("open", now_us() - DAY_US)))
    assert ids(books.CHECK, home) == {"calls-open"}
    with holding(home.run / "serve.lock"):
        assert ids(books.CHECK, home) == {"calls-open-long"}
        write(home, ("UPDATE call SET started_at = ? WHERE request_id = 'open'", (now_us(),)))
        assert ids(books.CHECK, home) == set(), "somebody is being answered"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda home: write(home, ("UPDATE audit_event SET actor = 'nobody'", ())),
        lambda home: write(home, ("DELETE FROM audit_event", ())),
        lambda home: home.audit_anchor.unlink(),
    ],
)
def test_an_audit_log_that_was_tampered_with(home: Home, spoil: Callable[[Home], None]) -> None:
    assert ids(audit.CHECK, home) == set()
    spoil(home)
    assert ids(audit.CHECK, home) == {"audit-damaged"}


# Certificates.


def test_certificates_that_end_have_ended_or_cannot_be_read(home: Home) -> None:
    configure(home, LAN)
    assert ids(certificates.CHECK, home) == set(), "there is none yet"
    mine = authority.ensure(home, "box.example.test")
    assert ids(certificates.CHECK, home) == set()
    end = int(mine.until.timestamp() * 1e6)
    (soon,) = found(certificates.CHECK, home, now=end - 30 * DAY_US)
    assert (soon.id, soon.facts) == ("certificate-ends-soon", {"days": 30})
    assert ids(certificates.CHECK, home, now=end) == {"certificate-ended"}
    authority.files(home, "box.example.test")[0].write_text("no certificate")
    assert ids(certificates.CHECK, home) == {"certificate-unreadable"}


def test_what_browsers_are_shown_was_not_renewed(home: Home) -> None:
    configure(home, LAN)
    authority.ensure(home, "box.example.test")
    folder = authority.folder(home, "box.example.test") / "caddy/certificates/local/box.example.test"
    folder.mkdir(parents=True)
    (folder / "box.example.test.crt").write_bytes(leaf(datetime.now(UTC) - timedelta(hours=1)))
    assert ids(certificates.CHECK, home) == set(), "while it is down nobody renews it"
    with supervised(home):
        assert ids(certificates.CHECK, home) == {"certificate-not-renewed"}


def leaf(until: datetime) -> bytes:
    """A certificate that is good until then."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "box.example.test")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(until - timedelta(days=1)).not_valid_after(until)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


# Backups.


def test_backups_that_are_missing_old_or_on_the_same_disk(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ids(backups.CHECK, home) == {"backups-not-set-up"}
    place = tmp_path / "place"
    configure(home, f'[backup]\nto = "{place}"')
    home.backup_key.write_text("words")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert ids(backups.CHECK, home) == {"backup-place-away", "backup-old"}
    place.mkdir()
    with acting(home) as acts:
        acts.note(Action.BACKED_UP, "1", bytes=1, added=1)
    assert ids(backups.CHECK, home) == {"backup-on-same-disk"}
    assert ids(backups.CHECK, home, now=now_us() + 3 * DAY_US) == {"backup-on-same-disk", "backup-old"}
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert ids(backups.CHECK, home) == {"backup-on-same-disk", "backup-program-missing"}


def test_what_a_backup_that_was_cut_off_has_left_is_found_and_removed(home: Home) -> None:
    stage = home.backup / "stage"
    (stage / "state").mkdir(parents=True, mode=0o700)
    with holding(home.backup / "lock"):
        assert "backup-leftover" not in ids(backups.CHECK, home), "it is being made"
    assert "backup-leftover" in ids(backups.CHECK, home)
    result = examine(home, fix=True, checks=(backups.CHECK,))
    assert result.mended == (f"{stage} is removed.",)
    assert not stage.exists()


# The chat page.

CHAT = "[identity]\nenabled = true\n[chat]\nenabled = true\n"


def test_a_chat_page_that_is_not_as_up_makes_it(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_CACHE", str(tmp_path / "cache"))
    configure(home, CHAT)
    assert ids(chat_page.CHECK, home) == {"chat-page-not-installed"}
    chat_secrets.ensure(home)
    with supervised(home):
        told = {"chat-page-not-registered", "chat-page-told-otherwise"}
        assert ids(chat_page.CHECK, home) - {"chat-page-not-installed"} == told
    (home.state / "chat").mkdir(mode=0o700)
    with closing(sqlite3.connect(home.chat / "webui.db")) as connection, connection:
        connection.execute("CREATE TABLE user (id TEXT, email TEXT, role TEXT)")
        connection.execute("INSERT INTO user VALUES ('1', 'built-in@chat-page.invalid', 'admin')")
    assert ids(chat_page.CHECK, home) == {"chat-page-not-installed"}
    with closing(sqlite3.connect(home.chat / "webui.db")) as connection, connection:
        connection.execute("INSERT INTO user VALUES ('2', 'eve@example.com', 'admin')")
    assert ids(chat_page.CHECK, home) == {"chat-page-not-installed", "chat-page-admin"}
