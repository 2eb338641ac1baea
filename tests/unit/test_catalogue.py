"""The catalogue: what is read, what is refused with line and key, and how the admin's own file is laid over it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.catalog.document import merge
from appliance.catalog.models import Catalogue, Family, HubFile, Model, parse, problems
from appliance.errors import WRONG_USE, ApplianceError

REVISION, SHA = "a" * 40, "b" * 64
SOUND = f"""\
["talk-3.5"]
title = "Talk 3.5"
role = "chat"
class = "7b"
licence = "MIT"
commercial = true
parameters = 8
context = 4096
layers = 4
heads = 8
kv_heads = [2, 2, 2, 1]
head_size = 64
window = 512
full_layers = 1
abilities = ["tools"]
quality = 50
quality_source = "A test."
base = {{ repository = "owner/talk", revision = "", template_sha256 = "" }}

["talk-3.5".files.q4_k_m]
source = "hf:owner/talk-GGUF@{REVISION}/talk-Q4_K_M.gguf"
size = 1000
sha256 = "{SHA}"
quantization = "Q4_K_M"
bits = 4

["talk-3.5".files.q8_0]
source = "hf:owner/talk-GGUF@/talk-Q8_0.gguf"
quantization = "Q8_0"
bits = 8

[eyes]
title = "Eyes"
role = "projector"
licence = "Gemma"
commercial = "conditional"
condition = "ask first"
goes_with = ["talk-3.5"]

[eyes.files.f16]
id = "eyes-of-talk"
source = "pypi:eyes==1.0"
archive_sha256 = "{SHA}"
member = "eyes/eyes.gguf"
size = 10
sha256 = "{SHA}"
quantization = "F16"
bits = 16
"""


def mistakes(text: str, local: str = "") -> list[str]:
    """What is said of a catalogue, a sentence for each mistake; `parse` refuses it too."""
    found = [str(problem) for problem in problems(text, local)]
    with pytest.raises(ApplianceError) as caught:
        parse(text, local)
    assert (caught.value.code, caught.value.kind.exit) == ("catalogue-bad", WRONG_USE)
    return found


def line(text: str) -> int:
    """The line of the sound catalogue that begins so."""
    return next(number for number, one in enumerate(SOUND.splitlines(), 1) if one.startswith(text))


def test_a_family_gives_its_facts_to_each_of_its_files() -> None:
    first, second, eyes = parse(SOUND).models
    assert [first.id, second.id, eyes.id] == ["talk-3.5-q4_k_m", "talk-3.5-q8_0", "eyes-of-talk"]
    assert first.family is second.family
    assert (first.title, first.role, first.licence, first.context, first.bits) == ("Talk 3.5", "chat", "MIT", 4096, 4)
    family = first.family
    assert (family.size_class, family.kv_heads, family.full_layers, family.abilities) == (
        "7b",
        (2, 2, 2, 1),
        1,
        ("tools",),
    )
    assert (family.base.repository, family.base.revision) == ("owner/talk", "")
    assert (eyes.family.condition, eyes.family.goes_with) == ("ask first", ("talk-3.5",))


def test_a_file_is_locked_when_revision_size_and_hash_are_known() -> None:
    first, second, eyes = parse(SOUND).models
    assert (first.is_locked, second.is_locked, eyes.is_locked) == (True, False, True)
    assert first.hub == HubFile("owner/talk-GGUF", REVISION, "talk-Q4_K_M.gguf")
    assert second.hub == HubFile("owner/talk-GGUF", "", "talk-Q8_0.gguf")
    assert eyes.hub is None


def test_without_a_word_on_full_layers_all_layers_are_full() -> None:
    assert parse(SOUND.replace("full_layers = 1\n", "")).models[0].family.full_layers == 4


def test_models_are_found_by_id_and_by_role() -> None:
    found = parse(SOUND)
    assert found.get("eyes-of-talk") in found.by_role("projector")
    assert [model.id for model in found.by_role("chat")] == ["talk-3.5-q4_k_m", "talk-3.5-q8_0"]
    with pytest.raises(ApplianceError, match="eyes-on-talk") as caught:
        found.get("eyes-on-talk")
    assert "Did you mean eyes-of-talk?" in caught.value.hint


def test_of_a_long_catalogue_only_the_first_ids_are_named() -> None:
    models = tuple(Model(f"m{number}", "", "chat", "", 1, "", 1, "", "") for number in range(9))
    with pytest.raises(ApplianceError) as caught:
        Catalogue(models).get("zzz")
    assert caught.value.hint == "The catalogue has: m0, m1, m2, m3, m4 and 4 more: `appliance models list --all`."


@pytest.mark.parametrize(
    ("heads", "kv_heads", "grouped"),
    [(8, 8, False), (8, 2, True), (8, (2, 8), False), (8, (2, 0), True), (0, 0, True), (0, 4, True)],
)
def test_a_model_whose_heads_share_nothing_needs_a_word_from_the_admin(
    heads: int, kv_heads: int | tuple[int, ...], grouped: bool
) -> None:
    family = Family("f", "F", "chat", "MIT", commercial=True, heads=heads, kv_heads=kv_heads)
    assert family.grouped_query is grouped
    model = Model("f-q4", "F", "chat", "MIT", 1, "", 1, "", "Q4", family=family)
    assert bool(model.needs_consent) is not grouped


def test_what_keeps_no_keys_and_values_needs_nobodys_word() -> None:
    family = Family("f", "F", "embed", "MIT", commercial=True, heads=8, kv_heads=8)
    assert not Model("f-q4", "F", "embed", "MIT", 1, "", 1, "", "Q4", family=family).needs_consent


CHANGES = [
    ('role = "chat"', 'role = "cook"', "role", "must be one of chat, small, embed, rerank, draft, projector"),
    ('class = "7b"', 'class = "8b"', "class", "must be one of trial, 4b, 7b, 13b, 30b"),
    ('class = "7b"\n', "", "class", "is missing"),
    ('quality_source = "A test."\n', "", "quality_source", "is missing"),
    ('title = "Talk 3.5"', 'title = ""', "title", "must be text"),
    ('title = "Talk 3.5"', "title = 3", "title", "must be text"),
    ('title = "Talk 3.5"', 'titel = "Talk 3.5"\ntitle = "T"', "titel", "is not known here; known are title, role"),
    ("commercial = true", 'commercial = "yes"', "commercial", 'must be true, false or "conditional"'),
    ("commercial = true", 'commercial = "conditional"', "condition", "is missing"),
    ("commercial = true", 'commercial = true\ncondition = "x"', "condition", 'belongs to commercial = "conditional"'),
    ("parameters = 8", "parameters = -8", "parameters", "must be a number above 0, in billions"),
    ("parameters = 8", "parameters = nan", "parameters", "must be a number above 0, in billions"),
    ("parameters = 8", "parameters = 8\nactive_parameters = 9", "active_parameters", "is more than all parameters"),
    ("context = 4096", "context = 0", "context", "must be a whole number from 1 up"),
    ("context = 4096", "context = true", "context", "must be a whole number from 1 up"),
    ("context = 4096\n", "", "context", "is missing"),
    ("layers = 4", "layers = 5", "kv_heads", "has 4 values for 5 layers"),
    ("heads = 8", "heads = 9", "kv_heads", "has 2, which does not divide the 9 heads"),
    ("kv_heads = [2, 2, 2, 1]", "kv_heads = 3", "kv_heads", "has 3, which does not divide the 8 heads"),
    ("kv_heads = [2, 2, 2, 1]", "kv_heads = [2, -1]", "kv_heads", "must be a whole number, or a list"),
    ("head_size = 64", "head_size = [64, 64, 64, 0]", "head_size", "must be a whole number, or a list"),
    ("window = 512", "window = -1", "window", "must be a whole number from 0 up"),
    ("full_layers = 1", "full_layers = 5", "full_layers", "is more than the 4 layers"),
    ('["tools"]', '["cooking"]', "abilities", "may hold only tools, thinking, vision"),
    ('["tools"]', "[[]]", "abilities", "may hold only tools, thinking, vision"),
    ("quality = 50", "quality = 101", "quality", "must be a whole number from 1 to 100"),
    ('revision = ""', 'revision = "main"', "base.revision", "must be 40 hexadecimal digits in lower case"),
    ('template_sha256 = ""', "hash = 1", "base.hash", "is not known here; known are repository, revision"),
    ("size = 1000", "size = 0", "files.q4_k_m.size", "must be a whole number from 1 up"),
    (f'sha256 = "{SHA}"', 'sha256 = "B"', "files.q4_k_m.sha256", "must be 64 hexadecimal digits in lower case"),
    (REVISION, "main", "files.q4_k_m.source", "has a revision that is not 40 hexadecimal digits"),
    (
        "hf:owner",
        "http:owner",
        "files.q4_k_m.source",
        "must be hf:OWNER/REPOSITORY@REVISION/FILE, pypi:",
    ),
    ("size = 1000", 'size = 1\nmember = "m"', "files.q4_k_m.member", "belongs to a file from an archive (pypi:)"),
    (
        "size = 1000",
        'size = 1\nconvert = "all-minilm-l6-v2"',
        "files.q4_k_m.convert",
        "belongs to a file from an archive (pypi:)",
    ),
    ("bits = 4\n", "", "files.q4_k_m.bits", "is missing"),
]


@pytest.mark.parametrize(("old", "new", "key", "said"), CHANGES)
def test_a_mistake_is_told_with_its_line_and_key(old: str, new: str, key: str, said: str) -> None:
    text = SOUND.replace(old, new, 1)
    found = problems(text)
    assert mistakes(text) == [str(one) for one in found]
    assert [one.key for one in found] == [f"talk-3.5.{key}"]
    assert found[0].sentence.startswith(said)
    lines = text.splitlines()
    last = key.rpartition(".")[2]
    at = lines[(found[0].line or 0) - 1]
    assert last in at or at == ('["talk-3.5".files.q4_k_m]' if key.startswith("files") else '["talk-3.5"]')


@pytest.mark.parametrize(
    ("old", "new", "key", "said"),
    [
        ('goes_with = ["talk-3.5"]\n', "", "eyes.goes_with", "is missing"),
        ('goes_with = ["talk-3.5"]', 'goes_with = ["talk"]', "eyes.goes_with", "names 'talk', and no other family"),
        ('goes_with = ["talk-3.5"]', 'goes_with = ["eyes"]', "eyes.goes_with", "names 'eyes', and no other family"),
        ('goes_with = ["talk-3.5"]', 'goes_with = "talk-3.5"', "eyes.goes_with", "must be a list of texts"),
        (
            'id = "eyes-of-talk"',
            'id = "talk-3.5-q8_0"',
            "eyes.files.f16",
            "has the id 'talk-3.5-q8_0', which a",
        ),
        ('id = "eyes-of-talk"', 'id = "Eyes"', "eyes.files.f16.id", "must be an id of small letters"),
        ('member = "eyes/eyes.gguf"\n', "", "eyes.files.f16.member", "is missing"),
        ("bits = 16\n", 'bits = 16\nconvert = "x"\n', "eyes.files.f16.convert", "must be one of all-minilm-l6-v2"),
        (f'archive_sha256 = "{SHA}"', 'archive_sha256 = ""', "eyes.files.f16.archive_sha256", "must not be empty"),
        ("[eyes]\n", "[eyes]\nquality = 5\n", "eyes.quality_source", "is missing"),
    ],
)
def test_so_is_one_between_tables_or_of_an_archive(old: str, new: str, key: str, said: str) -> None:
    (found,) = problems(SOUND.replace(old, new, 1))
    assert (found.key, found.line is not None) == (key, True)
    assert found.sentence.startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "models.toml, line 1: 'x' must be a table"),
        ("[Big]", "models.toml, line 1: 'Big' must be an id of small letters, digits, '.', '_' and '-'"),
        ("[a\n", "models.toml, line 1: this is not TOML: "),
        ("[a]\n[a]\n", "models.toml, line 2: this is not TOML: "),
        (f"a = {'1' * 5000}", "models.toml: this is not TOML: "),
        ("[a]\nfiles = {}", "models.toml, line 2: 'a.files' must hold at least one file"),
        ("[a]\nfiles = 1", "models.toml, line 2: 'a.files' must be a table"),
        ("[a.files]\nq4 = 1", "models.toml, line 2: 'a.files.q4' must be a table"),
    ],
)
def test_what_has_not_even_the_form_is_refused(text: str, said: str) -> None:
    assert any(one.startswith(said) for one in mistakes(text))


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = SOUND.replace("context = 4096", "context = 0").replace("bits = 4", "bits = 0").replace('"MIT"', "1")
    assert mistakes(text) == [
        f"models.toml, line {line('licence')}: 'talk-3.5.licence' must be text",
        f"models.toml, line {line('context')}: 'talk-3.5.context' must be a whole number from 1 up",
        f"models.toml, line {line('bits')}: 'talk-3.5.files.q4_k_m.bits' must be a whole number from 1 to 32",
    ]


def test_the_message_has_the_first_mistakes_and_their_number() -> None:
    with pytest.raises(ApplianceError) as caught:
        parse(SOUND, "\n".join(f"x{number} = 1" for number in range(7)))
    assert caught.value.sentence.startswith("The catalogue has 7 mistakes: models.local.toml, line 1: 'x0' must be a")
    assert caught.value.sentence.endswith("'x4' must be a table; and 2 more.")
    assert caught.value.hint == "Correct models.local.toml, beside the settings file."


def test_the_admins_file_lays_single_keys_over_the_packaged_ones() -> None:
    found = parse(SOUND, '["talk-3.5"]\nquality = 60\ncontext = 8192\nbase.revision = "' + REVISION + '"\n')
    first = found.models[0]
    assert (first.family.quality, first.context, first.family.title) == (60, 8192, "Talk 3.5")
    assert (first.family.base.repository, first.family.base.revision) == ("owner/talk", REVISION)
    assert found.local == frozenset(), "the files are still those that were packaged"


def test_a_file_in_another_ones_place_is_the_admins_own() -> None:
    other = "c" * 64
    found = parse(SOUND, f'["talk-3.5".files.q4_k_m]\nsha256 = "{other}"\n')
    assert found.get("talk-3.5-q4_k_m").sha256 == other
    assert found.local == {"talk-3.5-q4_k_m"}
    assert parse(SOUND, f'["talk-3.5".files.q4_k_m]\nsha256 = "{SHA}"\n').local == frozenset()


def test_a_file_that_is_made_in_another_way_is_the_admins_own() -> None:
    (eyes,) = parse(SOUND, '[eyes.files.f16]\nconvert = "all-minilm-l6-v2"\n').by_role("projector")
    assert (eyes.convert, eyes.local) == ("all-minilm-l6-v2", True)


def test_a_new_family_and_a_new_file_are_the_admins_own() -> None:
    family = SOUND.partition("[eyes]")[0].replace("talk-3.5", "mine")
    file = '["talk-3.5".files.q2]\nsource = "hf:o/r@/f.gguf"\nquantization = "Q2_K"\nbits = 2\n'
    found = parse(SOUND, family + file)
    assert found.local == {"mine-q4_k_m", "mine-q8_0", "talk-3.5-q2"}
    assert found.get("talk-3.5-q2").family is found.get("talk-3.5-q8_0").family


@pytest.mark.parametrize("source", ["https://files.example/f.gguf", "file:/media/stick/f.gguf"])
def test_the_admins_own_file_may_come_from_an_address_or_this_machine(source: str) -> None:
    file = f'["talk-3.5".files.q2]\nsource = "{source}"\nquantization = "Q2_K"\nbits = 2\n'
    open_, whole = (parse(SOUND, file + more) for more in ("", f'size = 9\nsha256 = "{SHA}"\n'))
    assert open_.get("talk-3.5-q2").hub is None
    assert [found.get("talk-3.5-q2").is_locked for found in (open_, whole)] == [False, True]


def test_a_mistake_in_the_admins_file_is_told_by_its_line_there() -> None:
    local = '# mine\n["talk-3.5"]\nheads = 7\n\n["talk-3.5".files.q8_0]\nsize = -1\n[other]\n'
    found = mistakes(SOUND, local)
    assert "models.local.toml, line 6: 'talk-3.5.files.q8_0.size' must be a whole number from 1 up" in found
    assert "models.local.toml, line 7: 'other.title' is missing" in found
    at = f"models.toml, line {line('kv_heads')}"
    assert f"{at}: 'talk-3.5.kv_heads' has 2, which does not divide the 7 heads" in found
    assert mistakes(SOUND, "[x")[0].startswith("models.local.toml, line 1: this is not TOML")


KEYS = st.sampled_from(
    ["talk-3.5", "eyes", "files", "q4", "role", "heads", "kv_heads", "layers", "goes_with", "base", "id", "x"]
)
VALUES = st.recursive(
    st.one_of(
        st.booleans(), st.integers(-2, 70), st.floats(), st.sampled_from(["", "chat", "conditional", SHA, "hf:a/b@/c"])
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def toml(value: Any) -> str:
    """A value as TOML writes it in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}" = {toml(one)}' for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


def read_or_refused(text: str, local: str = "") -> None:
    """A text is a catalogue, or is refused as one."""
    try:
        found = parse(text, local)
    except ApplianceError as error:
        assert error.code == "catalogue-bad"
        assert problems(text, local)
    else:
        assert all(model.id for model in found.models)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_tables_are_a_catalogue_or_are_refused(tables: dict[str, Any]) -> None:
    text = "".join(f'"{key}" = {toml(value)}\n' for key, value in tables.items())
    read_or_refused(text)
    read_or_refused(SOUND, text)


@given(st.dictionaries(KEYS, VALUES), st.dictionaries(KEYS, VALUES))
def test_laying_tables_over_others_loses_no_key_and_lets_the_upper_one_hold(
    below: dict[str, Any], above: dict[str, Any]
) -> None:
    merged = merge(below, above)
    assert merged.keys() == below.keys() | above.keys()
    for key, value in merged.items():
        if key not in above or key not in below:
            assert value is (above if key in above else below)[key]
        elif not (isinstance(above[key], dict) and isinstance(below[key], dict)):
            assert value is above[key]
    assert merge(below, {}) == {**below}
    assert merge({}, above) == {**above}


@given(st.text())
def test_any_text_is_a_catalogue_or_is_refused(text: str) -> None:
    read_or_refused(text)
    read_or_refused(SOUND, text)
