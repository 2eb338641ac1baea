"""The page of all settings."""

from __future__ import annotations

import json
from datetime import date
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from appliance.config.backup import BackupSettings
from appliance.config.federation import DirectorySettings, UpstreamSettings
from appliance.config.lan import LanSettings
from appliance.config.mail import MailSettings
from appliance.config.retention import RetentionSettings
from appliance.config.settings import (
    ChatSettings,
    CloudModelSettings,
    CloudSettings,
    EngineSettings,
    GatewaySettings,
    IdentitySettings,
    MoneySettings,
    ProviderSettings,
    Role,
    Size,
)
from appliance.config.terms import Amount, Day, PriceSettings, ReferencePriceSettings, RoutingSettings, Share
from appliance.config.update import UpdateSettings
from appliance.units import show_bytes
from docs.words import HEAD, table, text

_WORDS: dict[Any, str] = {list: "a list of text", dict: "tables, see below", bool: "true or false"}
_IS_SIZE = get_args(Size)[1]

# The tables of the settings file. An engine's table is named by its role; what stands for NAME is the admin's choice.
SECTIONS: dict[str, type[BaseModel]] = {
    "gateway": GatewaySettings,
    **{f"engines.{role}": EngineSettings for role in get_args(Role)},
    "routing": RoutingSettings,
    "prices": PriceSettings,
    "reference_prices": ReferencePriceSettings,
    "money": MoneySettings,
    "cloud": CloudSettings,
    "cloud.providers.NAME": ProviderSettings,
    "cloud.models.NAME": CloudModelSettings,
    "identity": IdentitySettings,
    "identity.providers.NAME": UpstreamSettings,
    "identity.directory": DirectorySettings,
    "chat": ChatSettings,
    "lan": LanSettings,
    "mail": MailSettings,
    "backup": BackupSettings,
    "update": UpdateSettings,
    "retention": RetentionSettings,
}
# Those of which there may be several.
LISTS = frozenset({"prices", "reference_prices"})
# Settings that are written in a way of their own, by what checks them.
_WRITTEN = {
    get_args(Amount)[1]: 'an amount of at most six decimals, as `"0.15"`',
    get_args(Share)[1]: 'a share, as `"0.5"`',
    get_args(Day)[1]: "a day, as `2026-01-31`",
}


def settings_page() -> str:
    """Every setting: what it may be, its default, its meaning."""
    parts = [
        HEAD + "# Settings\n",
        "One TOML file. It may be missing, and so may every setting: then the default holds. A key that is not on\n"
        "this page stops the start, and the message names the nearest one that is.\n",
    ]
    for name, section in SECTIONS.items():
        parts += [f"## `{heading(name)}`\n", f"{text(section)}\n"]
        rows = [
            (f"`{field.alias or key}`", _kind(field), _default(field), field.description or "")
            for key, field in section.model_fields.items()
        ]
        parts.append(table(("setting", "what it may be", "default", "meaning"), rows))
    return "\n".join(parts)


def heading(table: str) -> str:
    """How a table of the settings file begins."""
    return f"[[{table}]]" if table in LISTS else f"[{table}]"


def _kind(field: FieldInfo) -> str:
    """A setting's type and range in words."""
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        return "a table, see below"
    written = _written(field)
    if written:
        return written
    if _IS_SIZE in field.metadata:
        return f'a size from {show_bytes(_bound(field, "ge"))} to {show_bytes(_bound(field, "le"))}, as `"8 MiB"`'
    if get_origin(field.annotation) in _WORDS or field.annotation in _WORDS:
        return _WORDS[get_origin(field.annotation) or field.annotation]
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not type(None)]
    if all(isinstance(kind, str) for kind in kinds):
        return " or ".join(f'`"{kind}"`' for kind in kinds)
    if kinds == [str]:
        return "text"
    if kinds == [bool]:
        return "`true` or `false`"
    if get_origin(field.annotation) is list:
        return "a list of text"
    noun = "a whole number" if kinds == [int] else "a number"
    return f"{noun} from {_bound(field, 'ge'):,} to {_bound(field, 'le'):,}"


def _written(field: FieldInfo) -> str | None:
    """How an amount, a share or a day is written; None for all else."""
    marks = [*field.metadata, *(mark for kind in get_args(field.annotation) for mark in get_args(kind))]
    return next((words for mark, words in _WRITTEN.items() if mark in marks), None)


def _bound(field: FieldInfo, name: str) -> int:
    """A setting's lowest (`ge`) or highest (`le`) value; every number has both."""
    return next(int(getattr(rule, name)) for rule in field.metadata if hasattr(rule, name))


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None or field.default is None:
        return "none"
    if _written(field):
        return f"`{field.default}`" if isinstance(field.default, date) else f'`"{field.default / 1_000_000:g}"`'
    return (
        f'`"{show_bytes(field.default)}"`'
        if _IS_SIZE in field.metadata
        else f"`{json.dumps(field.default, ensure_ascii=False)}`"
    )
