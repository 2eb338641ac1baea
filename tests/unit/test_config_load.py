"""The settings file: read, or refused by file, line, key and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.config.lines import line_of
from appliance.config.load import load
from appliance.config.settings import Settings
from appliance.errors import WRONG_USE, ApplianceError
from appliance.units import GIB, MIB


def loaded(folder: Path, text: str) -> Settings:
    """The settings of a file with this text."""
    file = folder / "appliance.toml"
    file.write_text(text)
    return load(file)


def refused(folder: Path, text: str | bytes) -> ApplianceError:
    """The error for a file with this text."""
    file = folder / "appliance.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ApplianceError) as caught:
        load(file)
    assert str(file) in caught.value.sentence
    assert caught.value.kind.exit == WRONG_USE
    return caught.value


def test_no_file_and_an_empty_file_mean_every_default(tmp_path: Path) -> None:
    assert load(tmp_path / "nowhere.toml") == loaded(tmp_path, "") == Settings()
    assert (Settings().gateway.host, Settings().gateway.port) == ("127.0.0.1", 8080)
    assert list(Settings().engines) == ["chat"]


def test_a_setting_in_the_file_wins_and_leaves_the_others(tmp_path: Path) -> None:
    found = loaded(tmp_path, "[gateway]\nport = 9000\n[engines.chat]\nslots = 2\n")
    assert (found.gateway.port, found.gateway.engine_wait_s) == (9000, 10.0)
    assert (found.engines["chat"].slots, found.engines["chat"].context) == (2, 8192)


@pytest.mark.parametrize(
    ("size", "held"), [('"8 MiB"', 8 * MIB), ('"1 GiB"', GIB), ("1024", 1024), ('"2.5 KiB"', 2560)]
)
def test_a_size_is_bytes_or_a_number_with_its_unit(tmp_path: Path, size: str, held: int) -> None:
    assert loaded(tmp_path, f"[gateway]\nmax_body = {size}\n").gateway.max_body == held


@pytest.mark.parametrize(
    ("text", "name", "line", "hint"),
    [
        ("[gateway]\n\nprot = 1\n", "gateway.prot", 3, "Did you mean 'port'?"),
        ("# head\n[gatway]\nport = 1\n", "gatway", 2, "Did you mean 'gateway'?"),
        ("zzz = 1\n", "zzz", 1, "Known here: gateway, engines"),
        ("[engines.chat]\ncontxt = 1\n", "engines.chat.contxt", 2, "Did you mean 'context'?"),
        ("[engines.chta]\nslots = 1\n", "engines.chta", 1, "Did you mean 'chat'?"),
        ("[gateway]\nport.number = 1\n", "gateway.port", None, ""),
        ('[gateway]\n"a b" = 1\n', "gateway.a b", 2, "Known here: host, port"),
    ],
)
def test_a_key_that_does_not_exist_stops_the_start_by_line_and_name(
    tmp_path: Path, text: str, name: str, line: int | None, hint: str
) -> None:
    error = refused(tmp_path, text)
    assert f"'{name}'" in error.sentence
    if line:
        assert (error.code, f"line {line}:" in error.sentence) == ("config-unknown-key", True)
        assert error.hint.startswith(hint)


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        ("[gateway]\nport = 0\n", "gateway.port", 2),
        ("[gateway]\nport = 65536\n", "gateway.port", 2),
        ('[gateway]\nhost = "x"\nport = "http"\n', "gateway.port", 3),
        ("gateway.port = 1.5\n", "gateway.port", 1),
        ('[gateway]\nmax_body = "8 MB"\n', "gateway.max_body", 2),
        ('[gateway]\nmax_body = "1023 B"\n', "gateway.max_body", 2),
        (f'[gateway]\nmax_body = "{"9" * 400} GiB"\n', "gateway.max_body", 2),
        ("[gateway]\nengine_wait_s = nan\n", "gateway.engine_wait_s", 2),
        ("[gateway]\nengine_wait_s = inf\n", "gateway.engine_wait_s", 2),
        ("[gateway]\nrequests_at_once = -1\n", "gateway.requests_at_once", 2),
        ("[engines.chat]\nslots = 10000000000000000000000000\n", "engines.chat.slots", 2),
        ('[engines.chat]\nmodel = ""\n', "engines.chat.model", 2),
        ('[engines.chat]\nmodel = "m"\nurl = "ftp://x"\n', "engines.chat.url", 3),
        ("gateway = 3\n", "gateway", 1),
    ],
)
def test_a_value_that_cannot_be_stops_the_start_by_line_and_name(
    tmp_path: Path, text: str, name: str, line: int
) -> None:
    error = refused(tmp_path, text)
    assert error.code == "config-bad-value"
    assert f"line {line}: '{name}' cannot be " in error.sentence
    assert error.sentence.endswith(".")


def test_engines_have_roles_and_none_but_chat_is_there_unasked(tmp_path: Path) -> None:
    text = "".join(f"[engines.{role}]\n" for role in ("small", "embed", "rerank"))
    found = loaded(tmp_path, text + 'model = "r"\nkv = "q8_0"\n')
    assert list(found.engines) == ["small", "embed", "rerank"]
    assert (found.engines["rerank"].model, found.engines["rerank"].kv) == ("r", "q8_0")
    assert (found.engines["small"].model, found.engines["small"].kv) == (None, "f16")


@pytest.mark.parametrize("kv", ['"q4_0"', '"F16"', '""', "8"])
def test_caches_are_held_in_one_of_two_ways(tmp_path: Path, kv: str) -> None:
    error = refused(tmp_path, f"[engines.chat]\nkv = {kv}\n")
    assert error.code == "config-bad-value"
    assert "line 2: 'engines.chat.kv'" in error.sentence
    assert "'f16' or 'q8_0'" in error.sentence


@pytest.mark.parametrize(("role", "near"), [("embedd", "embed"), ("reranker", "rerank"), ("smal", "small")])
def test_a_role_that_does_not_exist_is_told_with_the_one_that_does(tmp_path: Path, role: str, near: str) -> None:
    error = refused(tmp_path, f"[engines.{role}]\nslots = 1\n")
    assert (error.code, error.hint) == ("config-unknown-key", f"Did you mean '{near}'?")


def test_an_engine_behind_a_url_needs_its_models_name(tmp_path: Path) -> None:
    error = refused(tmp_path, '[engines.chat]\nurl = "http://127.0.0.1:1/v1"\n')
    assert error.code == "config-bad-value"
    assert "line 1: 'engines.chat'" in error.sentence
    assert "needs `model`" in error.sentence


def test_a_key_file_without_a_url_is_a_mistake(tmp_path: Path) -> None:
    error = refused(tmp_path, '[engines.chat]\napi_key_file = "/k"\n')
    assert "belongs to an engine with `url`" in error.sentence


@pytest.mark.parametrize("text", ["[gateway", "port = \n", "a = 1\na = 2\n", b"\xff\xfe", b"a = '\xe9'"])
def test_what_is_not_toml_is_refused(tmp_path: Path, text: str | bytes) -> None:
    assert refused(tmp_path, text).code == "config-unreadable"


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError) as caught:
        load(tmp_path)
    assert caught.value.code == "config-unreadable"


def test_a_line_is_found_by_its_dotted_key_however_it_is_written() -> None:
    text = 'a = 1\n[ gateway ]\n# port = 0\n"port" = 1\n[engines."chat"]\nslots=2\n'
    assert line_of(text, ["a"]) == 1
    assert line_of(text, ["gateway", "port"]) == 4
    assert line_of(text, ["engines", "chat", "slots"]) == 6
    assert line_of(text, ["engines", "chat"]) == 5
    assert line_of(text, ["gateway", "host"]) == 2
    assert line_of(text, ["nowhere"]) is None


def test_a_line_is_found_where_keys_hold_dots_and_tables_stand_in_a_line() -> None:
    text = '["a.b"]\nx = 1\n["a.b".files."q4.1"]\nbase = { revision = 1 }\n'
    assert line_of(text, ["a.b", "x"]) == 2
    assert line_of(text, ["a.b", "files", "q4.1", "size"]) == 3
    assert line_of(text, ["a.b", "files", "q4.1", "base", "revision"]) == 4
    assert line_of(text, ["a", "b"]) is None
