"""The short form of parameters, the schema it stands for, and arguments held against it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentbatch.errors import ToolFault
from agentbatch.tools.parameters import ArgumentCheck, parameter_schema


def test_the_short_form_is_a_schema() -> None:
    schema = parameter_schema(
        {
            "city": "string",
            "days": "integer?",
            "unit": ["C", "F"],
            "deep": {"type": "array", "items": {"type": "number"}},
            "lang": {"type": "string", "default": "en"},
        }
    )
    assert schema == {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer"},
            "unit": {"enum": ["C", "F"]},
            "deep": {"type": "array", "items": {"type": "number"}},
            "lang": {"type": "string", "default": "en"},
        },
        "required": ["city", "unit", "deep"],
        "additionalProperties": False,
    }


def test_a_parameter_may_be_called_type() -> None:
    assert parameter_schema({"type": "string"})["properties"] == {"type": {"type": "string"}}


def test_a_whole_schema_stays_as_it_is_and_is_closed_unless_it_is_open() -> None:
    whole = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert parameter_schema(whole) == {**whole, "additionalProperties": False}
    assert parameter_schema({**whole, "additionalProperties": True})["additionalProperties"] is True
    assert parameter_schema(None) == {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"city": "strin"}, "city: expected one of string, .* did you mean 'string'"),
        ({"city": 3}, "city: expected a type"),
        ({"type": "object", "properties": {"a": {"type": "strange"}}}, "no valid JSON Schema: properties.a.type"),
        ({"properties": {}, "type": "array"}, "type is 'array'"),
    ],
)
def test_what_is_neither_is_refused(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parameter_schema(parameters)


def test_defaults_are_filled_in_and_only_declared_arguments_pass() -> None:
    check = ArgumentCheck(parameter_schema({"city": "string", "lang": {"type": "string", "default": "en"}}))
    assert check.read('{"city": "Bonn"}') == {"city": "Bonn", "lang": "en"}
    with pytest.raises(ToolFault, match=r"'cmd' was unexpected.*the arguments are city, lang"):
        check.read('{"city": "Bonn", "cmd": "rm"}')


def test_every_fault_is_told_but_not_a_thousand() -> None:
    check = ArgumentCheck(parameter_schema({"all": {"type": "array", "items": {"type": "string"}}}))
    with pytest.raises(ToolFault, match=r"\$\.all\[0\].*and 995 more") as fault:
        check.read(json.dumps({"all": [1] * 1000}))
    assert len(fault.value.message) < 1000
