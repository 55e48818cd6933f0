"""A quick look at a tool's arguments: most schemas say no more than names and types, and most arguments fit.

It only ever says that arguments surely fit; whatever it does not understand is for the real validator, which takes some
twenty times as long, and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

_SAYS_NOTHING = frozenset({"title", "description", "default", "examples", "$schema"})
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
"""The exact types that orjson makes of such values."""


class PlainArguments:
    """What a schema of names and simple types lets pass."""

    def __init__(self, types: Mapping[str, tuple[type, ...]], required: frozenset[str], *, closed: bool) -> None:
        self._types = types
        self._required = required
        self._closed = closed

    def surely_fit(self, arguments: Mapping[str, Any]) -> bool:
        """Whether these arguments fit, without a doubt."""
        if not self._required <= arguments.keys():
            return False
        for name, value in arguments.items():
            types = self._types.get(name)
            if types is None:
                if self._closed:
                    return False
            elif type(value) not in types:
                return False
        return True


def plain_arguments(schema: Mapping[str, Any]) -> PlainArguments | None:
    """The quick look for a schema of type object; None where it says more than names and types."""
    known = {"type", "properties", "required", "additionalProperties"} | _SAYS_NOTHING
    rest, required = schema.get("additionalProperties", True), schema.get("required", [])
    if schema.keys() - known or schema.get("type") != "object" or not isinstance(rest, bool):
        return None
    types = {name: _types_of(part) for name, part in cast("dict[str, Any]", schema.get("properties", {})).items()}
    if None in types.values():
        return None
    plain = cast("dict[str, tuple[type, ...]]", types)
    return PlainArguments(plain, frozenset(required), closed=not rest)


def _types_of(part: Any) -> tuple[type, ...] | None:
    """The types of a property that says no more than its type."""
    if not isinstance(part, dict):
        return None
    fields = cast("dict[str, Any]", part)
    if fields.keys() - {"type"} - _SAYS_NOTHING or not isinstance(fields.get("type"), str):
        return None
    return _TYPES.get(fields["type"])
