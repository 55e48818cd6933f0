import dataclasses
import json
import re
from typing import Any

import pytest

from agentbatch.messages import ChatResponse, Message, ToolCall
from agentbatch.trace import Span, Tracer
from agentbatch.traces.otlp import decode_trace, encode_trace

SECRET_TEXT = "what the person asked"


def finished_tree() -> list[Span]:
    """One item: a group with an agent, whose first attempt failed and whose second called a tool."""
    tracer = Tracer()
    item = tracer.start("item", "item")
    item.attributes.update({"item.id": 17, "item.index": 16, "queued_s": 0.25})
    group = tracer.start("refine", "group", item)
    agent = tracer.start("writer", "agent", group)
    agent.attributes.update({"path": "refine[2].writer", "kind": "react", "queued_s": 0.25, "cost_usd": None})
    first = tracer.start("gpt-4o-mini", "chat", agent)
    first.attributes.update({"model": "gpt-4o-mini", "provider": "openai", "attempt": 1, "http_status": 429})
    tracer.end(first, "error", "rate_limited", "429: slow down")
    agent.events.append((agent.start_ns + 5, "retry", {"attempt": 1, "delay_s": 0.5, "error_type": "rate_limited"}))
    second = tracer.start("gpt-4o-mini", "chat", agent)
    second.attributes.update(
        {
            "model": "gpt-4o-mini",
            "provider": "openai",
            "attempt": 2,
            "input_tokens": 120,
            "output_tokens": 2**40,
            "cached_tokens": 7,
            "cost_usd": 0.000066,
            "request_id": "req_1",
            "http_status": 200,
            "finish_reason": "tool_calls",
            "messages": (
                Message("user", SECRET_TEXT),
                Message("assistant", "", (ToolCall("c1", "clock", "{}"),)),
                Message("tool", "noon", tool_call_id="c1"),
            ),
            "answer": ChatResponse("it is noon", finish_reason="stop"),
        }
    )
    tracer.end(second)
    tool = tracer.start("clock", "tool", agent)
    tool.attributes.update({"call_id": "c1", "arguments": SECRET_TEXT, "result": "noon"})
    tracer.end(tool, "timeout", "tool", "no answer within 10 s")
    tracer.end(agent)
    tracer.end(group, "cancelled")
    tracer.end(item)
    return item.tree


def encoded(tree: list[Span], content: bool = False) -> dict[str, dict[str, Any]]:
    document = json.loads(encode_trace(tree, content=content))
    spans = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert len(spans) == len(tree)
    return {span["name"] if span["name"] != "chat gpt-4o-mini" else f"chat {at}": span for at, span in enumerate(spans)}


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    keys = [attribute["key"] for attribute in span["attributes"]]
    assert len(set(keys)) == len(keys), "OTLP forbids a key twice"
    return {attribute["key"]: attribute["value"] for attribute in span["attributes"]}


def test_one_item_is_one_line() -> None:
    line = encode_trace(finished_tree(), content=True)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    resource = json.loads(line)["resourceSpans"][0]["resource"]
    assert {"key": "service.name", "value": {"stringValue": "agentbatch"}} in resource["attributes"]


def test_span_names_follow_the_conventions() -> None:
    assert list(encoded(finished_tree())) == [
        "chat 0",
        "chat 1",
        "execute_tool clock",
        "invoke_agent writer",
        "invoke_workflow refine",
        "invoke_workflow",
    ]


def test_ids_times_and_kinds_have_their_json_forms() -> None:
    tree = finished_tree()
    spans = encoded(tree)
    root, chat = spans["invoke_workflow"], spans["chat 1"]
    assert re.fullmatch("[0-9a-f]{32}", root["traceId"])
    assert re.fullmatch("[0-9a-f]{16}", root["spanId"])
    assert root["parentSpanId"] == ""
    assert chat["parentSpanId"] == spans["invoke_agent writer"]["spanId"]
    assert root["startTimeUnixNano"] == str(tree[-1].start_ns)
    assert root["endTimeUnixNano"] == str(tree[-1].end_ns)
    assert (root["kind"], chat["kind"]) == (1, 3)


def test_a_call_carries_model_tokens_and_cost() -> None:
    found = attributes(encoded(finished_tree())["chat 1"])
    assert found["gen_ai.operation.name"] == {"stringValue": "chat"}
    assert found["gen_ai.provider.name"] == {"stringValue": "openai"}
    assert found["gen_ai.request.model"] == {"stringValue": "gpt-4o-mini"}
    assert found["gen_ai.usage.input_tokens"] == {"intValue": "120"}
    assert found["gen_ai.usage.output_tokens"] == {"intValue": str(2**40)}
    assert found["gen_ai.usage.cache_read.input_tokens"] == {"intValue": "7"}
    assert found["gen_ai.response.id"] == {"stringValue": "req_1"}
    assert found["gen_ai.response.finish_reasons"] == {"arrayValue": {"values": [{"stringValue": "tool_calls"}]}}
    assert found["http.response.status_code"] == {"intValue": "200"}
    assert found["agentbatch.cost_usd"] == {"doubleValue": 0.000066}
    assert found["agentbatch.attempt"] == {"intValue": "2"}


def test_every_span_says_its_status_and_a_failed_one_its_error() -> None:
    spans = encoded(finished_tree())
    statuses = {name: attributes(span)["agentbatch.status"]["stringValue"] for name, span in spans.items()}
    assert statuses == {
        "chat 0": "error",
        "chat 1": "ok",
        "execute_tool clock": "timeout",
        "invoke_agent writer": "ok",
        "invoke_workflow refine": "cancelled",
        "invoke_workflow": "ok",
    }
    assert spans["chat 0"]["status"] == {"code": 2, "message": "429: slow down"}
    assert spans["chat 1"]["status"] == {"code": 1}
    assert spans["invoke_workflow refine"]["status"] == {"code": 0}
    assert attributes(spans["chat 0"])["error.type"] == {"stringValue": "rate_limited"}
    assert "error.type" not in attributes(spans["chat 1"])


def test_agents_groups_tools_and_items_are_named() -> None:
    spans = encoded(finished_tree())
    agent = attributes(spans["invoke_agent writer"])
    assert agent["gen_ai.agent.name"] == {"stringValue": "writer"}
    assert agent["agentbatch.path"] == {"stringValue": "refine[2].writer"}
    assert agent["agentbatch.queued_s"] == {"doubleValue": 0.25}
    assert "agentbatch.cost_usd" not in agent, "an unknown cost is absent, never 0"
    assert attributes(spans["invoke_workflow refine"])["gen_ai.workflow.name"] == {"stringValue": "refine"}
    assert attributes(spans["execute_tool clock"])["gen_ai.tool.name"] == {"stringValue": "clock"}
    assert attributes(spans["invoke_workflow"])["agentbatch.item.id"] == {"intValue": "17"}


def test_a_retry_is_an_event() -> None:
    (event,) = encoded(finished_tree())["invoke_agent writer"]["events"]
    assert event["name"] == "retry"
    assert int(event["timeUnixNano"]) > 0
    assert attributes(event)["error.type"] == {"stringValue": "rate_limited"}
    assert attributes(event)["agentbatch.delay_s"] == {"doubleValue": 0.5}


def test_content_only_when_asked_for() -> None:
    tree = finished_tree()
    bare = encode_trace(tree, content=False)
    assert SECRET_TEXT.encode() not in bare
    assert b"it is noon" not in bare
    spans = encoded(tree, content=True)
    chat, tool = attributes(spans["chat 1"]), attributes(spans["execute_tool clock"])
    assert json.loads(chat["gen_ai.input.messages"]["stringValue"]) == [
        {"role": "user", "parts": [{"type": "text", "content": SECRET_TEXT}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "clock", "arguments": "{}"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "noon"}]},
    ]
    assert json.loads(chat["gen_ai.output.messages"]["stringValue"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "it is noon"}], "finish_reason": "stop"}
    ]
    assert tool["gen_ai.tool.call.arguments"] == {"stringValue": SECRET_TEXT}
    assert tool["gen_ai.tool.call.result"] == {"stringValue": "noon"}


def test_the_finish_reason_of_an_answer_given_as_text() -> None:
    tracer = Tracer()
    span = tracer.start("m", "chat")
    span.attributes.update({"answer": "cut of", "finish_reason": "length"})
    tracer.end(span)
    found = attributes(
        json.loads(encode_trace(span.tree, content=True))["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    )
    assert json.loads(found["gen_ai.output.messages"]["stringValue"])[0]["finish_reason"] == "length"


def test_what_was_written_reads_back_as_it_was() -> None:
    tree = finished_tree()
    for span in tree:
        span.attributes = {key: value for key, value in span.attributes.items() if value is not None}
    read = decode_trace(encode_trace(tree, content=False))
    hidden = ("messages", "answer", "arguments", "result")
    for before, after in zip(tree, read, strict=True):
        expected = {key: value for key, value in before.attributes.items() if key not in hidden}
        assert dataclasses.replace(after, tree=[]) == dataclasses.replace(
            before, tree=[], attributes=expected, began=0.0
        )
        assert after.tree is read


@pytest.mark.parametrize(
    "value", [None, True, 3, -(2**70), 0.5, "half \ud800 pair", [1, "x"], {"a": object()}, object(), b"\xff"]
)
def test_no_attribute_can_break_a_line(value: Any) -> None:
    tracer = Tracer()
    span = tracer.start("item", "item")
    span.attributes["odd"] = value
    tracer.end(span)
    line = encode_trace(span.tree, content=True)
    assert json.loads(line)
    assert len(decode_trace(line)) == 1


def test_no_percent_sign_is_taken_for_a_place() -> None:
    tracer = Tracer()
    span = tracer.start("100%b", "agent", attributes={"path": "%s", "50%": "%d", "kind": "%%", "answer": "%b"})
    span.events.append((1, "retry %b", {"%": "%"}))
    tracer.end(span, "error", "%b", "%b of it failed")
    (read,) = decode_trace(encode_trace(span.tree, content=True))
    assert (read.name, read.error_type, read.error_message) == ("100%b", "%b", "%b of it failed")
    assert read.attributes | {"answer": ""} == span.attributes | {"answer": ""}
    assert read.events == span.events


def test_content_that_is_not_there_is_not_written() -> None:
    tracer = Tracer()
    span = tracer.start("m", "chat", attributes={"answer": None, "messages": "hi"})
    tracer.end(span)
    (read,) = decode_trace(encode_trace(span.tree, content=True))
    assert read.attributes.keys() == {"messages"}


@pytest.mark.parametrize("line", [b"", b"{}", b'{"resourceSpans":[{"scopeSp', b"[1]", b'{"resourceSpans":3}', b"null"])
def test_what_is_no_trace_decodes_to_nothing(line: bytes) -> None:
    assert decode_trace(line) == []
