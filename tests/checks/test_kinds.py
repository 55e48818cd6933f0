"""Each kind of check, by what it finds in a value."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.assembly import Assembly
from agentbatch.checks import KINDS
from agentbatch.checks.base import Check, Verdict
from agentbatch.checks.config import CheckConfig
from agentbatch.checks.similar import edit_distance, similarity
from agentbatch.errors import ConditionFault, TemplateFault

NOBODY = cast("Assembly", None)
"""No check but a judge asks for anything."""


def verdict(value: Any, names: dict[str, Any] | None = None, **config: Any) -> Verdict:
    checked = CheckConfig.model_validate(config)
    check: Check = import_module(KINDS[checked.kind]).build(checked, "checks.x", NOBODY)
    return check.look(value, {"input": {"name": "Ada", "expected": " Yes "}, "output": value, **(names or {})})


PASS = Verdict(True, 1.0)


@pytest.mark.parametrize(
    ("config", "value", "passed", "score"),
    [
        ({"contains": "Ada"}, "I am Ada", True, 1.0),
        ({"contains": "{{ input.name }}"}, "I am Ada", True, 1.0),
        ({"contains": ["Ada", "Bob"]}, "I am Ada", False, 0.5),
        ({"contains": "ada"}, "I am Ada", False, 0.0),
        ({"contains": "ADA", "ignore_case": True}, "I am Ada", True, 1.0),
        ({"contains": '"n":1'}, {"n": 1}, True, 1.0),
        ({"not_contains": "Bob"}, "I am Ada", True, 1.0),
        ({"not_contains": ["Bob", "{{ input.name }}"]}, "I am Ada", False, 0.5),
        ({"regex": r"^\d+$"}, "123", True, 1.0),
        ({"regex": r"^\d+$"}, "12a", False, 0.0),
        ({"regex": "ADA", "ignore_case": True}, "ada", True, 1.0),
        ({"equals": "input.expected"}, "Yes", True, 1.0),
        ({"equals": "input.expected"}, "yes", False, 0.0),
        ({"equals": "input.expected", "ignore_case": True}, "yes\n", True, 1.0),
        ({"equals": 42}, "42", True, 1.0),
        ({"equals": 42}, 42, True, 1.0),
        ({"equals": 1}, True, False, 0.0),
        ({"equals": True}, True, True, 1.0),
        ({"equals": False}, False, True, 1.0),
        ({"equals": 0}, "", False, 0.0),
        ({"equals": "[1, 2]"}, [1, 2], True, 1.0),
        ({"equals": "{'a': 1}"}, {"a": 1.0}, True, 1.0),
        ({"json_schema": {"type": "object", "required": ["a"]}}, {"a": 1}, True, 1.0),
        ({"json_schema": {"type": "object", "required": ["a"]}}, '{"a": 1}', True, 1.0),
        ({"json_schema": {"type": "object", "required": ["a"]}}, {"b": 1}, False, 0.0),
        ({"json_schema": {"type": "object"}}, "no JSON", False, 0.0),
        ({"range": {"min": 0, "max": 1}}, 0.5, True, 1.0),
        ({"range": {"min": 0, "max": 1}}, "1.0", True, 1.0),
        ({"range": {"min": 0, "max": 1}}, 1.01, False, 0.0),
        ({"range": {"min": 0}}, -1, False, 0.0),
        ({"range": {"max": 5}}, 5, True, 1.0),
        ({"range": {"min": 0}}, "many", False, 0.0),
        ({"range": {"min": 0}}, True, False, 0.0),
        ({"range": {"min": 0}}, "nan", False, 0.0),
        ({"range": {"min": 0}}, None, False, 0.0),
        ({"similar": {"to": "input.name", "min": 0.5}}, "Ad", True, 2 / 3),
        ({"similar": {"to": "input.name"}}, "Ad", False, 2 / 3),
        ({"similar": {"to": "input.name"}, "ignore_case": True}, " ADA ", True, 1.0),
        ({"condition": "output | length < 5"}, "abc", True, 1.0),
        ({"condition": "output | length < 5"}, "abcdef", False, 0.0),
        ({"condition": "'Ada' in output and input.name == 'Ada'"}, "Ada", True, 1.0),
    ],
)
def test_what_passes(config: dict[str, Any], value: Any, passed: bool, score: float) -> None:
    found = verdict(value, **config)
    assert (found.passed, found.score) == (passed, pytest.approx(score))
    assert bool(found.message) is not passed


@pytest.mark.parametrize(
    ("config", "value", "message"),
    [
        ({"contains": ["Ada", "Bob", "Cy"]}, "Ada", "does not contain 'Bob', 'Cy'"),
        ({"not_contains": "Ada"}, "Ada", "contains 'Ada'"),
        ({"regex": "a+"}, "b", "'a+' is not found in 'b'"),
        ({"equals": "'x'"}, {"y": 1}, "expected 'x', got {\"y\":1}"),
        ({"equals": "'x'"}, "y" * 300, f"expected 'x', got '{'y' * 199}..."),
        (
            {"json_schema": {"type": "number"}},
            "[]",
            "the answer does not fit the schema: $: [] is not of type 'number'",
        ),
        ({"range": {"min": 2, "max": 3}}, 1, "1 is not from 2 to 3"),
        ({"range": {"min": 2}}, 1, "1 is not at least 2"),
        ({"range": {"max": 2}}, "x", "is no number: 'x'"),
        ({"similar": {"to": "'abcd'", "min": 0.9}}, "abce", "similarity 0.750 is below 0.9"),
        ({"condition": "false"}, "", "does not hold: false"),
    ],
)
def test_why_not(config: dict[str, Any], value: Any, message: str) -> None:
    assert verdict(value, **config).message == message


def test_an_expression_that_fails_is_no_verdict() -> None:
    with pytest.raises(ConditionFault, match=r"checks\.x\.condition|nope"):
        verdict("", condition="input.nope > 1")
    with pytest.raises(TemplateFault, match="nope"):
        verdict("", contains="{{ input.nope }}")


@given(st.text("ab\u00fcx", max_size=12), st.text("ab\u00fcx", max_size=12))
def test_the_edits_are_those_of_the_plain_table(one: str, other: str) -> None:
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one, 1):
        above, row = row, [place]
        for column, against in enumerate(other, 1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + (letter != against)))
    assert edit_distance(one, other) == row[-1]
    assert similarity(one, other) == similarity(other, one)


def test_long_texts_are_compared_as_far_as_it_is_quick() -> None:
    assert edit_distance("a" * 5000 + "b", "a" * 5000 + "c") == 1
    assert (
        verdict("x" * 1_000_000, similar={"to": "input.long", "min": 1.0}, names={"input": {"long": "x" * 50_000}})
        == PASS
    )
    assert similarity("", "") == 1.0
    assert similarity("abc", "") == 0.0
