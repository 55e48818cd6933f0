from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.inputs import BadLine
from agentbatch.items import Failure, Item, ItemResult, Result
from agentbatch.messages import Usage
from agentbatch.results import bad_line_result, encode_result, format_time

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
STARTED_NS = 1_795_244_400_123_456_789  # 2026-11-21T07:00:00.123456789Z


def strictly(line: bytes) -> dict[str, Any]:
    """The line's fields, read by a parser that refuses what RFC 8259 does not know."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} in a result line")

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    text = line.decode("utf-8")
    assert not any("\ud800" <= letter <= "\udfff" for letter in text)
    return json.loads(text, parse_constant=refuse)


def ended(result: Result, item_id: str | int = "1", index: int = 0) -> ItemResult:
    return ItemResult(Item(item_id, index, {}, index + 1), TRACE_ID, STARTED_NS, result)


def test_a_line_is_exactly_as_promised() -> None:
    writer = Result(
        "ok",
        output="text",
        usage=Usage(120, 80, 1),
        cost_usd=0.000066,
        attempts=1,
        queued_s=0.0020000004,
        duration_s=0.81,
        kind="chat",
    )
    whole = Result(
        "ok",
        output="text",
        usage=Usage(120, 80, 1),
        cost_usd=0.000066,
        queued_s=0.002,
        duration_s=0.82,
        steps={"writer": writer},
        kind="sequence",
    )
    assert encode_result(ended(whole)) == (
        b'{"id":"1","index":0,"status":"ok","output":"text","error":null,"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736",'
        b'"agents":{"writer":{"status":"ok","output":"text","error":null,"attempts":1,"queued_s":0.002,"duration_s":0.81,'
        b'"usage":{"input_tokens":120,"output_tokens":80,"requests":1},"cost_usd":0.000066}},'
        b'"usage":{"input_tokens":120,"output_tokens":80,"requests":1},"cost_usd":0.000066,'
        b'"started_at":"2026-11-21T07:00:00.123456Z","queued_s":0.002,"duration_s":0.82}\n'
    )


def test_steps_are_flat_in_the_order_they_began_and_groups_have_a_kind_but_no_output() -> None:
    leaf = Result("ok", output="leaf", kind="chat")
    loop = Result("ok", output="last", kind="loop", steps={"refine[1].writer": leaf, "refine[2].writer": leaf})
    tool = Result("ok", output="answer", kind="react", steps={"helper": leaf})
    line = strictly(encode_result(ended(Result("ok", steps={"refine": loop, "asker": tool}))))
    assert list(line["agents"]) == ["refine", "refine[1].writer", "refine[2].writer", "asker", "helper"]
    assert line["agents"]["refine"]["kind"] == "loop"
    assert "output" not in line["agents"]["refine"]
    assert "kind" not in line["agents"]["asker"]
    assert line["agents"]["asker"]["output"] == "answer"


def test_a_failure_stands_in_the_line() -> None:
    failure = Failure("rate_limited", "slow down", "writer", 429, 5)
    line = strictly(encode_result(ended(Result("error", error=failure))))
    assert line["error"] == {
        "type": "rate_limited",
        "message": "slow down",
        "agent": "writer",
        "http_status": 429,
        "attempts": 5,
    }


def test_an_unknown_price_is_null_and_small_ones_keep_ten_digits() -> None:
    assert strictly(encode_result(ended(Result("ok", cost_usd=None))))["cost_usd"] is None
    assert strictly(encode_result(ended(Result("ok", cost_usd=0.00000012345678))))["cost_usd"] == 0.0000001235


def test_cached_and_reasoning_tokens_stand_only_where_there_are_any() -> None:
    usage = strictly(encode_result(ended(Result("ok", usage=Usage(9, 8, 1, 7, 6, 5)))))["usage"]
    assert usage == {
        "input_tokens": 9,
        "output_tokens": 8,
        "requests": 1,
        "cached_tokens": 7,
        "cache_write_tokens": 6,
        "reasoning_tokens": 5,
    }


def test_agents_and_usage_can_be_left_out() -> None:
    result = Result("ok", steps={"a": Result("ok", kind="chat")})
    bare = strictly(encode_result(ended(result), frozenset()))
    assert "agents" not in bare
    assert "usage" not in bare
    assert "usage" not in strictly(encode_result(ended(result), frozenset({"agents"})))["agents"]["a"]


def test_a_bad_line_becomes_an_error_of_type_input() -> None:
    bad = BadLine(4, 7, "x.jsonl:7: not JSON", "7")
    line = strictly(encode_result(bad_line_result(bad, TRACE_ID, STARTED_NS)))
    assert (line["id"], line["index"], line["status"]) == ("7", 4, "error")
    assert line["error"]["type"] == "input"
    assert line["error"]["message"] == "x.jsonl:7: not JSON"


def test_integer_ids_stay_integers() -> None:
    assert strictly(encode_result(ended(Result("ok"), item_id=7)))["id"] == 7


@pytest.mark.parametrize(
    ("unix_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (STARTED_NS, "2026-11-21T07:00:00.123456Z"),
        (999_999_999, "1970-01-01T00:00:00.999999Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000000Z"),
    ],
)
def test_times_are_rfc_3339(unix_ns: int, text: str) -> None:
    assert format_time(unix_ns) == text


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: float
    y: object


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no")


class Sly(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("output", "written"),
    [
        (math.nan, None),
        ([math.inf, -math.inf, 1.5], [None, None, 1.5]),
        ("half \ud800 pair", "half \ufffd pair"),
        ({"\udfff": "\ud800"}, {"\ufffd": "\ufffd"}),
        (b"caf\xc3\xa9 \xff", "caf\u00e9 \ufffd"),
        (2**64 - 1, 2**64 - 1),
        (2**64, "18446744073709551616"),
        (-(2**63) - 1, "-9223372036854775809"),
        ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "(1, 2)": "c"}),
        ({"t": (1, 2), "s": {3}}, {"t": [1, 2], "s": [3]}),
        (Colour.RED, "red"),
        ([Colour.RED, b"x"], ["red", "x"]),
        ([Point(1.0, {2})], [{"x": 1.0, "y": [2]}]),
        ([complex(1, 2)], ["(1+2j)"]),
        ([Mute(), b""], ["[Mute without a text: RuntimeError]", ""]),
        ("line\nbreak \x00 \x1b[31m \u2028", "line\nbreak \x00 \x1b[31m \u2028"),
    ],
)
def test_what_is_no_json_becomes_the_nearest_thing_that_is(output: object, written: object) -> None:
    line = strictly(encode_result(ended(Result("ok", output=output))))
    assert line["output"] == written


def _nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def _looped() -> list[Any]:
    value: list[Any] = [1]
    value += [value, value]
    return value


@pytest.mark.parametrize(
    "make",
    [lambda: _nested(5000), _looped, lambda: 10**6000, lambda: [Sly(a=1), b""]],
    ids=["deep", "loop", "long", "sly"],
)
def test_monsters_are_written_too(make: Callable[[], object]) -> None:
    assert strictly(encode_result(ended(Result("ok", output=make()))))["output"] is not None


_ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, categories=None))
    | st.binary()
    | st.complex_numbers()
    | st.datetimes()
    | st.uuids(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.none(), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(output=_ANYTHING, item_id=st.text(min_size=1) | st.integers(), message=st.text(), seconds=st.floats())
def test_no_value_breaks_a_line(output: object, item_id: str | int, message: str, seconds: float) -> None:
    steps = {"a": Result("ok", output=output, duration_s=seconds, kind="function")}
    result = Result("error", output, Failure("function", message, "a"), cost_usd=seconds, steps=steps, queued_s=seconds)
    line = strictly(encode_result(ended(result, item_id=item_id)))
    assert list(line)[:6] == ["id", "index", "status", "output", "error", "trace_id"]
