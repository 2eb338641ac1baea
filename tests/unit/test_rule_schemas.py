"""The JSON schemas of rules: what they let through the rules let through, and the other way round."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jsonschema_rs
import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from appliance.errors import ApplianceError
from appliance.gateway.endpoints import ENDPOINTS, Endpoint
from appliance.policy.fields import logit_bias
from appliance.policy.rules import (
    Rule,
    Schema,
    any_json,
    either,
    flag,
    labels,
    many,
    nothing,
    number,
    one_of,
    table,
    tagged,
    text,
    whole,
)
from tests.unit.test_rules import JSON

CASES = {"x": table({"a": either(one_of("x"), nothing), "n": whole(0, 3)}), "y": table({"a": text(1), "m": flag}, "m")}
RULES = [
    whole(-5, 5),
    number(-1, 1),
    flag,
    nothing,
    text(2),
    one_of("a", 1, False),
    many(whole(0, 9), 2),
    many(flag, 3, least=1),
    either(flag, many(text(1), 3)),
    table({"a": flag, "b": text(1)}, "a"),
    table({}),
    any_json(6),
    tagged("a", CASES, {"z": "no"}, default="x"),
    tagged("a", CASES, {}),
    labels(2, 2),
    logit_bias(2),
]
# JSON has no way to say what these are.
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=2)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)


def values_of(schema: Schema) -> st.SearchStrategy[Any]:
    """Values that keep a schema, for the few words of JSON Schema that rules use."""
    if "anyOf" in schema:
        return st.one_of([values_of(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    low, high = schema.get("minimum"), schema.get("maximum")
    if schema["type"] == "integer":
        return st.integers(low, high)
    if schema["type"] == "number":
        return st.integers(int(low or 0), int(high or 0)) | st.floats(low, high)
    if schema["type"] == "string":
        return st.text(st.characters(codec="utf-8"), max_size=min(schema["maxLength"], 4))
    if schema["type"] == "array":
        least = schema["minItems"]
        return st.lists(values_of(schema["items"]), min_size=least, max_size=min(schema["maxItems"], least + 2))
    if schema["type"] == "object":
        return objects_of(schema)
    return {"boolean": st.booleans(), "null": st.none()}[schema["type"]]


def objects_of(schema: Schema) -> st.SearchStrategy[Any]:
    """Objects that keep a schema."""
    if "properties" in schema:
        properties: Mapping[str, Schema] = schema["properties"]
        needed = schema.get("required", ())
        made = {name: values_of(one) for name, one in properties.items()}
        return st.fixed_dictionaries(
            {name: made[name] for name in needed},
            optional={name: one for name, one in made.items() if name not in needed},
        )
    names = schema.get("propertyNames", {})
    name = st.from_regex("[0-9]{1,6}", fullmatch=True) if "pattern" in names else TEXTS
    inner = schema.get("additionalProperties")
    return st.dictionaries(name, values_of(inner) if inner else PLAIN, max_size=min(schema["maxProperties"], 3))


def keeps(schema: Schema, value: Any) -> bool:
    """Whether a value keeps a schema, by a validator that is not ours."""
    return validator(json.dumps(schema)).is_valid(value)


@lru_cache
def validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    """What checks values by a schema."""
    return jsonschema_rs.Draft202012Validator(json.loads(schema))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.words)[:40])
@given(st.data())
def test_what_the_schema_makes_the_rule_takes(rule: Rule, data: st.DataObject) -> None:
    value = data.draw(values_of(rule.schema))
    assert keeps(rule.schema, value)
    # How many values there are in an object of any content cannot be said.
    assert rule.check(value) is None or "description" in rule.schema


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.words)[:40])
@given(st.data())
def test_the_schema_takes_what_the_rule_takes_and_nothing_else(rule: Rule, data: st.DataObject) -> None:
    near = values_of(rule.schema).flatmap(worse)
    value = data.draw(JSON | near)
    assume(not has_whole_floats(value))
    try:
        value = orjson.loads(orjson.dumps(value))
    except TypeError:
        assume(False)
    if "description" in rule.schema:
        assert keeps(rule.schema, value) or rule.check(value) is not None
    else:
        assert keeps(rule.schema, value) == (rule.check(value) is None)


def worse(value: Any) -> st.SearchStrategy[Any]:
    """Values near another one: with something else in one place, one more, or one less."""
    other = st.sampled_from([None, True, "", "x", "long text", 0, 7, -0.5, 1e9, [], {}, [0], {"a": "x"}])
    if type(value) is dict and value:
        names = st.sampled_from(sorted(value))
        changed = st.tuples(names, other).map(lambda pair: {**value, pair[0]: pair[1]})
        less = names.map(lambda name: {one: item for one, item in value.items() if one != name})
        return changed | less | other.map(lambda item: {**value, "more": item}) | st.just(value)
    if type(value) is list:
        return other.map(lambda item: [*value, item]) | st.just(value)
    return other | st.just(value)


def has_whole_floats(value: Any) -> bool:
    """Whether there is a 1.0 in it: JSON Schema knows no difference to 1, and the rules do."""
    if type(value) is dict:
        return any(map(has_whole_floats, value.values()))
    if type(value) is list:
        return any(map(has_whole_floats, value))
    return type(value) is float and value.is_integer()


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: str(endpoint.name))
@given(st.data())
def test_what_a_forms_schema_makes_its_form_reads(endpoint: Endpoint, data: st.DataObject) -> None:
    form = endpoint.form
    given_fields = data.draw(values_of(form.schema))
    read = form.read(orjson.dumps(given_fields))
    assert read == {name: value for name, value in given_fields.items() if value is not None or name in form.needed}
    changed = data.draw(worse(given_fields))
    assume(not has_whole_floats(changed))
    try:
        form.read(orjson.dumps(changed))
    except ApplianceError:
        assert not keeps(form.schema, changed)
    else:
        assert keeps(form.schema, changed)
