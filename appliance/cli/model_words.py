"""A model of the catalogue in words, for `appliance models`: pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from appliance.catalog.models import Family, Model
from appliance.selector.known import size_of
from appliance.selector.plan import Placement
from appliance.units import show_bytes

COLUMNS = ("id", "for", "class", "bits", "size", "licence", "state", "measured here")
_COMMERCIAL = {True: "free for business", False: "not for business", "conditional": "for business on conditions"}
_ABILITIES = {"tools": "use tools", "thinking": "think first", "vision": "see pictures"}
_LOCKED_LATER = "locked on first contact"


def summary(model: Model, *, here: bool, chosen: bool) -> dict[str, Any]:
    """A model's line of the list, as JSON; `size` in bytes, null while it is not known."""
    return {
        "id": model.id,
        "title": model.title,
        "role": model.role,
        "class": model.family.size_class or None,
        "quantization": model.quantization,
        "bits": model.bits,
        "size": model.size or None,
        "licence": model.licence,
        "commercial": model.family.commercial,
        "trial": model.trial,
        "local": model.local,
        "locked": model.is_locked,
        "on_shelf": here,
        "chosen": chosen,
        "state": _state(model, here),
    }


def row(model: Model, *, here: bool, chosen: bool, measured: str = "") -> tuple[Any, ...]:
    """A model's line of the list, as text; `measured` is what its last proof says."""
    mark = {True: "", False: " (not for business)", "conditional": " (conditions)"}[model.family.commercial]
    return (
        model.id,
        model.role,
        model.family.size_class,
        model.bits,
        show_bytes(model.size) if model.size else "",
        model.licence + mark,
        ", ".join(_states(model, here, chosen)),
        measured,
    )


def suggestion(models: tuple[Placement, ...]) -> str:
    """What to serve in place of the trial model, the chat model first; empty where nothing better fits."""
    if not models or models[0].model.trial:
        return ""
    chat, *others = models
    size = show_bytes(sum(size_of(one.model) for one in models))
    beside = ", and smaller ones for other work beside it" if others else ""
    return (
        f"What runs is a trial model. This machine has room for {chat.model.title} ({chat.model.quantization}), "
        f"about {chat.alone:.0f} tokens a second{beside}. To fetch about {size} and serve them: `appliance models use`."
    )


def details(model: Model, *, here: bool, chosen: bool) -> dict[str, Any]:
    """Everything about a model, as JSON; a number that no source states is 0, a text empty."""
    family = asdict(model.family)
    return {
        **summary(model, here=here, chosen=chosen),
        "context": model.context,
        "source": model.source,
        "sha256": model.sha256,
        "archive_sha256": model.archive_sha256,
        "member": model.member,
        "convert": model.convert,
        "needs_consent": model.needs_consent,
        "family": {"id": family.pop("id"), "class": family.pop("size_class"), **family},
    }


def sentences(model: Model, *, here: bool, chosen: bool) -> list[tuple[str, str]]:
    """Everything about a model, as a word and plain text; what is not known is left out."""
    family = model.family
    told = (
        ("model", f"{model.title}, {model.quantization}"),
        ("id", model.id),
        ("for", f"{model.role}, {family.size_class} class" if family.size_class else model.role),
        ("state", ", ".join(_states(model, here, chosen))),
        ("licence", _licence(family)),
        ("parameters", _parameters(family)),
        ("context", f"{model.context:,} tokens" if model.context else ""),
        ("attention", "; ".join(_attention(family))),
        ("can", ", ".join(_ABILITIES[one] for one in family.abilities)),
        ("quality", f"{family.quality} of 100. {family.quality_source}" if family.quality else ""),
        ("goes with", ", ".join(family.goes_with)),
        ("needs a yes", model.needs_consent),
        ("source", f"{model.source}{', converted on this machine' if model.convert else ''}"),
        ("size", f"{show_bytes(model.size)} ({model.size:,} bytes)" if model.size else ""),
        ("sha256", model.sha256),
        ("original", family.base.repository),
        ("locking", "" if model.is_locked else _what_is_open(model)),
    )
    return [(word, text) for word, text in told if text]


def _state(model: Model, here: bool) -> str:
    if here:
        return "here"
    return "not fetched" if model.is_locked else _LOCKED_LATER


def _states(model: Model, here: bool, chosen: bool) -> Iterator[str]:
    if chosen:
        yield "chosen"
    yield _state(model, here)
    if model.trial:
        yield "trial model"
    if model.local:
        yield "your own"
    if model.needs_consent:
        yield "needs a yes"


def _licence(family: Family) -> str:
    condition = f": {family.condition}" if family.condition else ""
    return f"{family.licence}, {_COMMERCIAL[family.commercial]}{condition}"


def _parameters(family: Family) -> str:
    if not family.parameters:
        return ""
    active = f", {family.active_parameters:g} billion of them active" if family.active_parameters else ""
    return f"{family.parameters:g} billion{active}"


def _attention(family: Family) -> Iterator[str]:
    """How the layers look back, as far as it is known."""
    if family.layers:
        full = f", {family.full_layers} of them full" if family.full_layers < family.layers else ""
        yield f"{family.layers} layers{full}"
    if family.window:
        yield f"a window of {family.window:,} tokens in the others"
    if family.hybrid:
        yield family.hybrid
    if family.heads and family.kv_heads:
        yield f"{family.heads} heads, {_span(family.kv_heads)} of them with keys and values of their own"
    if family.head_size:
        yield f"heads of {_span(family.head_size)}"


def _span(value: int | tuple[int, ...]) -> str:
    if isinstance(value, int):
        return str(value)
    return " or ".join(map(str, sorted(set(value))))


def _what_is_open(model: Model) -> str:
    known = {"revision": model.hub and model.hub.revision, "size": model.size, "SHA-256": model.sha256}
    names = ", ".join(name for name, value in known.items() if not value)
    return f"{names}: looked up when the model is first fetched, recorded, and held to from then on"
