"""Settings without what somebody has typed: numbers, switches, choices from a list and what is ours anyway (pure).

Nothing is left out because it looks like a secret: a text stays only where it is one of those that we have written
ourselves. So a key that stands in the wrong place, a name or an address cannot get through.
"""

from __future__ import annotations

from collections.abc import Container
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel

SET: Final = "(set)"


def blanked(settings: BaseModel, known: Container[str]) -> dict[str, Any]:
    """The settings as JSON; a text that is neither a default, nor a choice, nor `known`, becomes `(set)`."""
    found = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        is_choice = isinstance(value, str) and value in _choices(field.annotation)
        is_default = isinstance(value, str | list) and value == field.get_default(call_default_factory=True)
        if is_choice or is_default:
            found[name] = value
        else:
            found[name] = _value(value, known)
    return found


def _value(value: Any, known: Container[str]) -> Any:
    if isinstance(value, BaseModel):
        return blanked(value, known)
    if isinstance(value, dict):
        # Names are the admin's own, but for those that we know.
        return {
            name if name in known else f"({place})": _value(one, known)
            for place, (name, one) in enumerate(value.items(), 1)
        }
    if isinstance(value, list | tuple):
        return [_value(one, known) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return value if isinstance(value, str) and value in known else SET


def _choices(kind: Any) -> tuple[Any, ...]:
    """The values that a type lists one by one; none for any other."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    if get_origin(kind) in (UnionType, Union, Annotated):
        return tuple(choice for inner in get_args(kind) for choice in _choices(inner))
    return ()
