import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from jsonschema import validate

from agentbatch.errors import ConfigError, OutputError
from agentbatch.messages import ChatRequest, Message
from agentbatch.mock_server import MockServer, MockServerSettings
from agentbatch.mock_server.rate_limit import RateLimit
from agentbatch.models.mock import MockConfig, MockModel

SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "number", "minimum": 0, "maximum": 1}, "tags": {"type": "array"}},
    "required": ["score", "tags"],
}
SEARCH = {"name": "search", "description": "finds", "parameters": {"type": "object", "required": ["q"]}}
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Client:
    """Raw requests to one server."""

    def __init__(self, server: MockServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def post(self, path: str, body: Any, **headers: str) -> tuple[aiohttp.ClientResponse, bytes]:
        data = BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        async with asyncio.timeout(20), self.session.post(self.server.url + path, data=data, headers=headers) as answer:
            return answer, await answer.read()

    async def chat(self, text: str = "hello", *, headers: dict[str, str] | None = None, **rest: Any) -> Any:
        body = {"model": "m", "messages": [{"role": "user", "content": text}], **rest}
        return await self.post("/v1/chat/completions", body, **(headers or {}))

    async def message(self, text: str = "hello", *, headers: dict[str, str] | None = None, **rest: Any) -> Any:
        body = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": text}], **rest}
        return await self.post("/v1/messages", body, **(headers or {}))

    async def get(self, path: str) -> Any:
        async with asyncio.timeout(20), self.session.get(self.server.url + path) as answer:
            return await answer.json()

    async def statuses(self, texts: Sequence[str], **rest: Any) -> list[int]:
        return [(await self.chat(text, **rest))[0].status for text in texts]


@asynccontextmanager
async def serving(**knobs: Any) -> AsyncIterator[Client]:
    settings = MockServerSettings.model_validate({"port": 0, **knobs})
    async with MockServer(settings) as server, aiohttp.ClientSession() as session:
        yield Client(server, session)


def events(body: bytes) -> list[Any]:
    """The data of each event, parsed; `[DONE]` as it is."""
    blocks = [block for block in body.decode().split("\n\n") if block]
    data = [line.removeprefix("data: ") for block in blocks for line in block.split("\n") if line.startswith("data: ")]
    return [text if text == "[DONE]" else json.loads(text) for text in data]


def questions(count: int) -> list[str]:
    return [f"question {number}" for number in range(count)]


# The OpenAI dialect


async def test_openai_answer():
    async with serving() as client:
        answer, body = await client.chat("hello there")
    value = json.loads(body)
    assert answer.status == 200
    assert answer.content_type == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    assert value["object"] == "chat.completion"
    assert value["model"] == "m"
    assert value["id"].startswith("chatcmpl-")
    (choice,) = value["choices"]
    assert choice["message"] == {"role": "assistant", "content": "A mock answer to: hello there", "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert value["usage"]["prompt_tokens"] == 3
    assert value["usage"]["total_tokens"] == 3 + value["usage"]["completion_tokens"]


async def test_the_server_says_what_the_model_says():
    knobs = {"reply": "{{ n }} {{ ['a', 'b', 'c'] | pick }}", "seed": 5}
    mock = MockModel(MockConfig.model_validate({"provider": "mock", "model": "m", **knobs}))
    expected = await mock.chat(ChatRequest((Message("system", "s"), Message("user", "hello"))))
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    async with serving(**knobs) as client:
        _, openai = await client.chat(messages=messages)
        _, anthropic = await client.message(system="s")
    assert json.loads(openai)["choices"][0]["message"]["content"] == expected.text
    assert json.loads(anthropic)["content"][0]["text"] == expected.text


async def test_any_prefix_of_the_path_works():
    async with serving() as client:
        body = {"messages": [{"role": "user", "content": "x"}]}
        for path in ("/chat/completions", "/openai/deployments/d/chat/completions?api-version=1", "/v1/v1/messages"):
            answer, _ = await client.post(path, {"model": "m", "max_tokens": 5, **body})
            assert answer.status == 200


async def test_openai_stream():
    async with serving() as client:
        answer, body = await client.chat("hello there", stream=True, stream_options={"include_usage": True})
        _, plain = await client.chat("hello there", stream=True)
    assert answer.content_type == "text/event-stream"
    found = events(body)
    assert found[-1] == "[DONE]"
    assert found[-2]["choices"] == []
    assert found[-2]["usage"]["prompt_tokens"] == 3
    chunks = found[:-2]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content", "") for delta in deltas) == "A mock answer to: hello there"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-2:] == [None, "stop"]
    assert not any(chunk.get("usage") for chunk in events(plain)[:-1])


async def test_openai_tool_calls_whole_and_streamed():
    knobs = {"tool_calls": [{"name": "search", "arguments": {"q": "{{ prompt }}"}}]}
    tools = [{"type": "function", "function": SEARCH}]
    async with serving(**knobs) as client:
        _, whole = await client.chat("herons", tools=tools)
        _, streamed = await client.chat("herons", tools=tools, stream=True)
        message = json.loads(whole)["choices"][0]["message"]
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "found"}
        _, after = await client.chat(messages=[{"role": "user", "content": "herons"}, message, result], tools=tools)
    (call,) = message["tool_calls"]
    assert message["content"] is None
    assert json.loads(whole)["choices"][0]["finish_reason"] == "tool_calls"
    assert (call["type"], call["function"]["name"]) == ("function", "search")
    assert json.loads(call["function"]["arguments"]) == {"q": "herons"}
    parts = [part for chunk in events(streamed)[:-1] for part in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert {part["index"] for part in parts} == {0}
    assert (parts[0]["id"], parts[0]["function"]["name"]) == (call["id"], "search")
    assert "".join(part["function"]["arguments"] for part in parts) == call["function"]["arguments"]
    assert json.loads(after)["choices"][0]["finish_reason"] == "stop"


async def test_openai_structured_answers_fit():
    async with serving() as client:
        form = {"type": "json_schema", "json_schema": {"name": "review", "schema": SCHEMA, "strict": True}}
        for text in questions(20):
            _, body = await client.chat(text, response_format=form)
            validate(json.loads(json.loads(body)["choices"][0]["message"]["content"]), SCHEMA)
        _, body = await client.chat(response_format={"type": "json_object"})
    assert isinstance(json.loads(json.loads(body)["choices"][0]["message"]["content"]), dict)


async def test_a_demanded_tool_gets_arguments_that_fit():
    async with serving() as client:
        tools = [{"type": "function", "function": {"name": "review", "parameters": SCHEMA}}]
        _, body = await client.chat(tools=tools, tool_choice={"type": "function", "function": {"name": "review"}})
        _, other = await client.message(
            tools=[{"name": "review", "input_schema": SCHEMA}], tool_choice={"type": "tool", "name": "review"}
        )
    validate(json.loads(json.loads(body)["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]), SCHEMA)
    validate(json.loads(other)["content"][0]["input"], SCHEMA)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{nope", "could not parse"),
        (b"[]", "must be an object"),
        (b"{}", "messages"),
        ({"messages": "hello"}, "list of objects"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "robot"),
        ({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function"}]}, "function.name"),
    ],
)
async def test_openai_refuses_malformed_requests(body: Any, words: str):
    async with serving() as client:
        answer, said = await client.post("/v1/chat/completions", body)
    assert answer.status == 400
    assert json.loads(said)["error"]["type"] == "invalid_request_error"
    assert words in json.loads(said)["error"]["message"]


# The Anthropic dialect


async def test_anthropic_answer():
    async with serving() as client:
        answer, body = await client.message("hello there", system=[{"type": "text", "text": "be brief"}])
    value = json.loads(body)
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    assert (value["type"], value["role"], value["model"]) == ("message", "assistant", "m")
    assert value["content"] == [{"type": "text", "text": "A mock answer to: hello there"}]
    assert (value["stop_reason"], value["stop_sequence"]) == ("end_turn", None)
    assert value["usage"]["input_tokens"] == 5


async def test_anthropic_stream():
    async with serving() as client:
        answer, body = await client.message("hello there", stream=True)
    assert answer.content_type == "text/event-stream"
    found = events(body)
    names = [line.removeprefix("event: ") for line in body.decode().split("\n") if line.startswith("event: ")]
    assert names == [event["type"] for event in found]
    assert names[0] == "message_start"
    assert found[0]["message"]["content"] == []
    assert names[2] == "content_block_start"
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    deltas = [event["delta"] for event in found if event["type"] == "content_block_delta"]
    assert {delta["type"] for delta in deltas} == {"text_delta"}
    assert "".join(delta["text"] for delta in deltas) == "A mock answer to: hello there"
    assert found[-2]["delta"]["stop_reason"] == "end_turn"
    assert found[-2]["usage"]["output_tokens"] > 0


async def test_anthropic_tool_use_whole_and_streamed():
    calls = [{"name": "search", "arguments": {"q": "{{ prompt }}"}}, {"name": "search", "arguments": {"q": "two"}}]
    tools = [{"name": "search", "description": "finds", "input_schema": SEARCH["parameters"]}]
    async with serving(tool_calls=calls) as client:
        _, whole = await client.message("herons", tools=tools)
        _, streamed = await client.message("herons", tools=tools, stream=True)
        said = json.loads(whole)
        results = [{"type": "tool_result", "tool_use_id": use["id"], "content": "found"} for use in said["content"]]
        turns = [
            {"role": "user", "content": "herons"},
            {"role": "assistant", "content": said["content"]},
            {"role": "user", "content": results},
        ]
        _, after = await client.message(messages=turns, tools=tools)
    assert said["stop_reason"] == "tool_use"
    assert [(use["type"], use["name"], use["input"]) for use in said["content"]] == [
        ("tool_use", "search", {"q": "herons"}),
        ("tool_use", "search", {"q": "two"}),
    ]
    found = events(streamed)
    starts = [event for event in found if event["type"] == "content_block_start"]
    assert [(start["index"], start["content_block"]["input"]) for start in starts] == [(0, {}), (1, {})]
    assert [start["content_block"]["id"] for start in starts] == [use["id"] for use in said["content"]]
    parts = [e["delta"]["partial_json"] for e in found if e["type"] == "content_block_delta" and e["index"] == 0]
    assert json.loads("".join(parts)) == {"q": "herons"}
    assert json.loads(after)["stop_reason"] == "end_turn"


@pytest.mark.parametrize("field", ["output_format", "output_config"])
async def test_anthropic_structured_answers_fit(field: str):
    form = {"type": "json_schema", "schema": SCHEMA}
    async with serving() as client:
        _, body = await client.message(**{field: form if field == "output_format" else {"format": form}})
    validate(json.loads(json.loads(body)["content"][0]["text"]), SCHEMA)


async def test_anthropic_refuses_malformed_requests():
    async with serving() as client:
        answer, body = await client.post("/v1/messages", {"model": "m", "messages": [{"role": "user", "content": "x"}]})
        turned, _ = await client.message(messages=[{"role": "system", "content": "x"}])
    assert (answer.status, turned.status) == (400, 400)
    value = json.loads(body)
    assert (value["type"], value["error"]["type"]) == ("error", "invalid_request_error")
    assert value["error"]["message"] == "max_tokens: Field required"
    assert value["request_id"] == answer.headers["request-id"]


# The desk


async def test_models_health_and_unknown_paths():
    async with serving(models=["small", "large"]) as client:
        assert [entry["id"] for entry in (await client.get("/v1/models"))["data"]] == ["small", "large"]
        assert await client.get("/health") == {"status": "ok"}
        assert "GET /v1/nosuch" in (await client.get("/v1/nosuch"))["error"]["message"]
        answer, _ = await client.post("/v1/embeddings", {})
        assert answer.status == 404
        async with client.session.get(client.server.base_url + "/chat/completions") as answer:
            assert answer.status == 404


async def test_stats_count_what_came_and_reset_forgets_it():
    async with serving(errors={"server": 0.5}) as client:
        texts = [*questions(20), "question 3"]
        found = await client.statuses(texts, headers={"traceparent": TRACEPARENT})
        await client.post("/v1/chat/completions", b"{")
        stats = await client.get("/stats")
        await client.post("/reset", b"")
        again = await client.statuses(texts)
        after = await client.get("/stats")
    assert stats["requests"] == 22
    assert stats["by_status"] == {"200": found.count(200), "500": found.count(500), "400": 1}
    assert stats["by_reason"] == {"errors.server": found.count(500), "malformed": 1}
    assert (stats["distinct_prompts"], stats["repeated_prompts"]) == (20, 1)
    assert stats["answered"] == found.count(200)
    assert (stats["traceparents"], stats["distinct_traces"]) == (21, 1)
    assert (stats["peak_in_flight"], stats["in_flight"]) == (1, 0)
    assert stats["tokens"]["input"] > 0
    assert sum(stats["per_second"].values()) == 22
    assert stats["first_at"] <= stats["last_at"]
    assert again == found
    assert (after["requests"], after["traceparents"]) == (21, 0)


async def test_peak_in_flight():
    async with serving(latency="500ms") as client:
        await asyncio.gather(*(client.chat(text) for text in questions(12)))
        assert (await client.get("/stats"))["peak_in_flight"] == 12


async def test_an_answer_given_twice_is_counted():
    async with serving() as client:
        await client.statuses(["a", "b", "a", "a"])
        assert (await client.get("/stats"))["answered_again"] == 2


# Failures


@pytest.mark.parametrize(
    ("kind", "status", "family", "code"),
    [
        ("rate_limited", 429, "requests", "rate_limit_exceeded"),
        ("overloaded", 503, "service_unavailable_error", "overloaded"),
        ("server", 500, "server_error", None),
        ("bad_request", 400, "invalid_request_error", None),
        ("auth", 401, "invalid_request_error", "invalid_api_key"),
        ("quota", 429, "insufficient_quota", "insufficient_quota"),
        ("context_length", 400, "invalid_request_error", "context_length_exceeded"),
    ],
)
async def test_openai_errors(kind: str, status: int, family: str, code: str | None):
    async with serving(errors={kind: 1}) as client:
        answer, body = await client.chat()
        streamed, _ = await client.chat(stream=True)
    assert (answer.status, streamed.status) == (status, status)
    error = json.loads(body)["error"]
    assert (error["type"], error["code"]) == (family, code)
    assert f"errors.{kind}" in error["message"]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("kind", "status", "family"),
    [
        ("rate_limited", 429, "rate_limit_error"),
        ("overloaded", 529, "overloaded_error"),
        ("server", 500, "api_error"),
        ("bad_request", 400, "invalid_request_error"),
        ("auth", 401, "authentication_error"),
        ("quota", 402, "billing_error"),
        ("context_length", 400, "invalid_request_error"),
    ],
)
async def test_anthropic_errors(kind: str, status: int, family: str):
    async with serving(errors={kind: 1}) as client:
        answer, body = await client.message()
    assert answer.status == status
    value = json.loads(body)
    assert (value["type"], value["error"]["type"]) == ("error", family)


async def test_the_content_filter_answers_with_nothing():
    async with serving(errors={"content_filter": 1}) as client:
        _, openai = await client.chat()
        _, anthropic = await client.message()
    choice = json.loads(openai)["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("content_filter", None)
    assert (json.loads(anthropic)["stop_reason"], json.loads(anthropic)["content"]) == ("refusal", [])


async def test_a_bad_response_is_html():
    async with serving(errors={"bad_response": 1}) as client:
        answer, body = await client.chat()
    assert (answer.status, answer.content_type) == (200, "text/html")
    assert body.startswith(b"<html>")


async def test_faults_repeat_themselves_and_a_retry_may_succeed():
    runs: list[list[int]] = []
    for _ in range(2):
        async with serving(errors={"rate_limited": 0.3, "server": 0.3}) as client:
            runs.append(await client.statuses(questions(20)) + await client.statuses(questions(20)))
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 429, 500}
    assert any(first != 200 and second == 200 for first, second in zip(runs[0][:20], runs[0][20:], strict=True))


@pytest.mark.parametrize(
    ("form", "header", "least", "most"), [("seconds", "Retry-After", 2, 2), ("ms", "retry-after-ms", 1500, 1500)]
)
async def test_the_wait_that_a_429_asks_for(form: str, header: str, least: int, most: int):
    async with serving(errors={"rate_limited": 1, "retry_after": "1500ms"}, retry_after=form) as client:
        answer, _ = await client.chat()
    assert least <= int(answer.headers[header]) <= most
    assert len([name for name in answer.headers if name.lower().startswith("retry-after")]) == 1


async def test_the_wait_as_a_date_or_not_at_all():
    async with serving(errors={"rate_limited": 1, "retry_after": "30s"}, retry_after="date") as client:
        answer, _ = await client.chat()
    assert 28 < parsedate_to_datetime(answer.headers["Retry-After"]).timestamp() - time.time() <= 31
    async with serving(errors={"rate_limited": 1, "retry_after": "30s"}, retry_after="none") as client:
        answer, _ = await client.chat()
    assert "Retry-After" not in answer.headers


async def test_closed_connections():
    async with serving(disconnect=1) as client:
        found: set[str] = set()
        for text in questions(12):
            with pytest.raises(aiohttp.ClientError) as raised:
                await client.chat(text)
            found.add(type(raised.value).__name__)
        stats = await client.get("/stats")
    assert found == {"ServerDisconnectedError", "ClientPayloadError"}
    assert set(stats["by_reason"]) == {"disconnect", "disconnect_in_body"}
    assert stats["answered"] == 0


async def test_connections_closed_in_the_middle_of_a_stream():
    async with serving(disconnect=1) as client:
        for text in questions(12):
            with pytest.raises(aiohttp.ClientError):
                await client.chat(text, stream=True)


async def test_the_fault_of_kind_connection_closes_before_the_answer():
    async with serving(errors={"connection": 1}) as client:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client.chat()


async def test_cut_json_comes_on_a_connection_that_stays_well():
    async with serving(truncate=1) as client:
        answer, body = await client.chat()
        _, again = await client.chat()
    assert answer.status == 200
    assert body.startswith(b'{"id"')
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    assert body == again or len(body) == len(again)


async def test_a_cut_stream_ends_without_its_end():
    async with serving(truncate=1) as client:
        _, openai = await client.chat(stream=True)
        _, anthropic = await client.message(stream=True)
    assert events(openai)[0]["choices"][0]["delta"]["role"] == "assistant"
    assert b"[DONE]" not in openai
    assert b"message_stop" not in anthropic


async def test_a_stream_may_break_off_with_an_error_event():
    async with serving(stream_error=1) as client:
        _, openai = await client.chat(stream=True)
        _, anthropic = await client.message(stream=True)
        answer, _ = await client.chat()
    assert events(openai)[-1]["error"]["type"] == "server_error"
    assert events(anthropic)[-1]["type"] == "error"
    assert answer.status == 200


@pytest.mark.parametrize("knobs", [{"hang": 1}, {"errors": {"timeout": 1}}])
async def test_a_request_that_hangs_is_let_go_when_its_client_leaves(knobs: dict[str, Any]):
    async with serving(**knobs) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.chat()
        async with asyncio.timeout(10):
            while (stats := await client.get("/stats"))["in_flight"]:
                await asyncio.sleep(0.01)
    assert stats["by_status"] == {"0": 1}


async def test_the_server_stops_while_requests_hang():
    async with asyncio.timeout(10), serving(hang=1) as client:
        waiting = asyncio.create_task(client.chat())
        while client.server.stats()["in_flight"] == 0:
            await asyncio.sleep(0.01)
        await client.server.__aexit__()
        with pytest.raises(aiohttp.ClientError):
            await waiting


async def test_a_client_that_leaves_early_is_counted():
    async with serving(latency="10s") as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.chat()
        async with asyncio.timeout(5):
            while (stats := client.server.stats())["in_flight"]:
                await asyncio.sleep(0.01)
    assert stats["by_reason"] == {"client_left": 1}


@pytest.mark.parametrize(
    "headers", [{"Authorization": "Bearer right"}, {"x-api-key": "right"}, {"api-key": "right"}], ids=str
)
async def test_the_right_key_is_let_in(headers: dict[str, str]):
    async with serving(require_key="right") as client:
        assert (await client.chat(headers=headers))[0].status == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"x-api-key": "rightly"}], ids=str)
async def test_another_key_is_refused_without_repeating_it(headers: dict[str, str]):
    async with serving(require_key="right") as client:
        answer, body = await client.chat(headers=headers)
        other, _ = await client.message(headers=headers)
    assert (answer.status, other.status) == (401, 401)
    assert json.loads(body)["error"]["code"] == "invalid_api_key"
    assert b"right" not in body
    assert b"wrong" not in body


async def test_the_first_requests_fail():
    async with serving(fail_first=3) as client:
        assert await client.statuses(questions(5)) == [503, 503, 503, 200, 200]


async def test_every_request_fails_its_first_times():
    async with serving(fail_each=2) as client:
        assert await client.statuses(["a", "b", "a", "b", "a", "b"]) == [503, 503, 503, 503, 200, 200]


async def test_an_outage_begins_and_ends():
    async with serving(outage={"start": 0, "duration": "300ms"}) as client:
        assert await client.statuses(["a"]) == [503]
        async with asyncio.timeout(10):
            while await client.statuses(["b"]) != [200]:
                await asyncio.sleep(0.05)
        assert (await client.get("/stats"))["by_reason"]["outage"] >= 1


# Limits


async def test_requests_beyond_the_limit_are_refused_until_the_window_has_passed():
    async with serving(rpm=240, window="1s") as client:
        found = [(await client.chat(text))[0] for text in questions(6)]
        assert [answer.status for answer in found] == [200] * 4 + [429] * 2
        refused = found[-1].headers
        assert refused["Retry-After"] == "1"
        assert refused["x-ratelimit-limit-requests"] == "240"
        assert [answer.headers["x-ratelimit-remaining-requests"] for answer in found] == ["3", "2", "1", "0", "0", "0"]
        assert refused["x-ratelimit-reset-requests"].endswith("s")
        assert "x-ratelimit-limit-tokens" not in refused
        async with asyncio.timeout(10):
            while await client.statuses(["later"]) != [200]:
                await asyncio.sleep(0.02)


def test_a_window_slides():
    limit = RateLimit(MockServerSettings(rpm=2, window=60))
    assert [limit.admit(now, 1) for now in (0.0, 10.0)] == [0.0, 0.0]
    assert limit.admit(15.0, 1) == 45.0
    assert limit.admit(59.0, 1) == pytest.approx(1.0)
    assert limit.admit(60.0, 1) == 0.0
    assert limit.admit(60.0, 1) == 10.0
    assert limit.admit(70.0, 1) == 0.0


def test_the_wait_is_for_as_many_tokens_as_are_needed():
    limit = RateLimit(MockServerSettings(tpm=100, window=60))
    assert [limit.admit(now, 40) for now in (0.0, 20.0)] == [0.0, 0.0]
    assert limit.admit(30.0, 20) == 0.0
    assert limit.admit(30.0, 30) == 30.0
    assert limit.admit(30.0, 60) == 50.0
    assert limit.admit(30.0, 1000) == 60.0


async def test_tokens_beyond_the_limit_are_refused():
    async with serving(tpm=100, input_tokens=30, output_tokens=10) as client:
        found = [(await client.chat(text))[0] for text in questions(3)]
    assert [answer.status for answer in found] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-tokens"] for answer in found] == ["60", "20", "20"]
    assert 0 < int(found[-1].headers["Retry-After"]) <= 60


async def test_a_request_larger_than_the_limit_passes_alone():
    async with serving(tpm=10, input_tokens=500) as client:
        assert await client.statuses(["a", "b"]) == [200, 429]


async def test_anthropic_limit_headers():
    async with serving(rpm=60, tpm=1000) as client:
        answer, _ = await client.message()
    assert answer.headers["anthropic-ratelimit-requests-limit"] == "60"
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "59"
    assert answer.headers["anthropic-ratelimit-tokens-limit"] == "1000"
    assert "T" in answer.headers["anthropic-ratelimit-requests-reset"]


async def test_too_many_at_once_are_refused():
    async with serving(max_in_flight=2, latency="500ms") as client:
        found = await asyncio.gather(*(client.chat(text) for text in questions(5)))
        assert sorted(answer.status for answer, _ in found) == [200, 200, 429, 429, 429]
        assert await client.statuses(["later"]) == [200]


# The log, the socket


async def test_the_log_has_a_line_for_each_request(tmp_path: Path):
    log = tmp_path / "requests.jsonl"
    async with serving(log=str(log), fail_first=1) as client:
        await client.chat("secret words")
        answer, _ = await client.message("secret words", headers={"traceparent": TRACEPARENT})
        await client.post("/v1/chat/completions", b"{")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["status"] for line in lines] == [503, 200, 400]
    assert [line["reason"] for line in lines] == ["fail_first", None, "malformed"]
    assert [line["path"] for line in lines] == ["/v1/chat/completions", "/v1/messages", "/v1/chat/completions"]
    assert lines[0]["prompt"] == lines[1]["prompt"] != lines[2]["prompt"]
    assert (lines[1]["id"], lines[1]["traceparent"]) == (answer.headers["x-request-id"], TRACEPARENT)
    assert "secret" not in log.read_text()


async def test_a_log_that_cannot_be_written(tmp_path: Path):
    with pytest.raises(OutputError, match="No such file"):
        async with serving(log=str(tmp_path / "none" / "log")):
            pass


async def test_a_port_in_use_is_one_clear_line():
    async with serving() as client:
        with pytest.raises(ConfigError, match=r"in use.*--port 0") as raised:
            async with serving(port=client.server.port):
                pass
    assert "\n" not in str(raised.value)


async def test_a_large_body_is_taken():
    async with serving() as client:
        answer, _ = await client.chat("x" * 5_000_000)
    assert answer.status == 200


async def test_latency_is_waited_for():
    async with serving(latency="100ms") as client:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await client.chat()
        assert loop.time() - began >= 0.099
