import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agentbatch.models.mock_instance import instance

TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                "parent": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["name", "children", "parent"],
            "additionalProperties": False,
        }
    },
}
SCHEMAS: dict[str, Any] = {
    "empty": {},
    "anything": True,
    "object": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]},
    "required but not described": {"type": "object", "required": ["x"]},
    "described extras": {"type": "object", "required": ["x"], "additionalProperties": {"type": "integer"}},
    "least properties": {"type": "object", "minProperties": 3, "additionalProperties": {"type": "boolean"}},
    "type implied": {"properties": {"a": {"minimum": 3}}, "required": ["a"]},
    "enum": {"enum": ["low", 3, None, {"a": 1}]},
    "const": {"const": {"fixed": [1, 2]}},
    "default": {"type": "string", "default": "as given"},
    "short string": {"type": "string", "maxLength": 3},
    "long string": {"type": "string", "minLength": 40, "maxLength": 45},
    "no string": {"type": "string", "maxLength": 0},
    "number": {"type": "number", "minimum": 0, "maximum": 1},
    "open number": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "tiny number": {"type": "number", "minimum": 0.0001, "maximum": 0.0002},
    "below": {"type": "number", "maximum": -5},
    "stepped number": {"type": "number", "multipleOf": 0.5, "minimum": 1, "maximum": 3},
    "integer": {"type": "integer", "minimum": 1, "maximum": 5},
    "integer above": {"type": "integer", "exclusiveMinimum": 10},
    "integer between fractions": {"type": "integer", "minimum": 0.5, "maximum": 2.5},
    "integer under": {"type": "integer", "exclusiveMaximum": 3, "minimum": 2},
    "dozens": {"type": "integer", "multipleOf": 12, "minimum": 100, "maximum": 200},
    "boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "several types": {"type": ["string", "null", "integer"]},
    "any of": {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 7}]},
    "one of": {"oneOf": [{"type": "boolean"}, {"type": "null"}]},
    "all of": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"b": {"type": "string"}}, "required": ["b"]},
        ]
    },
    "any of beside properties": {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "anyOf": [{"required": ["b"], "properties": {"b": {"const": 1}}}, {"required": ["c"]}],
    },
    "array": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4},
    "long array": {"type": "array", "items": {"type": "integer"}, "minItems": 20},
    "empty array": {"type": "array", "maxItems": 0},
    "unique": {"type": "array", "items": {"enum": [1, 2, 3, 4]}, "minItems": 3, "maxItems": 3, "uniqueItems": True},
    "tuple": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "minItems": 2},
    "tree": TREE,
    "escaped reference": {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "integer"}}},
    "reference with siblings": {"$ref": "#/$defs/n", "maximum": 3, "$defs": {"n": {"type": "integer", "minimum": 2}}},
    **{
        form: {"type": "string", "format": form}
        for form in ("date", "time", "date-time", "duration", "email", "hostname", "uri", "uuid", "ipv4", "ipv6")
    },
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_what_is_made_fits(schema: Any):
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for number in range(40):
        made = instance(schema, number.to_bytes(16, "big"))
        validator.validate(json.loads(json.dumps(made)))


def test_the_same_key_makes_the_same_and_another_something_else():
    schema = SCHEMAS["tree"]
    assert instance(schema, b"1") == instance(schema, b"1")
    assert len({json.dumps(instance(schema, str(i).encode())) for i in range(20)}) > 15


def test_every_choice_is_met():
    schema = {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}, {"type": "boolean"}]}
    assert {instance(schema, str(i).encode()) for i in range(100)} == {"a", "b", None, True, False}


def test_optional_properties_are_made_too():
    assert set(instance(SCHEMAS["object"], b"1")) == {"a", "b"}


def test_recursion_stays_small():
    sizes = [len(json.dumps(instance(SCHEMAS["tree"], str(i).encode()))) for i in range(50)]
    assert max(sizes) < 1_000_000


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "https://example.com/schema"}, "only references inside the schema"),
        ({"$ref": "#/$defs/none"}, "leads nowhere"),
        ({"$ref": "#"}, "leads back to itself"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"required": ["a"], "properties": {"a": {"$ref": "#"}}}}}, "endless"),
    ],
)
def test_schemas_that_nothing_fits_are_refused(schema: Any, words: str):
    with pytest.raises(ValueError, match=words):
        instance(schema, b"1")
