from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.inputs.json_lines import NotJson, parse_line


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b'{"a": 1}\r\n', {"a": 1}),
        (b'"just text"', "just text"),
        (b"[1, 2]", [1, 2]),
        (b"null", None),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        ('"line\u2028and\u0085next"'.encode(), "line\u2028and\u0085next"),
        (b'"a\xffb"', "a\ufffdb"),
        (b'"cut \xe2\x82"', "cut \ufffd"),
        (b'"nul \x00 tab \t"', "nul \ufffd tab \t"),
        (b'"\\u0000"', "\x00"),
        (b'"\\ud800 alone"', "\ufffd alone"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'{"\\udfff": 1}', {"\ufffd": 1}),
        (b'{"n": 18446744073709551616}', {"n": "18446744073709551616"}),
        (b'{"n": 18446744073709551615}', {"n": 18446744073709551615}),
        (b'{"n": [-9223372036854775808, -9223372036854775809]}', {"n": [-9223372036854775808, "-9223372036854775809"]}),
        (
            b'{"n": 12345678901234567890123, "t": "\xff"}',
            {"n": "12345678901234567890123", "t": "\ufffd"},
        ),
        (b'{"n": 0.12345678901234567890123, "d": 1e19}', {"n": 0.12345678901234568, "d": 1e19}),
        (b'{"id": 123456789012345678901234567890}', {"id": "123456789012345678901234567890"}),
        (b'{"id": 1.5}', {"id": 1.5}),
        (b'"' + b"[" * 5000 + b'"', "[" * 5000),
    ],
)
def test_what_can_be_kept_is_kept(line: bytes, value: Any) -> None:
    assert parse_line(line) == value


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": NaN}', "NaN is no JSON value"),
        (b"-Infinity", "-Infinity is no JSON value"),
        (b'{"a": 1e400}', "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too large"),
        (b'{"a": ' + b"9" * 400 + b"}", "too large"),
        (b'{"a": "\xff", "b": 1e400}', "too large"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b"[" * 300 + b"]" * 300, "nested too deeply"),
        (b'["\xff",' + b"[" * 300 + b"]" * 300 + b"]", "nested too deeply"),
        (b"[" * 1000 + b"9" * 20 + b"]" * 1000, "nested too deeply"),
        (b"{'a': 1}", "(column 2)"),
        (b'{"a": 1,}', "trailing comma"),
        (b'{"a": 1} {"b": 2}', "(column 10)"),
        (b"\x00\x00\x00", "(column 1)"),
    ],
)
def test_what_is_no_json_is_refused_with_the_reason(line: bytes, reason: str) -> None:
    with pytest.raises(NotJson) as caught:
        parse_line(line)
    assert reason in str(caught.value)


@given(st.binary(max_size=200))
def test_no_bytes_crash_it_and_what_it_accepts_can_be_written_again(line: bytes) -> None:
    try:
        value = parse_line(line)
    except NotJson:
        return
    assert orjson.loads(orjson.dumps(value)) == value


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4).filter(lambda key: key != "id"), inner)
    ),
    max_leaves=20,
)


@given(_JSON)
def test_every_json_value_arrives_as_it_is(value: Any) -> None:
    assert parse_line(json.dumps(value).encode()) == value
