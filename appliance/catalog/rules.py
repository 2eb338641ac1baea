"""What the catalogue's tables may hold: a rule for each key, and what is wrong with a document.

A rule is a function that says in a few words what a value must be, or nothing when it is that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ROLES = ("chat", "small", "embed", "rerank", "draft", "projector")
CLASSES = ("trial", "4b", "7b", "13b", "30b")
ABILITIES = ("tools", "thinking", "vision")
# The originals that the appliance can make into a GGUF file by itself.
CONVERSIONS = ("all-minilm-l6-v2",)

Rule = Callable[[Any], str]
Table = Mapping[str, Any]

# Where a file comes from: a package, a hub, or (the admin's own) an address or a place on this machine.
SOURCE = re.compile(
    r"pypi:[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+"
    r"|hf:(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[^/@]*)/(?P<file>[^@]+)"
    r"|https?://\S+"
    r"|file:/[^\n]+",
    re.ASCII,
)
_ID = re.compile(r"[a-z0-9][a-z0-9._-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake: the path of its key in the document, and a plain sentence."""

    path: tuple[str, ...]
    sentence: str


def _text(value: Any) -> str:
    return "" if isinstance(value, str) and value.strip() else "must be text"


def _hex(digits: int) -> Rule:
    """Lower-case hexadecimal digits, or empty text for what no source states."""

    def rule(value: Any) -> str:
        good = isinstance(value, str) and (not value or re.fullmatch(rf"[0-9a-f]{{{digits}}}", value))
        return "" if good else f"must be {digits} hexadecimal digits in lower case, or be left out"

    return rule


def _whole(lowest: int, highest: int | None = None) -> Rule:
    said = f"must be a whole number from {lowest}" + (f" to {highest}" if highest else " up")

    def rule(value: Any) -> str:
        good = type(value) is int and lowest <= value and (highest is None or value <= highest)
        return "" if good else said

    return rule


def _billions(value: Any) -> str:
    # Compared this way round, a NaN is no number above zero either.
    return "" if type(value) in (int, float) and 0 < value < 1e6 else "must be a number above 0, in billions"


def _per_layer(lowest: int) -> Rule:
    """One whole number for all layers, or a list with one for each."""
    single, each = _whole(1), _whole(lowest)

    def rule(value: Any) -> str:
        bad = any(map(each, value)) if isinstance(value, list) else single(value)
        return "must be a whole number, or a list with one for each layer" if bad else ""

    return rule


def _one_of(*choices: str) -> Rule:
    def rule(value: Any) -> str:
        return "" if isinstance(value, str) and value in choices else f"must be one of {', '.join(choices)}"

    return rule


def _commercial(value: Any) -> str:
    return "" if isinstance(value, bool) or value == "conditional" else 'must be true, false or "conditional"'


def _texts(value: Any) -> str:
    good = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return "" if good else "must be a list of texts"


def _abilities(value: Any) -> str:
    return "" if not _texts(value) and set(value) <= set(ABILITIES) else f"may hold only {', '.join(ABILITIES)}"


def _maybe_text(value: Any) -> str:
    return "" if isinstance(value, str) else "must be text"


def _table(value: Any) -> str:
    return "" if isinstance(value, dict) else "must be a table"


def _identifier(value: Any) -> str:
    good = isinstance(value, str) and _ID.fullmatch(value)
    return "" if good else "must be an id of small letters, digits, '.', '_' and '-'"


def _source(value: Any) -> str:
    found = SOURCE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return "must be hf:OWNER/REPOSITORY@REVISION/FILE, pypi:NAME==VERSION, https://... or file:/..."
    return "" if _hex(40)(found["revision"] or "") == "" else "has a revision that is not 40 hexadecimal digits"


FAMILY: dict[str, Rule] = {
    "title": _text,
    "role": _one_of(*ROLES),
    "class": _one_of(*CLASSES),
    "licence": _text,
    "commercial": _commercial,
    "condition": _text,
    "parameters": _billions,
    "active_parameters": _billions,
    "context": _whole(1),
    "layers": _whole(1),
    "embedding": _whole(1),
    "heads": _whole(1),
    "kv_heads": _per_layer(0),
    "head_size": _per_layer(1),
    "feed_forward": _whole(1),
    "vocabulary": _whole(1),
    "window": _whole(0),
    "full_layers": _whole(0),
    "hybrid": _text,
    "abilities": _abilities,
    "quality": _whole(1, 100),
    "quality_source": _text,
    "base": _table,
    "goes_with": _texts,
    "files": _table,
}
BASE: dict[str, Rule] = {"repository": _maybe_text, "revision": _hex(40), "template_sha256": _hex(64)}
FILE: dict[str, Rule] = {
    "id": _identifier,
    "source": _source,
    "size": _whole(1),
    "sha256": _hex(64),
    "quantization": _text,
    "bits": _whole(1, 32),
    "archive_sha256": _hex(64),
    "member": _text,
    "convert": _one_of(*CONVERSIONS),
}
_NEEDED = ("title", "role", "licence", "commercial", "files")
_NEEDED_BY_ROLE: dict[str, tuple[str, ...]] = {
    "chat": ("class", "context", "parameters", "quality", "quality_source"),
    "small": ("context",),
    "embed": ("context",),
    "draft": ("goes_with",),
    "projector": ("goes_with",),
}
_NEEDED_BY_FILE = ("source", "quantization", "bits")
_NEEDED_BY_ARCHIVE = ("archive_sha256", "member", "size", "sha256")


def faults(document: Table) -> list[Fault]:
    """Everything that is wrong with a catalogue's tables; nothing when they are sound."""
    found: list[Fault] = []
    for family, table in document.items():
        path = (family,)
        if said := _identifier(family) or _table(table):
            found.append(Fault(path, said))
        else:
            found += _family_faults(path, table)
    return [*found, *_strangers(document), *_twice(document)]


def _family_faults(path: tuple[str, ...], table: Table) -> Iterator[Fault]:
    role = table.get("role")
    by_role = _NEEDED_BY_ROLE.get(role, ()) if isinstance(role, str) else ()
    conditional = ("condition",) if table.get("commercial") == "conditional" else ()
    wrong = list(_table_faults(path, table, FAMILY, (*_NEEDED, *by_role, *conditional)))
    yield from wrong
    # What compares values has nothing to say about those that are already refused.
    refused = {fault.path[-1] for fault in wrong}
    yield from _shape_faults(path, {key: value for key, value in table.items() if key not in refused})
    base, files = table.get("base"), table.get("files")
    if isinstance(base, dict):
        yield from _table_faults((*path, "base"), base, BASE, ())
    if files == {}:
        yield Fault((*path, "files"), "must hold at least one file")
    for name, file in (files if isinstance(files, dict) else {}).items():
        yield from _file_faults((*path, "files", name), file)


def _file_faults(path: tuple[str, ...], file: Any) -> Iterator[Fault]:
    if said := _identifier(path[-1]) or _table(file):
        yield Fault(path, said)
        return
    archive = str(file.get("source", "")).startswith("pypi:")
    yield from _table_faults(path, file, FILE, (*_NEEDED_BY_FILE, *(_NEEDED_BY_ARCHIVE if archive else ())))
    if not archive:
        for key in ("archive_sha256", "member", "convert"):
            if key in file:
                yield Fault((*path, key), "belongs to a file from an archive (pypi:)")


def _table_faults(
    path: tuple[str, ...], table: Table, rules: Mapping[str, Rule], needed: Collection[str]
) -> Iterator[Fault]:
    for key, value in table.items():
        if key not in rules:
            yield Fault((*path, key), f"is not known here; known are {', '.join(rules)}")
        elif said := rules[key](value):
            yield Fault((*path, key), said)
        elif key in needed and value == "":
            yield Fault((*path, key), "must not be empty")
    for key in needed:
        if key not in table:
            yield Fault((*path, key), "is missing")


def _shape_faults(path: tuple[str, ...], table: Table) -> Iterator[Fault]:
    """What does not go together in a family whose values are each sound."""
    layers, heads = table.get("layers", 0), table.get("heads", 0)
    for key in ("kv_heads", "head_size"):
        value = table.get(key)
        if isinstance(value, list) and len(value) != layers:
            yield Fault((*path, key), f"has {len(value)} values for {layers} layers")
    for each in sorted(set(_listed(table.get("kv_heads", 0))) - {0}):
        if heads and heads % each:
            yield Fault((*path, "kv_heads"), f"has {each}, which does not divide the {heads} heads")
    if table.get("full_layers", 0) > layers:
        yield Fault((*path, "full_layers"), f"is more than the {layers} layers")
    if table.get("active_parameters", 0) > table.get("parameters", 1e6):
        yield Fault((*path, "active_parameters"), "is more than all parameters")
    if "condition" in table and table.get("commercial") in (True, False):
        yield Fault((*path, "condition"), 'belongs to commercial = "conditional"')
    if "quality" in table and "quality_source" not in table and table.get("role") != "chat":
        yield Fault((*path, "quality_source"), "is missing")


def _listed(value: int | list[int]) -> list[int]:
    return value if isinstance(value, list) else [value]


def _strangers(document: Table) -> Iterator[Fault]:
    """Drafts and projectors that go with nobody of this catalogue."""
    for family, table in document.items():
        others = table.get("goes_with") if isinstance(table, dict) else None
        for other in others if isinstance(others, list) else ():
            if isinstance(other, str) and (other not in document or other == family):
                yield Fault((family, "goes_with"), f"names '{other}', and no other family is called that")


def _twice(document: Table) -> Iterator[Fault]:
    """Files whose id another file has already."""
    seen: dict[str, str] = {}
    for family, table in document.items():
        files = table.get("files") if isinstance(table, dict) else None
        for name, file in files.items() if isinstance(files, dict) else ():
            id = model_id(family, name, file if isinstance(file, dict) else {})
            if id in seen:
                yield Fault((family, "files", name), f"has the id '{id}', which a file of '{seen[id]}' has already")
            seen.setdefault(id, family)


def model_id(family: str, name: str, file: Table) -> str:
    """What a file is called: `qwen3-8b-q4_k_m`, unless it has a name of its own."""
    return str(file.get("id") or f"{family}-{name}")
