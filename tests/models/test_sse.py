"""Server-sent events: the specification's own examples, and every way to split a stream."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.models.sse import SseEvent, SseParser


def events_of(*chunks: bytes) -> list[SseEvent]:
    parser = SseParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [(b"a", "message")]),
        (b"data:a\r\n\r\n", [(b"a", "message")]),
        (b"data:  a\r\r", [(b" a", "message")]),
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [(b"YHOO\n+2\n10", "message")]),
        (
            b": test stream\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n",
            [(b"first", ""), (b"second", "")],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [(b"", ""), (b"\n", "")]),
        (b"data:test\n\ndata: test\n\n", [(b"test", ""), (b"test", "")]),
        (b"event: add\ndata: 1\n\nevent: remove\n\ndata: 2\n\n", [(b"1", "add"), (b"2", "message")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"a", "")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [(b"a", "")]),
        (b" data: a\ndatax: b\nDATA: c\n\n", []),
        (b"data: a:b\n\n", [(b"a:b", "")]),
        (b"data: a\r\n\n\rdata: b\n\r\n", [(b"a", ""), (b"b", "")]),
        ("data: \u2028\x85\x0b\x0c\x1cz\n\n".encode(), [("\u2028\x85\x0b\x0c\x1cz".encode(), "")]),
        (b"data: \xff\0\n\n", [(b"\xff\0", "")]),
        (b"data: unfinished\n", []),
        (b"", []),
    ],
)
def test_streams(stream: bytes, events: list[tuple[bytes, str]]) -> None:
    expected = [SseEvent(data, name or "message") for data, name in events]
    assert events_of(stream) == expected
    assert events_of(*(bytes([byte]) for byte in stream)) == expected


LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b": ping", b"", b"", b"event: x", b"\xef\xbb\xbfdata: c", b"id: 1", b"data: \xff"]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])


@given(st.lists(st.tuples(LINES, ENDS)), st.lists(st.integers(0, 200)))
def test_any_split_gives_the_same_events(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    stream = b"".join(line + end for line, end in lines)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[start:end] for start, end in pairwise(places)]
    assert events_of(*chunks) == events_of(stream)


@given(st.binary(max_size=60), st.integers(0, 60))
def test_no_bytes_break_it(stream: bytes, cut: int) -> None:
    assert events_of(stream[:cut], b"", stream[cut:]) == events_of(stream)
