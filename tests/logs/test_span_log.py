import logging

import pytest

from agentbatch.logs import SpanLog
from agentbatch.trace import Tracer, current_item


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "agentbatch")
    return caplog


def test_what_failed_is_told_and_the_rest_in_detail(records: pytest.LogCaptureFixture) -> None:
    tracer = Tracer([SpanLog()])
    root = tracer.start("item", "item", attributes={"item.id": "i7"})
    token = current_item.set(root)
    agent = tracer.start("writer", "agent", root)
    first = tracer.start("gpt", "chat", agent, {"attempt": 1, "http_status": 429, "request_id": "req-1"})
    tracer.end(first, "error", "rate_limited", "slow down")
    tracer.end(tracer.start("gpt", "chat", agent, {"attempt": 2}))
    tracer.end(tracer.start("search", "tool", agent), "timeout", "timeout", "too slow")
    tracer.end(agent, "error", "tool", "it failed")
    current_item.reset(token)
    tracer.end(root, "error", "tool", "it failed")
    told = [
        (record.levelname, record.getMessage().split(" after ")[0], record.getMessage().partition(" s: ")[2])
        for record in records.records
    ]
    assert told == [
        ("INFO", "item i7: attempt 1 on gpt failed", "rate_limited (429): slow down"),
        ("DEBUG", "item i7: attempt 2 on gpt ended ok", ""),
        ("INFO", "item i7: tool search failed", "timeout: too slow"),
        ("DEBUG", "item i7: agent writer failed", "tool: it failed"),
        ("INFO", "item i7 failed", "tool: it failed"),
    ]
    about = records.records[0].about  # type: ignore[attr-defined]
    assert about == {"item": "i7", "trace_id": root.trace_id, "span_id": first.span_id, "request_id": "req-1"}


def test_a_span_from_elsewhere_is_not_taken_for_this_item_s(records: pytest.LogCaptureFixture) -> None:
    tracer = Tracer([SpanLog()])
    token = current_item.set(tracer.start("item", "item", attributes={"item.id": "here"}))
    there = tracer.start("item", "item", attributes={"item.id": "there"})
    tracer.end(tracer.start("gpt", "chat", there), "error", "server", "boom")
    current_item.reset(token)
    assert records.records[0].getMessage().startswith("attempt 1 on gpt failed")
