"""Rules for the fields of a request: small pure checks, each of which knows its own words.

The engine is C++ and trusts numbers; nothing that is not named and within its range gets
there. A rule is a function from a value to the reason why it is wrong, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Rule = Callable[[Any], str | None]

# Deeper JSON than any honest schema or tool needs, and far less than a C++ stack takes.
_DEEPEST = 32


def whole(low: int, high: int) -> Rule:
    """A whole number from `low` to `high`."""

    def check(value: Any) -> str | None:
        good = type(value) is int and low <= value <= high
        return None if good else f"must be a whole number from {low} to {high}"

    return check


def number(low: float, high: float) -> Rule:
    """A number from `low` to `high`."""

    def check(value: Any) -> str | None:
        good = type(value) in (int, float) and low <= value <= high
        return None if good else f"must be a number from {low:g} to {high:g}"

    return check


def flag(value: Any) -> str | None:
    """True or false."""
    return None if type(value) is bool else "must be true or false"


def text(longest: int) -> Rule:
    """A string of at most `longest` characters."""

    def check(value: Any) -> str | None:
        good = type(value) is str and len(value) <= longest
        return None if good else f"must be a string of at most {longest} characters"

    return check


def one_of(*values: Any) -> Rule:
    """One of a few values."""

    def check(value: Any) -> str | None:
        # `1 == True` in Python, so the type counts too.
        good = any(type(value) is type(one) and value == one for one in values)
        return None if good else f"must be {' or '.join(repr(one) for one in values)}"

    return check


def many(rule: Rule, most: int, least: int = 0) -> Rule:
    """A list of `least` to `most` items that each keep a rule."""

    def check(value: Any) -> str | None:
        if type(value) is not list or not least <= len(value) <= most:
            return f"must be a list of {least} to {most} items"
        for place, item in enumerate(value):
            wrong = rule(item)
            if wrong:
                return f"item {place}: {wrong}"
        return None

    return check


def either(*rules: Rule) -> Rule:
    """A value that keeps at least one of several rules."""

    def check(value: Any) -> str | None:
        wrong = [rule(value) for rule in rules]
        return None if None in wrong else " or ".join(str(reason) for reason in wrong)

    return check


def table(fields: Mapping[str, Rule], *required: str) -> Rule:
    """An object with these fields and no others."""

    def check(value: Any) -> str | None:
        if type(value) is not dict:
            return "must be an object"
        for name in required:
            if name not in value:
                return f"lacks '{name}'"
        for name, item in value.items():
            rule = fields.get(name)
            if rule is None:
                return f"has '{str(name)[:60]}', which is not supported here"
            wrong = rule(item)
            if wrong:
                return f"'{name}' {wrong}"
        return None

    return check


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

    return check


def _children(node: Any) -> list[Any]:
    if type(node) is dict:
        return list(node.values())
    return node if type(node) is list else []
