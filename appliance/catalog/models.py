"""The catalogue as values: families, their files, and how they are read from TOML text."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from appliance.catalog.document import LOCAL, PACKAGED, Problem, Source, merge, place, read
from appliance.catalog.rules import SOURCE, faults, model_id
from appliance.errors import ApplianceError

# What makes a file the one it is. Whoever changes one of these has another file.
_IDENTITY = ("source", "size", "sha256", "archive_sha256", "member", "convert")
# Models that write text keep keys and values for every request that is under way; the others keep none.
_WRITERS = ("chat", "small", "draft")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Base:
    """The unquantized original. A field is empty where no source states it."""

    repository: str = ""
    revision: str = ""
    template_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """What all files of one model share; a number that no source states is 0.

    `parameters` and `active_parameters` (of a mixture of experts, else 0) are billions; `context`
    and `window` are tokens. `full_layers` is how many of the `layers` attend to the whole context:
    the others see a sliding `window`, or keep a state of fixed size where `window` is 0.
    `kv_heads` and `head_size` have a value for each layer where layers differ. `quality` (1 to
    100) only orders the models, and `quality_source` says what it rests on.
    """

    id: str
    title: str
    role: str
    licence: str
    commercial: bool | Literal["conditional"]
    condition: str = ""
    size_class: str = ""
    parameters: float = 0
    active_parameters: float = 0
    context: int = 0
    layers: int = 0
    embedding: int = 0
    heads: int = 0
    kv_heads: int | tuple[int, ...] = 0
    head_size: int | tuple[int, ...] = 0
    feed_forward: int = 0
    vocabulary: int = 0
    window: int = 0
    full_layers: int = 0
    hybrid: str = ""
    abilities: tuple[str, ...] = ()
    quality: int = 0
    quality_source: str = ""
    base: Base = Base()
    goes_with: tuple[str, ...] = ()

    @property
    def grouped_query(self) -> bool:
        """Whether heads share keys and values; taken for granted until the numbers of heads are known."""
        most = max(self.kv_heads) if isinstance(self.kv_heads, tuple) else self.kv_heads
        return not self.heads or most < self.heads


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a model hub; `revision` is empty until it is known."""

    repository: str
    revision: str
    file: str


_NO_FAMILY = Family("", "", "", "", commercial=False)


@dataclass(frozen=True, slots=True)
class Model:
    """One model file. `size` in bytes (0: not known), `context` in tokens, as trained (0: not known).

    `source` says where it comes from: `pypi:NAME==VERSION`, where `member` is the file inside the
    archive and `archive_sha256` the archive's own hash, or `hf:OWNER/REPOSITORY@REVISION/FILE`; an
    admin's own may name an address or a `file:/path`. Where `convert` names a conversion, `member`
    is the folder of the original, and the file is made from it on this machine; `size` and
    `sha256` are always those of the finished file. A `trial` model proves that the box works
    and is not meant for work. A `local` one is a file that the admin vouches for, not this
    version of the appliance.
    """

    id: str
    title: str
    role: str
    licence: str
    context: int
    source: str
    size: int
    sha256: str
    quantization: str
    archive_sha256: str = ""
    member: str = ""
    convert: str = ""
    trial: bool = False
    bits: int = 0
    family: Family = _NO_FAMILY
    local: bool = False

    @property
    def hub(self) -> HubFile | None:
        """The file on a model hub; None for one that comes from a package."""
        found = SOURCE.fullmatch(self.source)
        if found is None or found["repository"] is None:
            return None
        return HubFile(found["repository"], found["revision"], found["file"])

    @property
    def is_locked(self) -> bool:
        """Whether revision, size and SHA-256 are all pinned; if not, they are on first contact with the hub."""
        return bool(self.size and self.sha256 and (self.hub is None or self.hub.revision))

    @property
    def can_write(self) -> bool:
        """Whether it writes text, as opposed to one that compares texts or looks at pictures."""
        return self.role in _WRITERS

    @property
    def needs_consent(self) -> str:
        """Why the admin must say yes before people share this model; empty when there is no reason."""
        if not self.can_write or self.family.grouped_query:
            return ""
        return (
            "every head keeps its own keys and values, so that each request needs several times the memory "
            "of a grouped-query model, and few people can be served at once"
        )


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models, in the order of the file."""

    models: tuple[Model, ...]

    def get(self, model_id: str) -> Model:
        """A model by its id. Raises model-unknown."""
        for model in self.models:
            if model.id == model_id:
                return model
        ids = [model.id for model in self.models]
        near = difflib.get_close_matches(model_id, ids, n=1)
        more = f" and {len(ids) - _SHOWN} more: `appliance models list --all`" if len(ids) > _SHOWN else ""
        raise ApplianceError(
            "model-unknown",
            f"No model is called '{model_id}'.",
            f"{f'Did you mean {near[0]}? ' if near else ''}The catalogue has: {', '.join(ids[:_SHOWN])}{more}.",
        )

    def by_role(self, role: str) -> tuple[Model, ...]:
        """The models for one role."""
        return tuple(model for model in self.models if model.role == role)

    @property
    def local(self) -> frozenset[str]:
        """The ids of the files that the admin has added, or has put in the place of packaged ones."""
        return frozenset(model.id for model in self.models if model.local)


def parse(text: str, local: str = "") -> Catalogue:
    """Read the packaged catalogue, with the admin's own tables laid over it. Raises catalogue-bad."""
    sources, found = _examine(text, local)
    if found:
        said = "; ".join(map(str, found[:_SHOWN]))
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        count = "one mistake" if len(found) == 1 else f"{len(found)} mistakes"
        raise ApplianceError(
            "catalogue-bad",
            f"The catalogue has {count}: {said}{more}.",
            # What is packaged is sound by itself, so it is the admin's file that breaks it, whatever line is named.
            f"Correct {LOCAL}, beside the settings file." if local else "Install this version of the appliance again.",
        )
    packaged, tables = sources[0].tables, _merged(sources)
    return Catalogue(tuple(model for id, table in tables.items() for model in _models(id, table, packaged)))


def problems(text: str, local: str = "") -> list[Problem]:
    """Every mistake of a catalogue, in the order of its lines; none when it is sound."""
    return _examine(text, local)[1]


def _examine(text: str, local: str) -> tuple[list[Source], list[Problem]]:
    """The files as tables, and what is wrong with them."""
    files = [read(PACKAGED, text), read(LOCAL, local)]
    sources = [file for file in files if isinstance(file, Source)]
    found = [file for file in files if isinstance(file, Problem)]
    for fault in () if found else faults(_merged(sources)):
        file, line = place(sources, fault.path)
        found.append(Problem(file, line, ".".join(fault.path), fault.sentence))
    return sources, sorted(found, key=lambda problem: (problem.file != PACKAGED, problem.line or 0))


def _merged(sources: list[Source]) -> dict[str, Any]:
    packaged, local = sources
    return merge(packaged.tables, local.tables)


def _models(id: str, table: dict[str, Any], packaged: dict[str, Any]) -> Iterator[Model]:
    """The files of one family, from tables that are sound."""
    family = _family(id, table)
    known = packaged.get(id, {}).get("files", {})
    for name, file in table["files"].items():
        yield Model(
            id=model_id(id, name, file),
            title=family.title,
            role=family.role,
            licence=family.licence,
            context=family.context,
            source=file["source"],
            size=file.get("size", 0),
            sha256=file.get("sha256", ""),
            quantization=file["quantization"],
            archive_sha256=file.get("archive_sha256", ""),
            member=file.get("member", ""),
            convert=file.get("convert", ""),
            trial=family.size_class == "trial",
            bits=file["bits"],
            family=family,
            local=any(file.get(key) != known.get(name, {}).get(key) for key in _IDENTITY),
        )


def _family(id: str, table: dict[str, Any]) -> Family:
    plain = {key: _frozen(value) for key, value in table.items() if key not in ("class", "base", "files")}
    plain.setdefault("full_layers", plain.get("layers", 0))
    return Family(id=id, size_class=table.get("class", ""), base=Base(**table.get("base", {})), **plain)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
