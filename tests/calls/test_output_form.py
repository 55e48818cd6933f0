"""What is taken of a program's output."""

from __future__ import annotations

from typing import Any

import pytest

from agentbatch.calls.output_form import pick, read_output

LINES = '{"type": "start"}\n\n{"type": "end", "item": {"text": "done"}}\n'


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        ("text", "two\nlines\n\n", "two\nlines"),
        ("json", ' {"a": [1]}\n', {"a": [1]}),
        ("jsonl", LINES, [{"type": "start"}, {"type": "end", "item": {"text": "done"}}]),
        ("result", '{"result": "x"}', "x"),
        ("a.0.b", '{"a": [{"b": null}]}', None),
        ("-1.item.text", LINES, "done"),
        ("0.type", LINES, "start"),
    ],
)
def test_each_form_takes_its_part(form: str, text: str, value: Any) -> None:
    assert read_output(form, text) == value


@pytest.mark.parametrize(
    ("form", "text", "words"),
    [
        ("json", "not json\x1b[31m", r"no valid JSON.*not json\\x1b"),
        ("json", "", "nothing"),
        ("jsonl", '{"a": 1}\nb', "no valid JSON"),
        ("result", "no json", "no valid JSON"),
        ("result.x", '{"result": "y"}', "there is no 'x' in result, which is 'y'"),
        ("b", '{"a": 1, "c": 2}', "there is no 'b' in the answer, which is an object with a, c"),
        ("2", "[1, 2]", "a list of 2"),
        ("-3", "[1, 2]", "a list of 2"),
        ("999999999999", "[1]", "a list of 1"),
        ("__class__", "{}", "nothing in it"),
    ],
)
def test_what_is_not_there_is_said_so(form: str, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_output(form, text)


def test_a_key_that_is_a_number_is_a_key() -> None:
    assert pick({"1": ["x"]}, "1.0") == "x"
