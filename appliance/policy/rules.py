"""Rules for the fields of a request: small pure checks, each of which knows its own words and its JSON schema.

The engine is C++ and trusts numbers; nothing that is not named and within its range gets
there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

# From a value to the reason why it is wrong, or None.
Check = Callable[[Any], str | None]
Schema = Mapping[str, Any]

# Deeper JSON than any honest schema or tool needs, and far less than a C++ stack takes.
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class Rule:
    """A check, and the words for what keeps it. `fields` are those of the objects in it, `needed` the ones they need.

    Words, fields and needs are what docs/reference/api.md is made from, `schema` what the OpenAPI document is: JSON
    Schema for what keeps the rule. It says a little less than the check: that 1.0 is not whole, and how deep and how
    large an object of any content may be, cannot be said in it.
    """

    check: Check
    words: str
    schema: Schema
    fields: Mapping[str, Rule] = field(default_factory=dict)
    needed: frozenset[str] = frozenset()


def whole(low: int, high: int) -> Rule:
    """A whole number from `low` to `high`."""
    words = f"a whole number from {low} to {high}"
    wrong = f"must be {words}"

    def check(value: Any) -> str | None:
        return None if type(value) is int and low <= value <= high else wrong

    return Rule(check, words, {"type": "integer", "minimum": low, "maximum": high})


def number(low: float, high: float) -> Rule:
    """A number from `low` to `high`."""
    words = f"a number from {low:g} to {high:g}"
    wrong = f"must be {words}"

    def check(value: Any) -> str | None:
        return None if type(value) in (int, float) and low <= value <= high else wrong

    return Rule(check, words, {"type": "number", "minimum": low, "maximum": high})


def text(longest: int) -> Rule:
    """A string of at most `longest` characters."""
    words = f"a string of at most {longest} characters"
    wrong = f"must be {words}"

    def check(value: Any) -> str | None:
        return None if type(value) is str and len(value) <= longest else wrong

    return Rule(check, words, {"type": "string", "maxLength": longest})


def one_of(*values: Any) -> Rule:
    """One of a few values."""
    words = " or ".join(json.dumps(one) for one in values)

    def check(value: Any) -> str | None:
        # `1 == True` in Python, so the type counts too.
        good = any(type(value) is type(one) and value == one for one in values)
        return None if good else f"must be {words}"

    return Rule(check, words, {"enum": list(values)})


flag: Final = Rule(
    lambda value: None if type(value) is bool else "must be true or false", "true or false", {"type": "boolean"}
)
nothing: Final = Rule(lambda value: None if value is None else "must be null", "null", {"type": "null"})


def many(rule: Rule, most: int, least: int = 0) -> Rule:
    """A list of `least` to `most` items that each keep a rule."""
    words = f"a list of {least} to {most} items"
    check_item = rule.check

    def check(value: Any) -> str | None:
        if type(value) is not list or not least <= len(value) <= most:
            return f"must be {words}"
        for place, item in enumerate(value):
            wrong = check_item(item)
            if wrong:
                return f"item {place}: {wrong}"
        return None

    schema = {"type": "array", "items": rule.schema, "minItems": least, "maxItems": most}
    return Rule(check, f"{words}, each {rule.words}", schema, rule.fields, rule.needed)


def either(*rules: Rule) -> Rule:
    """A value that keeps at least one of several rules, of which one at most is for objects."""
    checks = tuple(rule.check for rule in rules)

    def check(value: Any) -> str | None:
        reasons = []
        for one in checks:
            wrong = one(value)
            if wrong is None:
                return None
            reasons.append(wrong)
        return " or ".join(reasons)

    words = ", or ".join(rule.words for rule in rules)
    inner = next((rule for rule in rules if rule.fields), rules[0])
    return Rule(check, words, {"anyOf": [rule.schema for rule in rules]}, inner.fields, inner.needed)


def table(fields: Mapping[str, Rule], *required: str) -> Rule:
    """An object with these fields and no others."""
    checks = {name: rule.check for name, rule in fields.items()}

    def check(value: Any) -> str | None:
        if type(value) is not dict:
            return "must be an object"
        for name in required:
            if name not in value:
                return f"lacks '{name}'"
        for name, item in value.items():
            one = checks.get(name)
            if one is None:
                return f"has '{name[:60]}', which is not supported here"
            wrong = one(item)
            if wrong:
                return f"'{name}' {wrong}"
        return None

    schema = object_schema({name: rule.schema for name, rule in fields.items()}, required)
    return Rule(check, "an object" if fields else "an empty object", schema, fields, frozenset(required))


def object_schema(properties: Mapping[str, Schema], required: Iterable[str]) -> Schema:
    """The schema of an object with these properties and no others."""
    # By the older drafts, which many tools still read, an empty list of needs is no schema.
    needs = {"required": list(required)} if required else {}
    return {"type": "object", "properties": properties, **needs, "additionalProperties": False}


def tagged(by: str, cases: Mapping[str, Rule], refused: Mapping[str, str], default: str = "") -> Rule:
    """An object whose field `by` says which of several rules it has to keep; without it, `default` holds.

    `refused` are those that clients may well send, and why they are not taken.
    """
    names = " or ".join(json.dumps(name) for name in cases)

    def check(value: Any) -> str | None:
        if type(value) is not dict:
            return "must be an object"
        said = value.get(by)
        if said is None:
            said = default
        rule = cases.get(said) if type(said) is str else None
        if rule is not None:
            return rule.check(value)
        if type(said) is str and said in refused:
            return f"has the {by} '{said}', which is not supported: {refused[said]}"
        if not said:
            return f"lacks '{by}'"
        return f"has the {by} '{str(said)[:60]}' in place of {names}"

    fields = {f'{by}: "{name}"': rule for name, rule in cases.items()}
    schemas = [_case(by, name, rule, is_default=name == default) for name, rule in cases.items()]
    return Rule(check, f"an object whose `{by}` is {names}", {"anyOf": schemas}, fields)


def _case(by: str, name: str, rule: Rule, is_default: bool) -> Schema:
    """The schema of an object whose field `by` says that it has to keep this rule for objects."""
    tag = rule.fields[by]
    # Where null stands for the default, only a rule that takes it lets it through.
    said = [one for one in ((name, None) if is_default else (name,)) if tag.check(one) is None]
    properties = {**rule.schema["properties"], by: {"enum": said}}
    return object_schema(properties, sorted(rule.needed if is_default else rule.needed | {by}))


def labels(most: int, longest: int) -> Rule:
    """An object of at most `most` short texts."""
    words = f"an object of at most {most} strings of at most {longest} characters"

    def check(value: Any) -> str | None:
        if type(value) is not dict or len(value) > most:
            return f"must be {words}"
        good = all(type(text) is str and len(text) <= longest and len(name) <= longest for name, text in value.items())
        return None if good else f"must be {words}"

    schema = {
        "type": "object",
        "maxProperties": most,
        "propertyNames": {"maxLength": longest},
        "additionalProperties": {"type": "string", "maxLength": longest},
    }
    return Rule(check, words, schema)


def any_json(most_nodes: int) -> Rule:
    """An object of any content, neither too deep nor too large."""

    def check(value: Any) -> str | None:
        if type(value) is not dict:
            return "must be an object"
        nodes = 0
        level: list[Any] = [value]
        for _ in range(_DEEPEST):
            nodes += len(level)
            if nodes > most_nodes:
                return f"must have at most {most_nodes} values"
            level = [child for node in level for child in _children(node)]
            if not level:
                return None
        return f"must be nested at most {_DEEPEST} deep"

    words = f"any object of at most {most_nodes} values, nested at most {_DEEPEST} deep"
    return Rule(check, words, {"type": "object", "maxProperties": most_nodes - 1, "description": words})


def _children(node: Any) -> list[Any]:
    if type(node) is dict:
        return list(node.values())
    return node if type(node) is list else []
