"""Agree on which file is meant before a byte of it is fetched: the row first, then what was settled, then the hub."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from appliance.artifacts import locked
from appliance.artifacts.locked import Locked
from appliance.artifacts.sources import Source, parse
from appliance.catalog.models import Model
from appliance.downloads import hub
from appliance.downloads.hub import Answer, HubFile
from appliance.errors import ApplianceError
from appliance.units import now_us, show_instant


@dataclass(frozen=True, slots=True)
class Agreed:
    """The row, as whole as it can be before the download, and where exactly to fetch it."""

    model: Model
    source: Source


def agree(folder: Path, model: Model) -> Agreed:
    """Settle what the row leaves open, if the hub can tell. Raises wrong-hash and what `hub` raises."""
    source = parse(model.source)
    known = locked.read(folder).get(model.id)
    filled = locked.fill_in(model, known)
    if not isinstance(source, HubFile):
        return Agreed(filled, source)
    if known is not None and known.revision and not source.is_pinned:
        source = replace(source, revision=known.revision)
    if filled.size and filled.sha256 and source.is_pinned:
        check(filled, hub.head(source))
        return Agreed(filled, source)
    said = hub.resolve(source)
    check(filled, said)
    filled = replace(filled, size=filled.size or said.size, sha256=filled.sha256 or said.sha256)
    if filled.sha256:
        settle(folder, filled, said.commit, "hub")
    return Agreed(filled, replace(source, revision=said.commit or source.revision))


def settle(folder: Path, model: Model, revision: str, how: str) -> None:
    """Record a row that is whole now."""
    now = show_instant(now_us()) or ""
    locked.record(folder, model.id, Locked(revision, model.size, model.sha256, now, how))


def check(model: Model, said: Answer) -> None:
    """Compare what the hub says with what is known, before anything is fetched. Raises wrong-hash."""
    if said.sha256 and model.sha256 and said.sha256 != model.sha256:
        raise _refused(model, f"sha256 {model.sha256}", said.sha256)
    if said.size and model.size and said.size != model.size:
        raise _refused(model, f"{model.size} bytes", str(said.size))


def _refused(model: Model, expected: str, got: str) -> ApplianceError:
    return ApplianceError(
        "wrong-hash",
        f"{model.title}: expected {expected}, and the hub offers {got}. Nothing was fetched.",
        "The file was changed, or this is not the hub that you mean: do not use it until that is explained.",
    )
