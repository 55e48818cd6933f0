from typing import Any

import orjson
from run_files import BEGIN_NS, simple_trace, span, trace

from agentbatch.messages import ChatResponse, Message, ToolCall
from agentbatch.report.timelines import MOST_SPANS, conversation, encode_timeline
from agentbatch.traces.otlp import decode_trace

ITEM, GROUP, AGENT, CHAT, TOOL = range(5)


def timeline(line: bytes, chars: int = 10_000) -> list[Any]:
    """As it comes to the page: through JSON."""
    return orjson.loads(orjson.dumps(encode_timeline(decode_trace(line), chars)))


def test_spans_stand_in_the_order_they_began_with_their_parents() -> None:
    unit, left_out, spans = timeline(simple_trace(1, 0.0, 2.0, queued_s=0.5))
    assert (unit, left_out) == (100, 0)
    assert [one[:6] for one in spans] == [
        [ITEM, "item", -1, 0, 20_000, 0],
        [AGENT, "writer", 0, 0, 20_000, 0],
        [CHAT, "small", 1, 0, 20_000, 0],
    ]
    assert spans[2][6:] == [5000, 1, 10, 5, 0.01]


def test_short_items_are_told_in_microseconds() -> None:
    unit, _, spans = timeline(simple_trace(1, 0.0, 0.004))
    assert (unit, spans[0][4]) == (1, 4000)


def test_failures_waits_and_finish_reasons() -> None:
    error = {"status": "error", "error_type": "rate_limited", "error_message": "slow down", "http_status": 429}
    line = trace(
        1,
        span("chat", "small", 3, 2, 0.0, 1.0, attempt=1, **error),
        span("chat", "small", 4, 2, 3.0, 4.0, attempt=2, finish_reason="length", request_id="r-1"),
        span(
            "agent",
            "writer",
            2,
            1,
            0.0,
            4.0,
            path="refine[1].writer",
            events=[(BEGIN_NS + 10**9, "retry", {"delay_s": 2.0})],
        ),
        span("item", "item", 1, None, 0.0, 4.0),
    )
    unit, _, (_, agent, first, second) = timeline(line)
    assert agent[-1] == {"waits": [[10_000, 20_000]], "path": "refine[1].writer"}
    assert unit == 100
    assert (first[5], first[-1]) == (1, {"error": ["rate_limited", "slow down"], "http": 429})
    assert (second[7], second[-1]) == (2, {"finish": "length", "request": "r-1"})


def test_request_ids_are_kept_only_where_there_is_room() -> None:
    line = simple_trace(1, request_id="r-1")
    assert "request" in timeline(line, 10_000)[2][2][-1]
    assert not isinstance(timeline(line, 400)[2][2][-1], dict)


def test_a_conversation_is_cut_as_a_whole() -> None:
    asked = (Message("system", "be kind"), Message("user", "x" * 50))
    answer = ChatResponse("", (ToolCall("c1", "look", '{"at": "<b>"}'),))
    call = {"messages": asked, "answer": answer, "attempt": 1}
    line = trace(1, span("chat", "small", 2, 1, 0, 1, **call), span("item", "item", 1, None, 0, 1), content=True)
    assert timeline(line)[2][1][-1]["said"] == [
        ["system", "be kind"],
        ["user", "x" * 50],
        ["assistant", 'look({"at": "<b>"})'],
    ]
    assert timeline(line, 20)[2][1][-1]["said"] == [
        ["system", "be kind"],
        ["user", "x" * 13, 50],
        ["assistant", "", 19],
    ]


def test_without_content_there_is_none() -> None:
    line = trace(
        1, span("chat", "small", 2, 1, 0, 1, messages=(Message("user", "secret"),)), span("item", "item", 1, None, 0, 1)
    )
    assert b"secret" not in orjson.dumps(timeline(line))


def test_messages_in_a_foreign_shape() -> None:
    assert conversation("no json") == [("", "no json")]
    assert conversation("{}") == []
    assert conversation(None) == []
    assert conversation('[1, {"parts": 4}, {"role": "user", "parts": ["a", {"content": {"b": 1}}]}]') == [
        ("", ""),
        ("user", 'a\n{"b":1}'),
    ]


def test_an_endless_item_is_cut() -> None:
    spans = [
        span("tool", "look", number, 1, number / 100, number / 100 + 0.001) for number in range(2, MOST_SPANS + 12)
    ]
    _, left_out, kept = timeline(trace(1, *spans, span("item", "item", 1, None, 0, 60)))
    assert (left_out, len(kept)) == (11, MOST_SPANS)
    assert kept[0][0] == ITEM
