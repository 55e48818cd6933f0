"""`output_schema` held against what a model may write."""

from __future__ import annotations

import time
from typing import Any

import pytest

from agentbatch.answer_schema import AnswerSchema
from agentbatch.errors import SchemaFault

OBJECT = AnswerSchema({"type": "object"})


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '```json\n{"a": 1}\n```',
        '```\n{"a": 1}```',
        ' \n```json  \n\n{"a": 1}\n\n``` \n',
        '```json\r\n{"a": 1}\r\n```\r\n',
    ],
)
def test_a_fence_around_the_answer_is_tolerated(text: str) -> None:
    assert OBJECT.parse(text) == {"a": 1}


@pytest.mark.parametrize(
    "text", ["", "```", "``````", "```json\n```", "```json {} ```", "```yaml\na: 1\n```", "``` {}"]
)
def test_what_is_no_json_stays_none(text: str) -> None:
    with pytest.raises(SchemaFault, match="no valid JSON"):
        OBJECT.parse(text)


@pytest.mark.parametrize("text", ["```json" + "\n" * 200_000, "```json" + "\n" * 200_000 + "x", " " * 200_000 + "```"])
def test_a_model_that_writes_nothing_but_blanks_holds_nobody_up(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(SchemaFault):
        OBJECT.parse(text)
    assert time.perf_counter() - began < 30  # it took hours


def test_a_pattern_in_the_schema_holds_nobody_up() -> None:
    schema = AnswerSchema({"type": "object", "properties": {"a": {"pattern": "^(a+)+$"}}})
    answer: dict[str, Any] = {"a": "aaa"}
    assert schema.parse('{"a": "aaa"}') == answer
    assert schema.parse('{"a": 7}') == {"a": 7}
    with pytest.raises(SchemaFault, match="does not match"):
        schema.parse('{"a": "%s!"}' % ("a" * 40))
