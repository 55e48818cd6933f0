"""Makes a value that fits a JSON Schema, the same one for the same schema and key.

Understands what schemas for model answers are made of: objects, arrays, strings with enum, length and format, numbers
with bounds and steps, booleans, null, const, default, anyOf, oneOf, allOf, and local `$ref`, recursive ones included.
Not `pattern`, `not`, `if`, `dependentRequired` and the like: they are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import unquote

from agentbatch.models.mock_draws import number

Schema = Mapping[str, Any]

_DEEP = 6
"""Nesting from which on only what is required is made, so that recursive schemas end."""
_TOO_DEEP = 64

_WORDS: Final = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor", "iris", "kelp", "lumen")
_IMPLIED: Final = {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "format": "string",
    "minLength": "string",
    "maxLength": "string",
    "pattern": "string",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
    "multipleOf": "number",
}


def instance(schema: Schema, key: bytes) -> Any:
    """A JSON value that fits `schema`, chosen by `key`.

    Raises:
        ValueError: a `$ref` leads nowhere or outside the schema, or the schema asks for endless nesting.
    """
    return _Maker(schema, key).value(schema, 0)


class _Maker:
    def __init__(self, root: Schema, key: bytes) -> None:
        self._root = root
        self._key = key
        self._drawn = 0

    def below(self, limit: int) -> int:
        """The next number of this key's row, from 0 to `limit` - 1."""
        self._drawn += 1
        return number(self._key + self._drawn.to_bytes(4, "big"), b"instance") % limit

    def value(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, Mapping):
            return self._word()  # `true`: anything goes
        if depth > _TOO_DEEP:
            raise ValueError("the schema requires endless nesting, so nothing can fit it")
        plain = self._flat(cast(Schema, schema), depth)
        for keyword in ("const", "default"):
            if keyword in plain:
                return plain[keyword]
        if plain.get("enum"):
            return plain["enum"][self.below(len(plain["enum"]))]
        return self._of_type(self._type(plain, depth), plain, depth)

    def _of_type(self, kind: str, schema: Schema, depth: int) -> Any:
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind == "string":
            return self._string(schema)
        if kind in ("number", "integer"):
            return self._number(schema, whole=kind == "integer")
        return bool(self.below(2)) if kind == "boolean" else None

    def _type(self, schema: Schema, depth: int) -> str:
        kind = schema.get("type")
        if isinstance(kind, str):
            return kind
        if isinstance(kind, Sequence) and kind:
            kinds = [str(name) for name in cast(Sequence[Any], kind)]
            return "null" if depth >= _DEEP and "null" in kinds else kinds[self.below(len(kinds))]
        return next((_IMPLIED[keyword] for keyword in schema if keyword in _IMPLIED), "string")

    def _flat(self, schema: Schema, depth: int) -> Schema:
        """The schema with its references followed and its branches chosen and merged."""
        for _ in range(_TOO_DEEP):
            rest = {keyword: value for keyword, value in schema.items() if keyword not in _BRANCHING}
            if "$ref" in schema:
                schema = _merged(self._target(schema["$ref"]), rest)
            elif schema.get("anyOf") or schema.get("oneOf"):
                branches = list(schema.get("anyOf") or schema["oneOf"])
                others = {keyword: schema[keyword] for keyword in ("allOf",) if keyword in schema}
                schema = _merged(_merged(rest, others), self._branch(branches, depth))
            elif schema.get("allOf"):
                for part in schema["allOf"]:
                    rest = _merged(rest, self._flat(part, depth))
                schema = rest
            else:
                return schema
        raise ValueError("a `$ref` of the schema leads back to itself")

    def _branch(self, branches: list[Any], depth: int) -> Schema:
        if depth >= _DEEP:
            branches = [min(branches, key=_weight)]
        chosen = branches[self.below(len(branches))]
        return cast(Schema, chosen) if isinstance(chosen, Mapping) else {}

    def _target(self, reference: Any) -> Schema:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise ValueError(f"only references inside the schema (#/...) can be followed, not {reference!r}")
        found: Any = self._root
        for part in reference[1:].split("/")[1:]:
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(name) if isinstance(found, list) else name]
            except (KeyError, IndexError, ValueError, TypeError):
                raise ValueError(f"the reference {reference!r} leads nowhere in the schema") from None
        return cast(Schema, found) if isinstance(found, Mapping) else {}

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties: Schema = schema.get("properties", {})
        required: Sequence[str] = schema.get("required", ())
        names = [name for name in properties if depth < _DEEP or name in required]
        names += [name for name in required if name not in properties]
        extra = schema.get("additionalProperties", True)
        made = {name: self.value(properties.get(name, extra), depth + 1) for name in names}
        while len(made) < schema.get("minProperties", 0):
            made[f"{self._word()}_{len(made)}"] = self.value(extra, depth + 1)
        return made

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        first: Sequence[Any] = schema.get("prefixItems", ())
        least = max(schema.get("minItems", 0), 0)
        most = schema.get("maxItems", max(least, 3))
        length = least if depth >= _DEEP else least + self.below(max(1, min(most, max(least, 3)) - least + 1))
        length = max(length, min(len(first), most)) if depth < _DEEP else length
        items = schema.get("items", True)
        if items is False:
            length = min(length, len(first))
        made: list[Any] = []
        for place in range(length):
            made.append(self._item(first[place] if place < len(first) else items, depth, made, schema))
        return made

    def _item(self, schema: Any, depth: int, before: list[Any], array: Schema) -> Any:
        value = self.value(schema, depth + 1)
        if array.get("uniqueItems"):
            tries = 0
            while value in before and tries < 100:
                value, tries = self.value(schema, depth + 1), tries + 1
        return value

    def _string(self, schema: Schema) -> str:
        made = self._formatted(schema.get("format")) or f"{self._word()} {self._word()}"
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        while len(made) < least:
            made += f" {self._word()}"
        if most is not None:
            made = made[:most]
        return made if not made.endswith(" ") else made[:-1] + "."

    def _formatted(self, form: Any) -> str:
        day = f"20{10 + self.below(20)}-{1 + self.below(12):02}-{1 + self.below(28):02}"
        clock = f"{self.below(24):02}:{self.below(60):02}:{self.below(60):02}Z"
        low, high = self.below(1 << 48), self.below(1 << 60)
        word = self._word()
        forms = {
            "date": day,
            "time": clock,
            "date-time": f"{day}T{clock}",
            "duration": f"PT{1 + low % 90}M",
            "email": f"{word}@example.com",
            "idn-email": f"{word}@example.com",
            "hostname": f"{word}.example.com",
            "idn-hostname": f"{word}.example.com",
            "uri": f"https://example.com/{word}",
            "url": f"https://example.com/{word}",
            "iri": f"https://example.com/{word}",
            "uri-reference": f"/{word}",
            "uuid": f"{high >> 28:08x}-{high >> 12 & 0xFFFF:04x}-4{high & 0xFFF:03x}-8{low >> 36:03x}-{low:012x}",
            "ipv4": f"192.0.2.{1 + low % 254}",
            "ipv6": f"2001:db8::{1 + low % 65535:x}",
            "json-pointer": f"/{word}",
            "regex": f"^{word}$",
        }
        return forms.get(str(form), "")

    def _number(self, schema: Schema, whole: bool) -> float:
        step = schema.get("multipleOf") or (1 if whole else None)
        if whole and step != int(step or 1):
            step = float(step or 1).as_integer_ratio()[0]
        low, high = _bounds(schema, step or 1e-6)
        if step is None:
            return round(low + (high - low) * self.below(1001) / 1000, 6)
        first, last = math.ceil(low / step), math.floor(high / step)
        made = (first + self.below(max(1, last - first + 1))) * step
        return int(made) if whole else made

    def _word(self) -> str:
        return _WORDS[self.below(len(_WORDS))]


_BRANCHING: Final = frozenset(("$ref", "anyOf", "oneOf", "allOf"))


def _weight(branch: Any) -> int:
    """Less for what nests less."""
    if not isinstance(branch, Mapping):
        return 0
    kind = cast(Schema, branch).get("type")
    nests = kind in ("object", "array") or "$ref" in branch or "properties" in branch
    return 2 if nests else 0 if kind == "null" else 1


def _merged(one: Schema, other: Schema) -> Schema:
    """Both schemas at once: properties and required together, of the rest the second one's word."""
    both = {**one, **other}
    if "properties" in one and "properties" in other:
        both["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        both["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    return both


def _bounds(schema: Schema, step: float) -> tuple[float, float]:
    """The least and the greatest number to draw; a missing side lies a hundred steps or a hundred away."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if isinstance(above := schema.get("exclusiveMinimum"), int | float):
        low = above + step if low is None else max(low, above + step)
    if isinstance(under := schema.get("exclusiveMaximum"), int | float):
        high = under - step if high is None else min(high, under - step)
    width = max(100.0, 100.0 * step) if step >= 1 else 100.0
    if low is None:
        low = 0 if high is None or high >= 0 else high - width
    if high is None:
        high = low + width
    return low, high
