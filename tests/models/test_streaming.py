"""Streamed answers over real sockets: whole ones, and every way in which one can break off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentbatch.errors import (
    BadResponse,
    ConnectionFault,
    ContentFilter,
    Overloaded,
    RateLimited,
    ServerFault,
    StepError,
    StepTimeout,
)
from agentbatch.messages import ChatRequest, ChatResponse, Message, ToolCall, ToolSpec, Usage
from agentbatch.models.anthropic import AnthropicConfig, AnthropicModel
from agentbatch.models.gemini import GeminiConfig, GeminiModel
from agentbatch.models.openai import OpenAIConfig, OpenAIModel
from agentbatch.models.openai_responses import OpenAIResponsesConfig, OpenAIResponsesModel
from agentbatch.transports.http import open_transport

ASK = ChatRequest((Message("user", "Hello"),))
HANG = None
"""In a script: send nothing further, and keep the connection."""


class StreamServer:
    """Sends the pieces of a script as a chunked body, and then ends it, or cuts the connection."""

    def __init__(self, *pieces: bytes | None, cut: bool = False, kind: str = "text/event-stream", status: int = 200):
        self.pieces, self.cut, self.kind, self.status = pieces, cut, kind, status
        self.bodies: list[dict[str, Any]] = []
        self.connections = 0
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[StreamServer]:
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            self._over.set()
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                self.bodies.append(json.loads(await reader.readexactly(length)))
                await self._answer(writer)
                if self.cut:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {self.status} X\r\ncontent-type: {self.kind}\r\nx-request-id: req_1\r\n"
        writer.write(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        for piece in self.pieces:
            if piece is None:
                await self._over.wait()
                return
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
        if not self.cut:
            writer.write(b"0\r\n\r\n")
            await writer.drain()


Ask = Callable[..., Any]


@pytest.fixture(params=["direct", "aiohttp", "httpx"])
async def transport(request: pytest.FixtureRequest) -> AsyncGenerator[Any]:
    opened = open_transport(request.param)
    yield opened
    await opened.close()


async def ask_openai(transport: Any, server: StreamServer, request: ChatRequest = ASK, **fields: Any) -> ChatResponse:
    config = OpenAIConfig(provider="openai", model="m", base_url=server.url, stream=True, **fields)
    async with asyncio.timeout(20):
        return await OpenAIModel(config, transport, {}).chat(request)


async def ask_anthropic(transport: Any, server: StreamServer, request: ChatRequest = ASK) -> ChatResponse:
    config = AnthropicConfig(provider="anthropic", model="m", base_url=server.url, stream=True)
    async with asyncio.timeout(20):
        return await AnthropicModel(config, transport, {}).chat(request)


def frame(data: Any, name: str = "") -> bytes:
    text = data if isinstance(data, str) else json.dumps(data)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return frame({"object": "chat.completion.chunk", "model": "m-1", "choices": [choice], "usage": None})


USAGE = frame({"model": "m-1", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
DONE = frame("[DONE]")


def event(name: str, **fields: Any) -> bytes:
    return frame({"type": name, **fields}, name)


START = event(
    "message_start",
    message={"id": "msg_1", "model": "m-1", "content": [], "usage": {"input_tokens": 9, "output_tokens": 1}},
)
STOP = event("message_stop")


def text_block(index: int, *pieces: str) -> list[bytes]:
    return [
        event("content_block_start", index=index, content_block={"type": "text", "text": ""}),
        *(event("content_block_delta", index=index, delta={"type": "text_delta", "text": one}) for one in pieces),
        event("content_block_stop", index=index),
    ]


def end_of_message(reason: str = "end_turn") -> bytes:
    return event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 7})


# --- OpenAI ---


async def test_a_streamed_completion(transport: Any) -> None:
    pieces = [
        b": hello\n\n",
        chunk(role="assistant", content=""),
        chunk(content="h"),
        chunk(content="i"),
        chunk("stop"),
    ]
    async with StreamServer(*pieces, USAGE, DONE).running() as server:
        answers = [await ask_openai(transport, server) for _ in range(2)]
    for answer in answers:
        assert (answer.text, answer.finish_reason, answer.model, answer.request_id) == ("hi", "stop", "m-1", "req_1")
        assert answer.usage == Usage(5, 2, 1)
        assert answer.first_token_s is not None and 0 < answer.first_token_s < 20
    assert server.bodies[0]["stream"] is True and server.bodies[0]["stream_options"] == {"include_usage": True}
    assert server.connections == 1, "a stream read to its end leaves its connection for the next"


async def test_stream_options_can_be_given(transport: Any) -> None:
    async with StreamServer(chunk(content="hi"), chunk("stop"), DONE).running() as server:
        await ask_openai(transport, server, params={}, extra_headers={})
        await ask_openai(transport, server, ChatRequest(ASK.messages, {"stream_options": {"include_usage": False}}))
    assert [body["stream_options"]["include_usage"] for body in server.bodies] == [True, False]


async def test_the_stream_may_be_cut_into_any_pieces(transport: Any) -> None:
    whole = b"".join([chunk(content="h\u00e9"), chunk("stop", content="i"), USAGE, DONE]).replace(b"\n", b"\r\n")
    async with StreamServer(*(whole[at : at + 7] for at in range(0, len(whole), 7))).running() as server:
        answer = await ask_openai(transport, server)
    assert (answer.text, answer.usage.output_tokens) == ("h\u00e9i", 2)


def call(index: int | None, call_id: str | None = None, name: str | None = None, arguments: str = "") -> dict[str, Any]:
    place = {} if index is None else {"index": index}
    return {**place, "id": call_id, "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    "calls",
    [
        [call(0, "a", "f", '{"x"'), call(0, arguments=": 1}"), call(1, "b", "g"), call(1, None, None, "{}")],
        [call(0, "a", "f"), call(1, "b", "g", "{}"), call(0, arguments='{"x": 1}')],
        [call(None, "a", "f", '{"x": 1}'), call(None, "b", "g", "{}")],
        [call(0, "a", "f", '{"x": 1}'), call(0, "b", "g", "{}")],
        [call(0, "a", "f", '{"x"'), call(0, "a", "f", ": 1}"), call(1, "b", "g")],
    ],
)
async def test_tool_calls_of_a_completion_come_in_pieces(transport: Any, calls: list[dict[str, Any]]) -> None:
    pieces = [chunk(tool_calls=[one]) for one in calls]
    async with StreamServer(*pieces, chunk("tool_calls"), DONE).running() as server:
        answer = await ask_openai(transport, server)
    assert answer.tool_calls == (ToolCall("a", "f", '{"x": 1}'), ToolCall("b", "g", "{}"))
    assert answer.finish_reason == "tool_calls"


async def test_reasoning_is_kept_for_the_next_turn(transport: Any) -> None:
    pieces = [chunk(reasoning_content="Let "), chunk(reasoning_content="me."), chunk(tool_calls=[call(0, "a", "f")])]
    async with StreamServer(*pieces, chunk("tool_calls"), DONE).running() as server:
        answer = await ask_openai(transport, server)
    assert answer.provider_data == {"reasoning_content": "Let me."}


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([chunk(content="hi"), chunk("stop")], id="no [DONE]"),
        pytest.param([chunk(content="hi"), DONE], id="no finish_reason"),
        pytest.param(
            [frame({"choices": [], "prompt_filter_results": []}), chunk("stop", content="hi"), DONE], id="azure"
        ),
        pytest.param([chunk("stop", content="hi"), DONE, b"data: {garbage\n\n"], id="something after [DONE]"),
    ],
)
async def test_streams_that_end_their_own_way(transport: Any, pieces: list[bytes]) -> None:
    async with StreamServer(*pieces).running() as server:
        assert (await ask_openai(transport, server)).text == "hi"


async def test_a_connection_cut_behind_the_answer_takes_nothing_from_it(transport: Any) -> None:
    async with StreamServer(chunk(content="hi"), chunk("stop"), cut=True).running() as server:
        assert (await ask_openai(transport, server)).text == "hi"


async def test_a_server_that_never_says_goodbye(transport: Any) -> None:
    async with StreamServer(chunk("stop", content="hi"), DONE, HANG).running() as server:
        assert (await ask_openai(transport, server)).text == "hi"


async def test_a_server_that_does_not_stream(transport: Any) -> None:
    whole = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
    async with StreamServer(json.dumps(whole).encode(), kind="application/json").running() as server:
        answer = await ask_openai(transport, server)
    assert (answer.text, answer.first_token_s) == ("hi", None)


HALF = chunk(content="half of")


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        pytest.param([HALF], BadResponse, id="ended early"),
        pytest.param([], BadResponse, id="empty"),
        pytest.param([DONE], BadResponse, id="nothing but [DONE]"),
        pytest.param([HALF, b'data: {"choices": [{"delta": {"con'], BadResponse, id="ended amid a frame"),
        pytest.param([HALF, frame("{garbage"), chunk("stop"), DONE], BadResponse, id="garbage"),
        pytest.param([HALF, frame("42"), chunk("stop"), DONE], BadResponse, id="no object"),
        pytest.param([HALF, frame({"error": {"message": "backend gone"}}), DONE], BadResponse, id="error"),
        pytest.param([HALF, frame({"error": "backend gone"}), DONE], BadResponse, id="error text"),
        pytest.param([HALF, frame({"message": "x"}, "error"), DONE], BadResponse, id="event error"),
        pytest.param(
            [HALF, frame({"error": {"message": "x", "type": "server_error"}})], ServerFault, id="server_error"
        ),
        pytest.param([HALF, frame({"error": {"message": "x", "code": 429}})], RateLimited, id="code"),
        pytest.param(
            [HALF, frame({"error": {"message": "x", "code": "rate_limit_exceeded"}})], RateLimited, id="rate limit"
        ),
        pytest.param([HALF, chunk("content_filter")], ContentFilter, id="filter"),
        pytest.param([chunk(refusal="I can't"), chunk("stop"), DONE], ContentFilter, id="refusal"),
    ],
)
async def test_a_broken_completion_is_no_answer(transport: Any, pieces: list[bytes], kind: type[StepError]) -> None:
    async with StreamServer(*pieces).running() as server:
        with pytest.raises(StepError) as caught:
            await ask_openai(transport, server)
    assert type(caught.value) is kind
    assert caught.value.retryable is (kind is not ContentFilter)


async def test_a_cut_connection_is_no_answer(transport: Any) -> None:
    async with StreamServer(HALF, cut=True).running() as server:
        with pytest.raises(ConnectionFault):
            await ask_openai(transport, server)


async def test_a_stream_that_falls_silent(transport: Any) -> None:
    async with StreamServer(HALF, HANG).running() as server:
        with pytest.raises(StepTimeout, match=r"silent for 0\.05 s"):
            await ask_openai(transport, server, chunk_timeout=0.05)


async def test_a_refused_stream(transport: Any) -> None:
    refused = json.dumps({"error": {"message": "slow down"}}).encode()
    async with StreamServer(refused, kind="application/json", status=429).running() as server:
        with pytest.raises(RateLimited, match="slow down") as caught:
            await ask_openai(transport, server)
    assert (caught.value.http_status, caught.value.request_id) == (429, "req_1")


# --- Anthropic ---


async def test_a_streamed_message(transport: Any) -> None:
    pieces = [START, event("ping"), *text_block(0, "h", "i"), event("new_kind", x=1), end_of_message(), STOP]
    async with StreamServer(*pieces).running() as server:
        answers = [await ask_anthropic(transport, server) for _ in range(2)]
    for answer in answers:
        assert (answer.text, answer.finish_reason, answer.model) == ("hi", "stop", "m-1")
        assert answer.usage == Usage(9, 7, 1)
        assert answer.first_token_s is not None
    assert server.bodies[0]["stream"] is True and server.connections == 1


async def test_thinking_and_tools_of_a_streamed_message(transport: Any) -> None:
    use: dict[str, Any] = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    deltas = [
        (0, {"type": "thinking_delta", "thinking": "Let "}),
        (0, {"type": "thinking_delta", "thinking": "me."}),
        (0, {"type": "signature_delta", "signature": "sig"}),
        (1, {"type": "input_json_delta", "partial_json": ""}),
        (1, {"type": "input_json_delta", "partial_json": '{"x"'}),
        (1, {"type": "input_json_delta", "partial_json": ": 1}"}),
    ]
    pieces = [
        START,
        event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
        event("content_block_start", index=1, content_block=use),
        event("content_block_start", index=2, content_block={**use, "id": "b", "name": "g"}),
        *(event("content_block_delta", index=index, delta=delta) for index, delta in deltas),
        end_of_message("tool_use"),
        STOP,
    ]
    async with StreamServer(*pieces).running() as server:
        answer = await ask_anthropic(transport, server)
    assert answer.tool_calls == (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", "{}"))
    assert answer.provider_data == (
        {"type": "thinking", "thinking": "Let me.", "signature": "sig"},
        {**use, "input": {"x": 1}},
        {**use, "id": "b", "name": "g"},
    )


async def test_arguments_that_broke_off_at_the_limit_stay_as_they_were_written(transport: Any) -> None:
    use: dict[str, Any] = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    pieces = [
        START,
        event("content_block_start", index=0, content_block=use),
        event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": '{"x'}),
        end_of_message("max_tokens"),
        STOP,
    ]
    async with StreamServer(*pieces).running() as server:
        assert (await ask_anthropic(transport, server)).tool_calls == (ToolCall("a", "f", '{"x'),)


def broken(kind: str) -> bytes:
    return event("error", error={"type": kind, "message": "Sorry"})


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        pytest.param([START, *text_block(0, "half")], BadResponse, id="ended early"),
        pytest.param([START, *text_block(0, "hi"), end_of_message()], BadResponse, id="no message_stop"),
        pytest.param([START, *text_block(0, "hi"), DONE], BadResponse, id="another dialect's end"),
        pytest.param([START, *text_block(0, "half"), broken("overloaded_error")], Overloaded, id="overloaded"),
        pytest.param([START, broken("rate_limit_error")], RateLimited, id="rate limit"),
        pytest.param([START, broken("api_error"), STOP], ServerFault, id="api_error"),
        pytest.param([START, broken("new_error"), STOP], BadResponse, id="unknown error"),
        pytest.param([START, frame("<html>"), STOP], BadResponse, id="garbage"),
        pytest.param([START, end_of_message("refusal"), STOP], ContentFilter, id="refusal"),
    ],
)
async def test_a_broken_message_is_no_answer(transport: Any, pieces: list[bytes], kind: type[StepError]) -> None:
    async with StreamServer(*pieces).running() as server:
        with pytest.raises(StepError) as caught:
            await ask_anthropic(transport, server)
    assert type(caught.value) is kind


async def test_a_cut_message_is_no_answer(transport: Any) -> None:
    async with StreamServer(START, *text_block(0, "hi"), end_of_message(), cut=True).running() as server:
        with pytest.raises(ConnectionFault):
            await ask_anthropic(transport, server)


async def test_what_repeats_is_marked_to_be_cached(transport: Any) -> None:
    tools = (ToolSpec("f", "F.", {"type": "object"}), ToolSpec("g", "G.", {"type": "object"}))
    request = ChatRequest((Message("system", "Be brief."), *ASK.messages), tools=tools)
    config = AnthropicConfig(provider="anthropic", model="m", base_url="http://h", cache_prompt=True)
    body = json.loads(AnthropicModel(config, transport, {}).encode(request))
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    assert ["cache_control" in tool for tool in body["tools"]] == [False, True]


# --- OpenAI's Responses API ---


async def ask_responses(
    transport: Any, server: StreamServer, request: ChatRequest = ASK, **fields: Any
) -> ChatResponse:
    config = OpenAIResponsesConfig(provider="openai-responses", model="m", base_url=server.url, stream=True, **fields)
    async with asyncio.timeout(20):
        return await OpenAIResponsesModel(config, transport, {}).chat(request)


def words_item(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


CALL_ITEM = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": 1}'}
REASONING_ITEM = {"type": "reasoning", "id": "rs_1", "encrypted_content": "sealed", "summary": []}


def response_of(*items: Any, status: str = "completed", **fields: Any) -> dict[str, Any]:
    usage = {"input_tokens": 9, "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 3}}
    return {"id": "resp_1", "model": "m-1", "status": status, "output": list(items), "usage": usage, **fields}


def delta(text: str) -> bytes:
    return event("response.output_text.delta", output_index=0, delta=text)


CREATED = event("response.created", response=response_of(status="in_progress", usage=None))


async def test_a_streamed_response(transport: Any) -> None:
    last = event("response.completed", response=response_of(words_item("hi there")))
    async with StreamServer(CREATED, delta("hi "), delta("there"), last).running() as server:
        answer = await ask_responses(transport, server)
    assert (answer.text, answer.model, answer.request_id) == ("hi there", "m-1", "req_1")
    assert answer.usage == Usage(9, 7, 1, reasoning_tokens=3)
    assert answer.first_token_s is not None and answer.first_token_s > 0
    assert server.bodies[0]["stream"] is True


async def test_calls_and_reasoning_of_a_streamed_response(transport: Any) -> None:
    last = event("response.completed", response=response_of(REASONING_ITEM, CALL_ITEM))
    async with StreamServer(CREATED, last).running() as server:
        answer = await ask_responses(transport, server)
    assert answer.tool_calls == (ToolCall("c1", "look", '{"at": 1}'),)
    assert [item["type"] for item in answer.provider_data] == ["reasoning", "function_call"]


async def test_items_that_the_last_event_leaves_out_were_there_before(transport: Any) -> None:
    items = [event("response.output_item.done", output_index=n, item=words_item(text)) for n, text in enumerate("ab")]
    last = event("response.completed", response=response_of())
    async with StreamServer(CREATED, *reversed(items), last, DONE).running() as server:
        answer = await ask_responses(transport, server)
    assert answer.text == "ab"


async def test_a_streamed_response_at_its_limit(transport: Any) -> None:
    cut = response_of(words_item("half"), status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    async with StreamServer(CREATED, event("response.incomplete", response=cut)).running() as server:
        answer = await ask_responses(transport, server)
    assert (answer.text, answer.finish_reason) == ("half", "length")


FAILED = {"code": "server_error", "message": "it broke"}


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        pytest.param([CREATED, delta("half")], BadResponse, id="ended early"),
        pytest.param([], BadResponse, id="empty"),
        pytest.param([CREATED, DONE], BadResponse, id="nothing but [DONE]"),
        pytest.param(
            [CREATED, event("response.failed", response=response_of(status="failed", error=FAILED))],
            ServerFault,
            id="failed",
        ),
        pytest.param([CREATED, event("error", code="rate_limit_exceeded", message="x")], RateLimited, id="error"),
        pytest.param(
            [
                CREATED,
                event(
                    "response.incomplete",
                    response=response_of(status="incomplete", incomplete_details={"reason": "content_filter"}),
                ),
            ],
            ContentFilter,
            id="filter",
        ),
    ],
)
async def test_a_broken_response_is_no_answer(transport: Any, pieces: list[bytes], kind: type[StepError]) -> None:
    async with StreamServer(*pieces).running() as server:
        with pytest.raises(StepError) as caught:
            await ask_responses(transport, server)
    assert type(caught.value) is kind


async def test_a_response_that_is_cut_or_falls_silent_is_no_answer(transport: Any) -> None:
    async with StreamServer(CREATED, delta("half"), cut=True).running() as server:
        with pytest.raises(ConnectionFault):
            await ask_responses(transport, server)
    async with StreamServer(CREATED, delta("half"), HANG).running() as server:
        with pytest.raises(StepTimeout, match="silent"):
            await ask_responses(transport, server, chunk_timeout=0.05)


# --- Gemini ---


async def ask_gemini(transport: Any, server: StreamServer, request: ChatRequest = ASK, **fields: Any) -> ChatResponse:
    config = GeminiConfig(provider="gemini", model="m", base_url=server.url, stream=True, **fields)
    async with asyncio.timeout(20):
        return await GeminiModel(config, transport, {}).chat(request)


def piece(*parts: dict[str, Any], finish: str | None = None, output: int = 1) -> bytes:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    usage = {"promptTokenCount": 9, "candidatesTokenCount": output}
    return frame({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m-1", "responseId": "r1"})


async def test_a_streamed_content(transport: Any) -> None:
    pieces = [piece({"text": "hi "}), piece({"text": "there"}, output=4), piece({"text": ""}, finish="STOP", output=7)]
    async with StreamServer(*pieces).running() as server:
        answer = await ask_gemini(transport, server)
    assert (answer.text, answer.model, answer.usage) == ("hi there", "m-1", Usage(9, 7, 1))
    assert answer.first_token_s is not None and answer.first_token_s > 0


async def test_a_stream_of_gemini_has_an_address_of_its_own() -> None:
    asked: list[str] = []

    class Refusing:
        def stream(self, method: str, url: str, headers: Any, body: Any) -> Any:
            asked.append(url)
            raise ConnectionFault("no")

    config = GeminiConfig(provider="gemini", model="m", base_url="http://127.0.0.1:1/v1beta", stream=True)
    with pytest.raises(ConnectionFault):
        await GeminiModel(config, Refusing(), {}).chat(ASK)  # pyright: ignore[reportArgumentType]
    assert asked == ["http://127.0.0.1:1/v1beta/models/m:streamGenerateContent?alt=sse"]


async def test_calls_thoughts_and_signatures_of_a_streamed_content(transport: Any) -> None:
    pieces = [
        piece({"text": "hm", "thought": True}),
        piece({"text": "so", "thought": True}),
        piece({"text": "I look. "}),
        piece({"functionCall": {"id": "c1", "name": "look", "args": {"at": 1}}, "thoughtSignature": "s1"}),
        piece({"functionCall": {"id": "c2", "name": "look", "args": {}}}, finish="STOP"),
    ]
    async with StreamServer(*pieces).running() as server:
        answer = await ask_gemini(transport, server)
    assert answer.text == "I look. "
    assert answer.tool_calls == (ToolCall("c1", "look", '{"at":1}'), ToolCall("c2", "look", "{}"))
    assert [part.get("thoughtSignature") for part in answer.provider_data] == [None, "s1", None]


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        pytest.param([piece({"text": "half"})], BadResponse, id="ended early"),
        pytest.param([], BadResponse, id="empty"),
        pytest.param([piece({"text": "x"}), frame({"error": {"code": 503, "message": "x"}})], Overloaded, id="error"),
        pytest.param([piece({"text": "x"}, finish="SAFETY")], ContentFilter, id="filter"),
        pytest.param([frame({"promptFeedback": {"blockReason": "SAFETY"}})], ContentFilter, id="blocked"),
        pytest.param([piece(finish="MALFORMED_FUNCTION_CALL")], BadResponse, id="malformed"),
    ],
)
async def test_a_broken_content_is_no_answer(transport: Any, pieces: list[bytes], kind: type[StepError]) -> None:
    async with StreamServer(*pieces).running() as server:
        with pytest.raises(StepError) as caught:
            await ask_gemini(transport, server)
    assert isinstance(caught.value, kind)


async def test_a_content_that_is_cut_or_falls_silent_is_no_answer(transport: Any) -> None:
    async with StreamServer(piece({"text": "half"}), cut=True).running() as server:
        with pytest.raises(ConnectionFault):
            await ask_gemini(transport, server)
    async with StreamServer(piece({"text": "half"}), HANG).running() as server:
        with pytest.raises(StepTimeout, match="silent"):
            await ask_gemini(transport, server, chunk_timeout=0.05)


# --- what was paid for ---


async def test_a_stream_that_broke_off_says_what_it_had_used(transport: Any) -> None:
    async with StreamServer(START, *text_block(0, "half")[:2]).running() as server:
        with pytest.raises(BadResponse) as caught:
            await ask_anthropic(transport, server)
    assert caught.value.usage == Usage(9, 1, 1)
    async with StreamServer(HALF).running() as server:
        with pytest.raises(BadResponse) as nothing_said:
            await ask_openai(transport, server)
    assert nothing_said.value.usage is None
