"""The Anthropic dialect: what is sent, and what every kind of answer becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from models.provider_shapes import ScriptedProvider

from agentbatch.errors import BadResponse, ConfigError, ContentFilter, Overloaded, StepError
from agentbatch.messages import ChatRequest, ChatResponse, Message, ToolCall, ToolSpec, Usage
from agentbatch.models.anthropic import AnthropicConfig, AnthropicModel

KEY = "sk-ant-canary-0123456789"
ASK = ChatRequest((Message("system", "Be brief."), Message("user", "Hello")))
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]}


def config(**fields: Any) -> AnthropicConfig:
    return AnthropicConfig(**{"provider": "anthropic", "model": "claude-x", "api_key": KEY, **fields})


def model(provider: ScriptedProvider, environ: dict[str, str] | None = None, **fields: Any) -> AnthropicModel:
    return AnthropicModel(config(**fields), provider.transport(), environ or {})


def answer(*content: Any, stop: Any = "end_turn", usage: Any = None) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x-2026",
        "content": list(content) or [text("hi")],
        "stop_reason": stop,
        **({} if usage is None else {"usage": usage}),
    }


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def use(arguments: Any = None, name: Any = "look", call_id: Any = "toolu_1") -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": {} if arguments is None else arguments}


THINKING = {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"}


async def ask(body: Any, request: ChatRequest = ASK, **headers: str) -> ChatResponse:
    return await model(ScriptedProvider(body, headers=headers)).chat(request)


async def refused(body: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        await ask(body)
    return caught.value


async def sent_for(request: ChatRequest, **fields: Any) -> dict[str, Any]:
    provider = ScriptedProvider(answer())
    await model(provider, **fields).chat(request)
    return provider.sent


# --- what is sent ---


async def test_a_request() -> None:
    provider = ScriptedProvider(answer())
    await model(provider).chat(ChatRequest(ASK.messages, {"temperature": 0.2}, traceparent="00-ab-cd-01"))
    sent = provider.requests[0]
    assert (sent.method, str(sent.url)) == ("POST", "https://api.anthropic.com/v1/messages")
    assert sent.headers["x-api-key"] == KEY and "authorization" not in sent.headers
    assert sent.headers["anthropic-version"] == "2023-06-01"
    assert sent.headers["traceparent"] == "00-ab-cd-01"
    assert provider.sent == {
        "model": "claude-x",
        "max_tokens": 4096,
        "temperature": 0.2,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": [text("Hello")]}],
    }


@pytest.mark.parametrize("base_url", ["http://h", "http://h/", "http://h/v1", "http://h/v1/", "http://h/v1/messages"])
async def test_where_it_is_sent(base_url: str) -> None:
    provider = ScriptedProvider(answer())
    await model(provider, base_url=base_url, auth="bearer").chat(ASK)
    assert str(provider.requests[0].url) == "http://h/v1/messages"
    assert provider.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_params_win() -> None:
    sent = await sent_for(ChatRequest(ASK.messages, {"max_tokens": 9, "system": [text("Mine.")]}))
    assert (sent["max_tokens"], sent["system"]) == (9, [text("Mine.")])


async def test_no_system_no_field() -> None:
    assert "system" not in await sent_for(ChatRequest((Message("user", "Hello"),)))


@pytest.mark.parametrize(
    ("choice", "parallel", "sent"),
    [
        (None, None, None),
        ("auto", None, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("look", None, {"type": "tool", "name": "look"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", True, {"type": "any", "disable_parallel_tool_use": False}),
    ],
)
async def test_tools_and_choices(choice: str | None, parallel: bool | None, sent: dict[str, Any] | None) -> None:
    tools = (ToolSpec("look", "Looks.", {"type": "object"}),)
    body = await sent_for(ChatRequest(ASK.messages, tools=tools, tool_choice=choice, parallel_tool_calls=parallel))
    assert body["tools"] == [{"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}]
    assert body.get("tool_choice") == sent


async def test_results_of_one_round_share_a_turn() -> None:
    body = await sent_for(
        ChatRequest(
            (
                Message("user", "Look twice"),
                Message("assistant", "Well", (ToolCall("t1", "look", '{"at": 1}'), ToolCall("t2", "look", "[broken"))),
                Message("tool", "one", tool_call_id="t1"),
                Message("tool", "two", tool_call_id="t2"),
                Message("user", "And?"),
            )
        )
    )
    assert body["messages"][1:] == [
        {"role": "assistant", "content": [text("Well"), use({"at": 1}, call_id="t1"), use(call_id="t2")]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "one"},
                {"type": "tool_result", "tool_use_id": "t2", "content": "two"},
                text("And?"),
            ],
        },
    ]


async def test_a_call_without_words_has_no_empty_text() -> None:
    body = await sent_for(ChatRequest((Message("user", "x"), Message("assistant", "", (ToolCall("t", "look", "{}"),)))))
    assert body["messages"][1]["content"] == [use(call_id="t")]


async def test_a_schema_is_enforced_as_far_as_it_can_be() -> None:
    request = ChatRequest(ASK.messages, {"output_config": {"effort": "low"}}, output_schema=SCHEMA)
    body = await sent_for(request)
    assert body["output_config"] == {
        "effort": "low",
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {"a": {"type": "integer"}},
                "required": ["a"],
                "additionalProperties": False,
            },
        },
    }
    assert body["system"] == "Be brief."


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        (SCHEMA, {"structured_outputs": False}),
        ({"type": "array", "items": {"type": "string"}}, {}),
        ({"type": "object", "oneOf": [SCHEMA]}, {}),
        ({"type": "object"}, {}),
    ],
)
async def test_another_schema_is_told_in_words(schema: dict[str, Any], fields: dict[str, Any]) -> None:
    body = await sent_for(ChatRequest(ASK.messages, output_schema=schema), **fields)
    assert "output_config" not in body
    instructions, _, told = body["system"].partition("JSON Schema:\n")
    assert instructions.startswith("Be brief.\n\nAnswer with JSON") and json.loads(told) == schema


# --- what comes back ---


async def test_an_answer() -> None:
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 3,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 2},
    }
    response = await ask(answer(text("h"), text("i"), usage=usage), **{"request-id": "req_1"})
    assert (response.text, response.finish_reason, response.model) == ("hi", "stop", "claude-x-2026")
    assert response.usage == Usage(18, 7, 1, cached_tokens=5, cache_write_tokens=3, reasoning_tokens=2)
    assert response.request_id == "req_1" and response.provider_data is None


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        (None, "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
    ],
)
async def test_how_it_ended(stop: Any, finish: str) -> None:
    assert (await ask(answer(stop=stop))).finish_reason == finish


async def test_tool_calls() -> None:
    response = await ask(answer(text("Well"), use({"at": 1}), use(call_id="toolu_1"), stop="tool_use"))
    assert (response.text, response.finish_reason) == ("Well", "tool_calls")
    first, second = response.tool_calls
    assert first == ToolCall("toolu_1", "look", '{"at":1}')
    assert second.id not in ("", "toolu_1") and second.arguments == "{}"


async def test_thinking_goes_back_as_it_came() -> None:
    blocks = [THINKING, {"type": "redacted_thinking", "data": "eA=="}, text(""), text("Well"), use({"at": 1}), use()]
    provider = ScriptedProvider(answer(*blocks, stop="tool_use"), answer())
    asked = model(provider)
    first = await asked.chat(ASK)
    assert first.text == "Well"
    results = [Message("tool", "seen", tool_call_id=call.id) for call in first.tool_calls]
    await asked.chat(ChatRequest((*ASK.messages, first.as_message(), *results)))
    sent = provider.sent["messages"][1]["content"]
    assert sent[:3] == [blocks[0], blocks[1], text("Well")]
    assert [block["id"] for block in sent[3:]] == [call.id for call in first.tool_calls]
    assert [block["tool_use_id"] for block in provider.sent["messages"][2]["content"]] == [
        call.id for call in first.tool_calls
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"<html>",
        b"{}",
        {"type": "message"},
        {"content": None},
        {"content": "hi"},
        {"type": "error", "error": {"type": "api_error", "message": "no"}},
        answer(use(name=None)),
        answer(use(name=7)),
    ],
)
async def test_what_is_no_answer_is_a_bad_response(body: Any) -> None:
    error = await refused(body)
    assert isinstance(error, BadResponse) and error.retryable


@pytest.mark.parametrize("content", [[text("")], [THINKING], [None, 7, "hi"], [{"type": "text", "text": None}]])
async def test_an_answer_with_nothing_in_it_is_not_asked_for_again(content: list[Any]) -> None:
    error = await refused(answer(*content))
    assert isinstance(error, BadResponse) and not error.retryable
    assert "max_tokens" in (await refused(answer(*content, stop="max_tokens"))).message


async def test_a_paused_turn_is_no_answer() -> None:
    error = await refused(answer(text("So far"), stop="pause_turn"))
    assert type(error) is BadResponse and not error.retryable and "pause_turn" in error.message


async def test_nothing_at_all() -> None:
    assert type(await refused({"content": [], "stop_reason": "end_turn"})) is BadResponse


async def test_a_refusal() -> None:
    error = await refused(answer(text("I can't"), stop="refusal"))
    assert type(error) is ContentFilter and not error.retryable


async def test_an_overloaded_server_in_disguise() -> None:
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert type(await refused(body)) is Overloaded
    with pytest.raises(Overloaded) as caught:
        await model(ScriptedProvider(body, status=529, headers={"retry-after": "3", "request-id": "r"})).chat(ASK)
    assert (caught.value.retry_after, caught.value.request_id, caught.value.http_status) == (3, "r", 529)


@pytest.mark.parametrize("usage", [None, [], {"input_tokens": None, "output_tokens": -1}, {"input_tokens": "9"}])
async def test_odd_usage_counts_nothing(usage: Any) -> None:
    assert (await ask(answer(usage=usage))).usage == Usage(requests=1)


# --- keys ---


async def test_the_default_key_is_for_anthropic_alone() -> None:
    provider = ScriptedProvider(answer())
    environ = {"ANTHROPIC_API_KEY": "sk-from-environment"}
    await model(provider, environ, api_key=None).chat(ASK)
    assert provider.requests[-1].headers["x-api-key"] == "sk-from-environment"
    await model(provider, environ, api_key=None, base_url="http://127.0.0.1:8000").chat(ASK)
    assert "x-api-key" not in provider.requests[-1].headers
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        model(provider, {}, api_key=None)


def test_secrets_are_known_and_not_shown() -> None:
    made = model(ScriptedProvider({}))
    assert made.secrets == (KEY,)
    assert "canary" not in repr(made) + repr(config())
