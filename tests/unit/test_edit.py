"""Values written into the settings file: they are there, and all else is as the admin wrote it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.config.load import load
from appliance.control.edit import check_writable, set_engine
from appliance.errors import WRONG_USE, ApplianceError

CHOICE: dict[str, str | int] = {"model": "m", "slots": 4}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the settings are to be."""
    return tmp_path / "appliance.toml"


def changed(file: Path, before: str) -> str:
    """A file's text once the choice is in it, which must be what is read from it."""
    file.write_bytes(before.encode())
    was = load(file)
    set_engine(file, "chat", CHOICE)
    now = load(file)
    assert (now.engines["chat"].model, now.engines["chat"].slots) == ("m", 4)
    assert now.gateway == was.gateway
    assert {role: one for role, one in was.engines.items() if role != "chat"}.items() <= now.engines.items()
    return file.read_bytes().decode()


def refused(file: Path, role: str = "chat", values: dict[str, str | int] | None = None) -> ApplianceError:
    """The error of a change that cannot be made, after which everything is as before."""
    before = file.read_bytes() if file.is_file() else None
    with pytest.raises(ApplianceError) as caught:
        set_engine(file, role, values or CHOICE)
    assert str(file) in caught.value.sentence
    assert caught.value.kind.exit == WRONG_USE
    assert (file.read_bytes() if file.is_file() else None) == before
    assert list(file.parent.glob(".*")) == [], "no temporary file is left"
    return caught.value


def test_comments_and_order_survive(file: Path) -> None:
    before = (
        "# Ours.\n[gateway]\nport = 8080  # do not change\n\n# The big one.\n[engines.chat] # on the card\n"
        'slots = 2 # four people\ncontext = 4096\n\n[engines.small]\nmodel = "s"\n# the end\n'
    )
    after = changed(file, before)
    assert after.splitlines() == [
        "# Ours.", "[gateway]", "port = 8080  # do not change", "", "# The big one.",
        "[engines.chat] # on the card", "slots = 4 # four people", "context = 4096", 'model = "m"', "",
        "[engines.small]", 'model = "s"', "# the end",
    ]  # fmt: skip


def test_a_missing_file_and_its_folder_are_made(tmp_path: Path) -> None:
    file = tmp_path / "etc" / "deep" / "appliance.toml"
    set_engine(file, "chat", CHOICE)
    assert file.read_text() == '[engines.chat]\nmodel = "m"\nslots = 4\n'
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "before",
    [
        "[gateway]\nport = 1\n",
        "[gateway]\nport = 1",
        '[engines.small]\nmodel = "s"\n\n[gateway]\nport = 1\n',
        "[engines]\n[engines.small]\nslots = 1\n",
        "[engines.small]\nslots = 1\n[gateway]\nport = 1\n[engines.embed]\nslots = 1\n",
        "engines.small.slots = 1\n[gateway]\nport = 1\n",
        "[engines]\nsmall.slots = 1\n",
    ],
)
def test_a_role_without_a_table_gets_one_and_no_line_is_lost(file: Path, before: str) -> None:
    after = changed(file, before)
    assert [line for line in after.splitlines() if line in before.splitlines()] == before.splitlines()
    assert '[engines.chat]\nmodel = "m"\nslots = 4\n' in after


def test_dotted_keys_stay_dotted(file: Path) -> None:
    assert changed(file, "engines.chat.slots = 2 # x\n\n[gateway]\nport = 1\n").splitlines() == [
        "engines.chat.slots = 4 # x", 'engines.chat.model = "m"', "", "[gateway]", "port = 1",
    ]  # fmt: skip
    within = changed(file, "[engines]\nchat.slots = 2\nsmall.slots = 1\n")
    assert within.splitlines() == ["[engines]", "chat.slots = 4", 'chat.model = "m"', "small.slots = 1"]


def test_a_table_in_a_line_stays_in_its_line(file: Path) -> None:
    first, second, *_ = changed(file, "[engines]\nchat = { slots = 2 } # x\n[gateway]\nport = 1\n").splitlines()
    assert first == "[engines]"
    assert second.startswith("chat = { slots = 4")
    assert second.endswith("# x")


def test_a_role_cannot_be_put_into_a_line_of_tables_and_the_words_to_write_are_told(file: Path) -> None:
    file.write_text("engines = { small = { slots = 2 } }\n")
    error = refused(file)
    assert error.code == "config-unreadable"
    assert "[engines.chat]: model = 'm', slots = 4" in error.hint


@pytest.mark.parametrize("before", ["engines = 3\n", "[engines]\nchat = 3\n", "[[engines]]\nchat = 1\n"])
def test_engines_that_are_no_tables_are_told_as_at_a_start(file: Path, before: str) -> None:
    file.write_text(before)
    assert refused(file).code == "config-bad-value"


@pytest.mark.parametrize("before", [b"[engines\n", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_what_is_not_toml_is_left_alone(file: Path, before: bytes) -> None:
    file.write_bytes(before)
    assert refused(file).code == "config-unreadable"


@pytest.mark.parametrize(
    ("values", "code"),
    [({"slots": 0}, "config-bad-value"), ({"kv": "q4_0"}, "config-bad-value"), ({"slot": 1}, "config-unknown-key")],
)
def test_a_value_that_the_settings_refuse_changes_nothing(file: Path, values: dict[str, str | int], code: str) -> None:
    file.write_text("[engines.chat]\nslots = 2\n")
    assert refused(file, values={"model": "m", **values}).code == code
    assert refused(file.with_name("missing.toml"), values=values).code == code


def test_a_role_that_does_not_exist_changes_nothing(file: Path) -> None:
    assert refused(file, "draw").code == "config-unknown-key"


@pytest.mark.parametrize("below", ["appliance.toml", "etc/appliance.toml"])
def test_a_place_below_a_file_is_refused_before_and_after_the_work(tmp_path: Path, below: str) -> None:
    (tmp_path / "plain").touch()
    file = tmp_path / "plain" / below
    with pytest.raises(ApplianceError) as caught:
        check_writable(file)
    assert caught.value.code == refused_below(file).code == "config-unreadable"


def refused_below(file: Path) -> ApplianceError:
    """The error of a change of a file that cannot be there."""
    with pytest.raises(ApplianceError) as caught:
        set_engine(file, "chat", CHOICE)
    return caught.value


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(ApplianceError, match="cannot be written"):
        check_writable(tmp_path / "appliance.toml")
    tmp_path.chmod(0o755)


def test_a_folder_that_can_be_written_is_fit_even_before_it_is_there(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b" / "appliance.toml")
    assert list(tmp_path.iterdir()) == []


def test_a_symlinked_file_stays_a_symlink_and_its_target_is_changed(file: Path, tmp_path: Path) -> None:
    real = tmp_path / "kept" / "real.toml"
    real.parent.mkdir()
    real.write_text("[gateway]\nport = 1\n")
    file.symlink_to(real)
    set_engine(file, "chat", CHOICE)
    assert file.is_symlink()
    assert load(real) == load(file)
    assert load(real).engines["chat"].model == "m"


def test_rights_survive_and_for_root_the_owner_too(file: Path) -> None:
    file.write_text("")
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 1234, 5678)
    before = file.stat()
    set_engine(file, "chat", CHOICE)
    after = file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_line_ends_and_letters_are_kept_as_they_are(file: Path) -> None:
    before = "# M\u00fcller\r\n[gateway]\r\nport = 1\r\n"
    assert changed(file, before).startswith(before)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(
    pieces=st.permutations(
        [
            "[gateway]\nport = 1 # p\n",
            "[engines.small]\n# s\nslots = 1\n",
            "\n# alone\n",
            "[engines.embed]\nslots = 2\n\n",
            "[engines.chat]\nslots = 3\n",
        ]
    ),
    count=st.integers(0, 5),
    twice=st.booleans(),
)
def test_whatever_tables_there_are_only_the_role_changes(
    file: Path, pieces: list[str], count: int, twice: bool
) -> None:
    before = "".join(pieces[:count])
    after = changed(file, before)
    if twice:
        assert changed(file, after) == after
    kept = [line for line in before.splitlines() if line != "slots = 3"]
    assert [line for line in after.splitlines() if line in kept and line] == [line for line in kept if line]
