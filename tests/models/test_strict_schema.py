"""Schemas as providers can enforce them: never wider than what the user wrote, where that is promised."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from agentbatch.models.strict_schema import enforceable_schema, strict_schema

FLAT: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Review",
    "type": "object",
    "properties": {
        "score": {"type": "number", "minimum": 0, "maximum": 1, "description": "How good.", "default": 0},
        "issues": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        "kind": {"enum": ["a", "b", None]},
        "note": {"type": ["string", "null"]},
        "inner": {"type": "object", "properties": {"x": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
                  "required": ["x"]},
    },
    "required": ["score", "issues", "kind", "note", "inner"],
}  # fmt: skip


def test_open_objects_are_closed_at_every_depth() -> None:
    strict = strict_schema(FLAT)
    assert strict is not None
    assert strict["additionalProperties"] is False
    assert strict["properties"]["inner"]["additionalProperties"] is False
    assert strict["properties"]["score"]["minimum"] == 0
    assert "$schema" not in strict and "default" not in strict["properties"]["score"]
    assert "additionalProperties" not in FLAT, "the user's own stays as it is"


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "array", "items": {"type": "string"}},
        {"type": "string"},
        {"type": "object", "properties": {"a": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": []},
        {"type": "object", "properties": {"a": {}}, "required": ["a"]},
        {"type": "object", "properties": {"a": True}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "array"}}, "required": ["a"]},
        {"type": "object", "properties": {}, "required": [], "additionalProperties": True},
        {"type": "object", "properties": {"a": {"oneOf": [{"type": "string"}]}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}, "required": ["a"]},
        {"type": "object", "patternProperties": {".*": {"type": "string"}}},
        {"type": "object", "required": 7},
        {"type": "object", "properties": 7, "required": []},
    ],
)
def test_what_cannot_be_strict(schema: dict[str, Any]) -> None:
    assert strict_schema(schema) is None


def test_definitions() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/A"}},
        "required": ["a"],
        "$defs": {"A": {"type": "object", "properties": {}, "required": []}},
    }
    strict = strict_schema(schema)
    assert strict is not None and strict["$defs"]["A"]["additionalProperties"] is False


def test_a_schema_that_is_its_own_part() -> None:
    endless: dict[str, Any] = {"type": "array"}
    endless["items"] = endless
    schema = {"type": "object", "properties": {"a": endless}, "required": ["a"]}
    assert strict_schema(schema) is None and enforceable_schema(schema) is None


def test_bounds_are_left_to_our_own_check() -> None:
    kept = enforceable_schema(FLAT)
    assert kept is not None
    assert kept["properties"]["score"] == {"type": "number", "description": "How good."}
    assert kept["properties"]["issues"] == {"type": "array", "items": {"type": "string"}}
    assert kept["additionalProperties"] is False and kept["required"] == FLAT["required"]


def test_optional_properties_are_enforceable() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert enforceable_schema(schema) == {**schema, "additionalProperties": False}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object"},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {"a": {"$ref": "#"}}},
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/A"}},
            "$defs": {"A": {"type": "object", "properties": {"next": {"$ref": "#/$defs/A"}}}},
        },
        {"type": "object", "properties": {"a": {"not": {"type": "string"}}}},
        {"type": "object", "properties": 7},
    ],
)
def test_what_cannot_be_enforced(schema: dict[str, Any]) -> None:
    assert enforceable_schema(schema) is None


leaves = st.sampled_from(
    [{"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "null"}, {"enum": [1, "a"]}, {"type": "boolean"}]
)


def objects(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from("abc"), parts, min_size=1).map(
        lambda properties: {"type": "object", "properties": properties, "required": list(properties)}
    )


schemas = objects(
    st.recursive(
        leaves,
        lambda parts: st.one_of(
            objects(parts),
            parts.map(lambda part: {"type": "array", "items": part}),
            st.lists(parts, min_size=1, max_size=3).map(lambda some: {"anyOf": some}),
        ),
        max_leaves=8,
    )
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)


@given(schemas, values)
def test_strict_only_narrows(schema: dict[str, Any], value: Any) -> None:
    strict = strict_schema(schema)
    assert strict is not None
    if Draft202012Validator(strict).is_valid(value):
        assert Draft202012Validator(schema).is_valid(value)
