"""A report for support holds what it is for, and nothing of what people type, keep secret or are called."""

from __future__ import annotations

import gzip
import json
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.accounts import people_tables, sign_on_tables, tables
from appliance.config.load import load
from appliance.config.paths import Home
from appliance.doctor.blanked import SET, blanked
from appliance.doctor.counts import TABLES
from appliance.doctor.known_lines import EVENTS, SAYINGS, read
from appliance.doctor.report import NAMES, contents
from appliance.doctor.run import examine
from appliance.doctor.situation import look_around
from appliance.store import schema
from tests.contract.tree import modules
from tests.support.box import Box

# Stands wherever a person or a program can put a text.
CANARY = "zqxCanary"
LOGS = (
    "{c} sat here\n"
    '{{"time": "2026-01-02T03:04:05.678Z", "event": "refused", "code": "key-refused", "path": "/{c}", "who": "{c}"}}\n'
    '{{"time": "{c}", "event": "{c}", "code": "{c}", "error": "{c}", "serial": "{c}"}}\n'
    '{{"time": "2026-01-02T03:04:05.678Z", "event": "bug", "request_id": "{c}", "trace": "Traceback\\n'
    '  File \\"/home/{c}/lib/appliance/gateway/call.py\\", line 12, in {c}\\n    say({c})\\nKeyError: {c}\\n"}}\n'
    '  File "/srv/appliance/{c}.py", line 3, in x\n'
    "{c}Error: {c}\n"
    "srv    load_model: failed to load model '/models/{c}.gguf'\n"
    "slot print_timing: id  0 | task {c} | prompt eval time =     190.80 ms /    32 tokens ( {c}\n"
    "2026-01-02 03:04:05.678 | ERROR    | open_webui.main:chat - {c}\n"
    '{{"a": ["{c}", \n'
)
SETTINGS = """
[engines.chat]
url = "http://{c}.example.com/v1"
model = "{c}"
api_key_file = "/etc/{c}"
[engines.small]
model = "smollm2-135m-instruct"
context = 2048
[identity]
enabled = true
[identity.providers.{low}]
issuer = "https://{c}.example.com"
client_id = "{c}"
client_secret_file = "/etc/{c}"
domains = ["{low}.com"]
groups = {{ "{c}" = "{low}" }}
[identity.directory]
url = "ldaps://{low}"
base = "{c}"
bind_dn = "{c}"
bind_password_file = "/{c}"
domains = ["{low}.com"]
[cloud]
enabled = true
teams = ["{c}"]
local_only = ["user:{c}"]
monthly_cap = "200.00"
proxy = "http://{c}"
[cloud.providers.{low}]
url = "https://{c}.com/v1"
key_file = "/{c}"
[cloud.models.{c}]
provider = "{low}"
model = "{c}"
[mail]
server = "{c}"
sender = "{c}@{low}.com"
user = "{c}"
password_file = "/{c}"
security = "tls"
[lan]
enabled = false
host = "{low}.example.com"
[backup]
to = "/media/{c}"
[[prices]]
model = "{c}"
from = 2026-01-01
input = "1"
output = "2"
"""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    """A box with the canary in every place that holds texts."""
    made = Box(tmp_path_factory.mktemp(f"report-{CANARY}"))
    made.key()
    made.configure(SETTINGS.format(c=CANARY, low=CANARY.lower()))
    load(made.config)
    home = Home(made.config, made.state)
    fill(home.database)
    for folder in (home.secrets, home.chat / "uploads", home.files, home.run, home.lan / CANARY, home.models):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CANARY).write_text(CANARY)
    for name in (*NAMES, CANARY):
        for ending in (".log", ".log.old"):
            (home.logs / f"{name}{ending}").write_text(LOGS.format(c=CANARY))
    for file in (home.signing_keys, home.chat_secrets, home.deployment, home.local_models, home.public_keys):
        file.write_text(f'{{"{CANARY}": "{CANARY}"}}')
    return made


def fill(database: Path) -> None:
    """A row in every table, with the canary in each column that takes a text."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        for table in (*TABLES,):
            columns = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
            values = [CANARY if "CHAR" in kind.upper() or kind == "TEXT" else 7 for _, _, kind, *_ in columns]
            connection.execute(f'INSERT OR IGNORE INTO "{table}" VALUES ({", ".join("?" * len(values))})', values)
        connection.execute(f"CREATE TABLE {CANARY} (text TEXT)")


@pytest.fixture(scope="module")
def bundle(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its report, as the command writes it."""
    file = tmp_path_factory.mktemp("out") / "report.tar.gz"
    said = box.document("report", str(file))
    assert said["file"] == str(file)
    assert said["bytes"] == file.stat().st_size
    return file


def members(file: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(file) as archive:
        for one in archive:
            opened = archive.extractfile(one)
            assert opened is not None
            yield one.name.removeprefix("appliance-report/"), opened.read()


def document(file: Path, name: str) -> Any:
    return json.loads(dict(members(file))[name])


def test_the_canary_is_nowhere_in_it(box: Box, bundle: Path) -> None:
    plain = gzip.decompress(bundle.read_bytes())
    for text in (CANARY, CANARY.lower(), box.key(), "anna", str(box.folder), str(Path.home())):
        assert text.encode() not in plain, text
    assert CANARY.lower().encode() not in plain.lower()
    # The doctor itself tells an admin of these.
    assert CANARY in box.run("doctor", "--json", code=1).stdout


def test_it_is_for_its_owner_alone_and_says_what_it_is(bundle: Path) -> None:
    assert bundle.stat().st_mode & 0o777 == 0o600
    with tarfile.open(bundle) as archive:
        assert {one.name.partition("/")[0] for one in archive} == {"appliance-report"}
        assert {(one.uid, one.uname, one.mode) for one in archive} == {(0, "", 0o600)}
    assert "Prompts, answers, secrets" in dict(members(bundle))["README.txt"].decode()


def test_it_holds_what_support_needs(bundle: Path) -> None:
    assert document(bundle, "about.json")["settings_readable"]
    assert document(bundle, "hardware.json")["memory"] > 0
    settings = document(bundle, "settings.json")
    assert settings["engines"]["small"]["model"] == "smollm2-135m-instruct"
    assert settings["engines"]["chat"]["model"] == SET
    assert settings["mail"]["security"] == "tls"
    assert list(settings["cloud"]["providers"]) == ["(1)"]
    found = {one["id"]: one for one in document(bundle, "findings.json")["findings"]}
    assert {"not-running", "secret-open", "secret-unusable"} <= found.keys()
    counts = document(bundle, "counts.json")
    assert counts["rows"]["person"] == 1
    assert counts["acts"] == {"key-created": 1, "other": 1}
    assert counts["state"]["logs"]["files"] == 2 * len(NAMES) + 2


def test_of_logs_it_keeps_lines_of_known_forms(bundle: Path) -> None:
    log = document(bundle, "logs.json")["serve.log"]
    assert log["lines"] == 10
    assert log["levels"] == {"error": 1}
    assert log["kept"] == [
        {"event": "refused", "time": "2026-01-02T03:04:05.678Z", "code": "key-refused"},
        {
            "event": "bug",
            "time": "2026-01-02T03:04:05.678Z",
            "frames": ["appliance/gateway/call.py:12"],
            "failure": "KeyError",
        },
        {"says": "failed to load model", "numbers": []},
        {"says": "prompt eval time = N ms / N tokens", "numbers": [190.8, 32.0]},
    ]


def test_a_file_that_cannot_be_written_is_told(box: Box) -> None:
    assert box.document("report", "/nowhere/report.tar.gz", code=2)["error"]["code"] == "wrong-use"


def test_a_box_that_cannot_be_read_has_a_report_too(tmp_path: Path) -> None:
    home = Home(tmp_path / "appliance.toml", tmp_path / "var")
    home.config.write_text(f'{CANARY} = "{CANARY}"')
    home.prepare()
    home.database.write_bytes(CANARY.encode() * 500)
    found = dict(contents(look_around(home), examine(home)))
    assert not any(CANARY.encode() in data for data in found.values())
    assert "settings.json" not in found
    about = json.loads(found["about.json"])
    assert (about["database"], about["settings_readable"]) == ("damaged", False)


def test_a_text_in_the_settings_stays_only_where_it_is_one_of_ours(box: Box) -> None:
    found = blanked(load(box.config), known=())
    assert found["gateway"]["host"] == "127.0.0.1"
    assert found["money"]["currency"] == "EUR"
    assert found["backup"]["to"] == SET
    assert found["engines"]["(2)"]["context"] == 2048


def test_the_tables_are_all_that_there_are(tmp_path: Path) -> None:
    assert tables and people_tables and sign_on_tables
    schema.ensure(tmp_path / "new.db")
    with closing(schema.read_only(tmp_path / "new.db")) as connection:
        every = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert every - {"alembic_version"} == set(TABLES)


def test_every_event_that_is_noted_is_known() -> None:
    """A new one would be left out of reports without anybody noticing."""
    import ast

    noted = {
        node.args[0].value
        for name, tree in modules("appliance").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "note"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert noted - EVENTS == set()


def test_sayings_hold_nothing_but_words_and_numbers() -> None:
    for saying, pattern in SAYINGS:
        match = pattern.fullmatch(
            " ".join("17" if word == "N" else word for word in saying.replace(",", " ,").split(" ")).replace(" ,", ",")
        )
        assert match is not None, saying
        assert match.groups() == ("17",) * saying.replace(",", " ").split(" ").count("N"), saying


def test_a_line_of_another_form_is_counted_and_left_out(tmp_path: Path) -> None:
    log = tmp_path / "chat.log"
    log.write_text(f"prompt: {CANARY}\nstdin {CANARY}\n")
    assert read(log) == {"lines": 2, "kept": [], "levels": {}}
