"""Request bodies: valid JSON whatever is put in, and the same parts encoded once."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.errors import BadRequest
from agentbatch.models.request_body import EncodedOnce, encode_body


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_can_be_sent(text: str) -> None:
    sent = json.loads(encode_body({"text": text}))["text"]
    assert sent == text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@pytest.mark.parametrize(
    ("value", "sent"),
    [({1: 2}, {"1": 2}), (date(2026, 11, 21), "2026-11-21"), (2**70, 2**70), ((1, 2), [1, 2])],
)
def test_what_yaml_may_hold(value: Any, sent: Any) -> None:
    assert json.loads(encode_body({"a": value})) == {"a": sent}
    assert json.loads(encode_body({"a": value, "broken": "\ud800"})) == {"a": sent, "broken": "\ufffd"}


def test_what_json_has_no_word_for() -> None:
    circle: dict[str, Any] = {}
    circle["circle"] = circle
    with pytest.raises(BadRequest, match="can't be written as JSON"):
        encode_body({"a": circle})
    with pytest.raises(BadRequest, match="can't be written as JSON"):
        encode_body({"a": object()})


def test_the_same_thing_is_encoded_once() -> None:
    shaped: list[object] = []

    def shape(thing: Any) -> Any:
        shaped.append(thing)
        return {"shaped": thing}

    once = EncodedOnce(shape)
    thing = [1]
    for _ in range(3):
        assert json.loads(encode_body({"a": once(thing)})) == {"a": {"shaped": [1]}}
    assert len(shaped) == 1
    assert json.loads(encode_body({"a": once(thing), "b": "\ud800"}))["a"] == {"shaped": [1]}


def test_many_things_are_not_kept_for_ever_nor_mixed_up() -> None:
    once = EncodedOnce(lambda thing: thing)
    for number in range(1000):
        assert json.loads(encode_body({"a": once([number])})) == {"a": [number]}
