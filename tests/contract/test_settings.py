"""Every setting is typed, bounded, described, and in the manual."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from appliance.config.settings import Role, Settings
from docs.generate import REFERENCE
from docs.settings import SECTIONS, heading

SETTINGS = [
    pytest.param(table, name, field, id=f"{table}.{name}")
    for table, section in SECTIONS.items()
    for name, field in section.model_fields.items()
]


def test_the_manual_has_every_table_of_the_settings_file() -> None:
    tables = {name.partition(".")[0] for name in SECTIONS}
    assert tables == set(Settings.model_fields)
    assert {name for name in SECTIONS if name.startswith("engines.")} == {f"engines.{role}" for role in get_args(Role)}


@pytest.mark.parametrize(("table", "name", "field"), SETTINGS)
def test_a_setting_has_a_default_and_a_description_and_stands_in_the_manual(
    table: str, name: str, field: FieldInfo
) -> None:
    assert not field.is_required()
    assert field.description
    assert field.description.endswith(".")
    page = (REFERENCE / "settings.md").read_text()
    section = page.partition(f"## `{heading(table)}`")[2].partition("\n## ")[0]
    assert f"| `{field.alias or name}` |" in section


@pytest.mark.parametrize(("table", "name", "field"), SETTINGS)
def test_a_number_has_a_lowest_and_a_highest_value(table: str, name: str, field: FieldInfo) -> None:
    if field.annotation in (int, float):
        bounds = {bound for rule in field.metadata for bound in ("ge", "le") if hasattr(rule, bound)}
        assert bounds == {"ge", "le"}, f"{table}.{name}"


@pytest.mark.parametrize("section", [Settings, *SECTIONS.values()])
def test_a_table_is_frozen_and_closed_to_unknown_keys(section: type[BaseModel]) -> None:
    assert section.model_config.get("frozen")
    assert section.model_config.get("extra") == "forbid"
