"""Whether and how a JSON Schema can be enforced while a model writes ("strict" structured outputs): pure.

Providers enforce a subset: every object closed, every property required, every array with its items. Source:
https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

_NEEDS_NO_LOOK = frozenset({"description", "title", "enum", "const", "type", "required", "$ref", "pattern", "format"})
_BOUNDS = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"}
)
_NOTES = frozenset({"$schema", "$id", "$comment", "default", "examples"})
_BEYOND = frozenset(
    {"oneOf", "not", "if", "patternProperties", "propertyNames", "prefixItems", "dependentSchemas", "$dynamicRef"}
)
_OF_SCHEMAS = frozenset({"properties", "$defs", "definitions"})


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema with its open objects closed, or None if it can't be enforced strictly.

    Closing narrows: whatever fits the result fits `schema`. Properties that `schema` leaves optional stay so, which
    strictness does not allow, so the answer is None.
    """
    try:
        strict = _closed(schema)
    except _MISSHAPEN:
        return None
    return strict if strict.get("type") == "object" else None


def enforceable_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The part of the schema that Claude can be held to, or None if its shape is beyond that.

    Objects are closed; bounds of numbers, lengths and patterns are left out, since the answer is checked against the
    whole schema anyway. Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs
    """
    try:
        kept = _enforceable(schema)
    except _MISSHAPEN:
        return None
    return kept if kept.get("type") == "object" else None


def _enforceable(schema: Any, *, in_definition: bool = False) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or not schema:
        raise _NotStrict
    given = cast("Mapping[str, Any]", schema)
    reference = given.get("$ref")
    if given.keys() & _BEYOND or reference == "#" or (reference and in_definition):  # references may go in circles
        raise _NotStrict
    kept = {key: given[key] for key in given if key in _NEEDS_NO_LOOK and key not in ("pattern", "format")}
    if not kept.keys() & {"type", "$ref", "enum", "const"} and "anyOf" not in given:
        raise _NotStrict
    for key in _OF_SCHEMAS & given.keys():
        deeper = in_definition or key != "properties"
        kept[key] = {name: _enforceable(part, in_definition=deeper) for name, part in given[key].items()}
    for key in {"anyOf", "allOf"} & given.keys():
        kept[key] = [_enforceable(part, in_definition=in_definition) for part in given[key]]
    if "items" in given:
        kept["items"] = _enforceable(given["items"], in_definition=in_definition)
    if "object" in _types(kept):
        if given.get("additionalProperties", False) is not False or not given.get("properties"):
            raise _NotStrict
        kept["additionalProperties"] = False
    return kept


def _types(schema: Mapping[str, Any]) -> list[Any]:
    kinds = schema.get("type")
    return cast("list[Any]", kinds) if isinstance(kinds, list) else [kinds]


class _NotStrict(Exception):
    """Somewhere in the schema stands what can't be enforced."""


_MISSHAPEN = (_NotStrict, RecursionError, TypeError, AttributeError)
"""What walking over a schema may meet: others say what is wrong with one that is no schema at all."""


def _closed(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or not schema:
        raise _NotStrict
    given = cast("Mapping[str, Any]", schema)
    strict = {key: _checked(key, value) for key, value in given.items() if key not in _NOTES}
    kinds = _types(strict)
    if "object" in kinds:
        _close_object(strict)
    if "array" in kinds and "items" not in strict:
        raise _NotStrict
    if "type" not in strict and not strict.keys() & {"$ref", "anyOf", "enum", "const"}:
        raise _NotStrict
    return strict


def _close_object(strict: dict[str, Any]) -> None:
    properties: Mapping[str, Any] = strict.get("properties", {})
    if set(strict.get("required", ())) != set(properties):
        raise _NotStrict
    if strict.setdefault("additionalProperties", False) is not False:
        raise _NotStrict


def _checked(key: str, value: Any) -> Any:
    if key in _NEEDS_NO_LOOK or key in _BOUNDS:
        return value
    if key in _OF_SCHEMAS and isinstance(value, Mapping):
        return {name: _closed(part) for name, part in cast("Mapping[str, Any]", value).items()}
    if key == "items":
        return _closed(value)
    if key == "anyOf" and isinstance(value, list):
        return [_closed(part) for part in cast("list[Any]", value)]
    if key == "additionalProperties":
        return value
    raise _NotStrict
