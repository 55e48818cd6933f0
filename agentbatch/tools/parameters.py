"""A tool's parameters: the short form and the JSON Schema it stands for, and arguments checked against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

import orjson

from agentbatch.errors import ToolFault
from agentbatch.text.patterns import schema_checker
from agentbatch.text.suggestions import did_you_mean, listing
from agentbatch.tools.plain_arguments import plain_arguments

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_TYPES = ("string", "integer", "number", "boolean", "array", "object")
_MOST_ERRORS = 5
_MAX_ARGUMENTS = 1_000_000
"""Characters: longer arguments are a model gone astray."""


def parameter_schema(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """The JSON Schema that a tool's `parameters` stand for. Arguments that it does not declare are not allowed.

    Raises:
        ValueError: they are neither a schema of type object nor the short form.
    """
    if not parameters:
        return _closed({"type": "object", "properties": {}})
    if parameters.get("type") == "object" or "properties" in parameters:
        schema = _closed({"type": "object", "properties": {}, **parameters})
    else:
        schema = _closed(_long_form(parameters))
    _check(schema)
    return schema


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    open_ended = {"additionalProperties", "patternProperties", "unevaluatedProperties"}
    return schema if open_ended & schema.keys() else {**schema, "additionalProperties": False}


def _long_form(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """`{city: string, days: integer?}` as a schema: what has no `?` and no default is required."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, short in parameters.items():
        optional = isinstance(short, str) and short.endswith("?")
        properties[name] = _property(name, short.removesuffix("?") if isinstance(short, str) else short)
        if not optional and "default" not in properties[name]:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def _property(name: str, short: Any) -> dict[str, Any]:
    if isinstance(short, str):
        if short not in _TYPES:
            raise ValueError(f"{name}: expected one of {listing(_TYPES)}{did_you_mean(short, _TYPES)}")
        return {"type": short}
    if isinstance(short, list):
        return {"enum": short}
    if isinstance(short, dict):
        return cast("dict[str, Any]", short)
    raise ValueError(f"{name}: expected a type such as string, a list of values, or a JSON Schema")


def _check(schema: dict[str, Any]) -> None:
    from jsonschema import Draft202012Validator  # late: only configs with tools need it
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = ".".join(str(part) for part in error.absolute_path)
        raise ValueError(f"no valid JSON Schema: {place + ': ' if place else ''}{error.message[:300]}") from None
    if schema["type"] != "object":
        raise ValueError(f"arguments are an object, but the schema's type is {schema['type']!r}")


def can_be_checked(schema: Mapping[str, Any]) -> bool:
    """Whether arguments can be checked against somebody else's schema: it is valid, and refers to itself only, for what
    it refers to elsewhere would be fetched."""
    try:
        _check(dict(schema))
    except (ValueError, RecursionError):
        return False
    return all(_leads_somewhere(reference, schema) for reference in _references(schema))


def _references(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, Any]", value).items():
            if key in ("$ref", "$dynamicRef"):
                yield inner
            else:
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _references(inner)


def _leads_somewhere(reference: Any, schema: Any) -> bool:
    """Whether a JSON pointer behind a `#` has a target: RFC 6901."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return False
    for part in reference[2:].split("/"):
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if not isinstance(schema, Mapping) or key not in schema:
            return False
        schema = cast("Mapping[str, Any]", schema)[key]
    return True


class ArgumentCheck:
    """Reads and checks the arguments of one tool's calls. `schema` is of type object."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._plain = plain_arguments(schema)
        self._validator: Validator = schema_checker(schema)
        properties = cast("dict[str, Any]", schema.get("properties") or {})
        self._names = tuple(properties)
        self._defaults = {
            name: cast("dict[str, Any]", part)["default"]
            for name, part in properties.items()
            if isinstance(part, dict) and "default" in part
        }

    def read(self, text: str) -> dict[str, Any]:
        """The arguments in a call's JSON text, with the schema's defaults for those left out.

        Raises:
            ToolFault: they are no JSON object, or don't fit; the message tells the model what to mend.
        """
        arguments = {**self._defaults, **_parsed(text)}
        if self._plain is not None and self._plain.surely_fit(arguments):
            return arguments
        try:
            errors = [self._said(error) for error in self._validator.iter_errors(arguments)]
        except RecursionError:
            raise ToolFault("the arguments are nested too deeply to be checked") from None
        if errors:
            more = f"; and {len(errors) - _MOST_ERRORS} more" if len(errors) > _MOST_ERRORS else ""
            raise ToolFault(f"the arguments don't fit: {'; '.join(errors[:_MOST_ERRORS])}{more}")
        return arguments

    def _said(self, error: Any) -> str:
        if error.validator == "additionalProperties" and not error.absolute_path and error.validator_value is False:
            return f"{error.message[:300]}: the arguments are {listing(self._names, 30) or 'none'}"
        return f"{error.json_path}: {error.message[:300]}"


def _parsed(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    if len(text) > _MAX_ARGUMENTS:
        raise ToolFault(f"the arguments are longer than {_MAX_ARGUMENTS:,} characters")
    try:
        value: Any = orjson.loads(text)
    except ValueError as error:
        raise ToolFault(f"the arguments are no valid JSON: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ToolFault(f"the arguments must be a JSON object, not {_word(value)}")
    return cast("dict[str, Any]", value)


def _word(value: object) -> str:
    match value:
        case list():
            return "an array"
        case str():
            return "a string"
        case bool():
            return "a boolean"
        case _:
            return "a number"
