"""The quick look at arguments never lets pass what the validator would refuse."""

import random
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agentbatch.tools.plain_arguments import plain_arguments

TYPES = ("string", "integer", "number", "boolean", "null")
VALUES: list[Any] = ["", "x", 0, 1, -3, 1.0, 1.5, True, False, None, [], {}, [1], {"a": 1}]


def random_schema(draw: random.Random) -> dict[str, Any]:
    properties = {name: {"type": draw.choice(TYPES), "description": "of it"} for name in "abc" if draw.random() < 0.7}
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if draw.random() < 0.6:
        schema["required"] = draw.sample("abcd", draw.randrange(3))
    if draw.random() < 0.7:
        schema["additionalProperties"] = draw.random() < 0.3
    return schema


@pytest.mark.parametrize("seed", range(5))
def test_what_it_lets_pass_is_valid(seed: int):
    draw = random.Random(seed)
    passed = 0
    for _ in range(400):
        schema = random_schema(draw)
        arguments = {name: draw.choice(VALUES) for name in "abcd" if draw.random() < 0.4}
        look = plain_arguments(schema)
        assert look is not None
        if look.surely_fit(arguments):
            passed += 1
            assert Draft202012Validator(schema).is_valid(arguments), (schema, arguments)
    assert passed > 20


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"a": 3, "more": []}),
        ({"type": "object", "properties": {"a": {"type": "number"}}, "additionalProperties": False}, {"a": 3}),
        ({"type": "object", "properties": {}, "additionalProperties": False}, {}),
    ],
)
def test_plain_arguments_pass(schema: dict[str, Any], arguments: dict[str, Any]):
    look = plain_arguments(schema)
    assert look is not None and look.surely_fit(arguments)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]}}},
        {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
        {"type": "object", "properties": {"a": {"type": "array"}}},
        {"type": "object", "properties": {"a": True}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}},
        {"type": "object", "minProperties": 1},
        {"type": "object", "additionalProperties": {"type": "string"}},
    ],
)
def test_what_says_more_is_left_to_the_validator(schema: dict[str, Any]):
    assert plain_arguments(schema) is None
