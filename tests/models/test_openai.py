"""The OpenAI dialect: what is sent, and what every kind of answer becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from models.provider_shapes import ScriptedProvider
from pydantic import ValidationError

from agentbatch.errors import (
    AuthFault,
    BadRequest,
    BadResponse,
    ConfigError,
    ContentFilter,
    RateLimited,
    StepError,
)
from agentbatch.messages import ChatRequest, ChatResponse, Message, ToolCall, ToolSpec, Usage
from agentbatch.models.openai import OpenAIConfig, OpenAIModel

KEY = "sk-canary-0123456789"
ASK = ChatRequest((Message("system", "Be brief."), Message("user", "Hello")))


def config(**fields: Any) -> OpenAIConfig:
    return OpenAIConfig(**{"provider": "openai", "model": "gpt-x", "api_key": KEY, **fields})


def model(provider: ScriptedProvider, environ: dict[str, str] | None = None, **fields: Any) -> OpenAIModel:
    return OpenAIModel(config(**fields), provider.transport(), environ or {})


def completion(content: Any = "hi", finish: Any = "stop", usage: Any = None, **message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-x-2026",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
        ],
        **({} if usage is None else {"usage": usage}),
    }


async def ask(answer: Any, request: ChatRequest = ASK, **headers: str) -> ChatResponse:
    return await model(ScriptedProvider(answer, headers=headers)).chat(request)


async def refused(answer: Any, request: ChatRequest = ASK) -> StepError:
    with pytest.raises(StepError) as caught:
        await ask(answer, request)
    return caught.value


# --- what is sent ---


async def test_a_request() -> None:
    provider = ScriptedProvider(completion())
    await model(provider).chat(
        ChatRequest(ASK.messages, params={"temperature": 0.2, "max_tokens": 9}, traceparent="00-ab-cd-01")
    )
    sent = provider.requests[0]
    assert (sent.method, str(sent.url)) == ("POST", "https://api.openai.com/v1/chat/completions")
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["traceparent"] == "00-ab-cd-01"
    assert provider.sent == {
        "model": "gpt-x",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "temperature": 0.2,
        "max_tokens": 9,
    }


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"base_url": "http://127.0.0.1:8000/v1"}, "http://127.0.0.1:8000/v1/chat/completions"),
        ({"base_url": "http://127.0.0.1:8000/v1/"}, "http://127.0.0.1:8000/v1/chat/completions"),
        ({"base_url": "http://h/v1/chat/completions"}, "http://h/v1/chat/completions"),
        ({"base_url": "http://h/v1/chat"}, "http://h/v1/chat/completions"),
        (
            {"base_url": "https://me.openai.azure.com/openai/deployments/d", "api_version": "2024-10-21"},
            "https://me.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
        ),
        ({"base_url": "http://h/v1?a=b"}, "http://h/v1/chat/completions?a=b"),
    ],
)
async def test_where_it_is_sent(fields: dict[str, str], url: str) -> None:
    provider = ScriptedProvider(completion())
    await model(provider, **fields).chat(ASK)
    assert str(provider.requests[0].url) == url


async def test_the_key_can_have_a_header_of_its_own() -> None:
    provider = ScriptedProvider(completion())
    await model(provider, auth="api-key", extra_headers={"x-team": "red"}).chat(ASK)
    headers = provider.requests[0].headers
    assert (headers["api-key"], headers["x-team"]) == (KEY, "red") and "authorization" not in headers


async def test_configured_headers_replace_the_apis_own() -> None:
    provider = ScriptedProvider(completion())
    await model(provider, extra_headers={"Authorization": "Basic eDp5"}).chat(ASK)
    assert provider.requests[0].headers.get_list("authorization") == ["Basic eDp5"]


async def test_streams_are_refused_before_they_are_paid_for() -> None:
    provider = ScriptedProvider(completion())
    with pytest.raises(BadRequest, match=r"params\.stream"):
        await model(provider).chat(ChatRequest(ASK.messages, {"stream": True}))
    assert not provider.requests


async def test_tools_and_choices() -> None:
    provider = ScriptedProvider(completion())
    tool = ToolSpec("look", "Looks.", {"type": "object", "properties": {}})
    asked = model(provider)
    request = ChatRequest(ASK.messages, tools=(tool,), tool_choice="required", parallel_tool_calls=False)
    for _ in range(2):
        await asked.chat(request)
        assert provider.sent["tools"] == [
            {
                "type": "function",
                "function": {
                    "name": "look",
                    "description": "Looks.",
                    "parameters": {"type": "object", "properties": {}},
                },
            }
        ]
        assert (provider.sent["tool_choice"], provider.sent["parallel_tool_calls"]) == ("required", False)
    await asked.chat(ChatRequest(ASK.messages, tools=(tool,), tool_choice="look"))
    assert provider.sent["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert "parallel_tool_calls" not in provider.sent


async def test_a_conversation_with_tools() -> None:
    provider = ScriptedProvider(completion())
    await model(provider).chat(
        ChatRequest(
            (
                Message("user", "Look"),
                Message("assistant", "", (ToolCall("c1", "look", '{"at": 1}'), ToolCall("c2", "look", "{broken"))),
                Message("tool", "seen", tool_call_id="c1"),
            )
        )
    )
    assert provider.sent["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}},
                {"id": "c2", "type": "function", "function": {"name": "look", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "seen"},
    ]


async def test_an_enforceable_schema_is_strict() -> None:
    provider = ScriptedProvider(completion())
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    await model(provider).chat(ChatRequest(ASK.messages, output_schema=schema))
    assert provider.sent["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "output", "schema": {**schema, "additionalProperties": False}, "strict": True},
    }


async def test_another_schema_is_sent_as_it_is() -> None:
    provider = ScriptedProvider(completion())
    schema = {"type": "object", "required": ["score"], "properties": {"score": {"type": "number"}, "why": {}}}
    await model(provider).chat(ChatRequest(ASK.messages, output_schema=schema))
    assert provider.sent["response_format"]["json_schema"] == {"name": "output", "schema": schema, "strict": False}


async def test_params_win_over_the_schema() -> None:
    provider = ScriptedProvider(completion())
    request = ChatRequest(ASK.messages, {"response_format": {"type": "json_object"}}, output_schema={"type": "object"})
    await model(provider).chat(request)
    assert provider.sent["response_format"] == {"type": "json_object"}


async def test_text_that_is_no_unicode_is_mended() -> None:
    provider = ScriptedProvider(completion())
    await model(provider).chat(ChatRequest((Message("user", "a\ud800b \ud83d\ude00 \u2028"),)))
    assert provider.sent["messages"][0]["content"] == "a\ufffdb \U0001f600 \u2028"


async def test_awkward_params() -> None:
    provider = ScriptedProvider(completion())
    tool = ToolSpec("look", "Looks.", {"type": "object"})
    await model(provider).chat(ChatRequest(ASK.messages, {"logit_bias": {50256: -100}}, tools=(tool,)))
    assert provider.sent["logit_bias"] == {"50256": -100}
    assert provider.sent["tools"][0]["function"]["name"] == "look"
    with pytest.raises(BadRequest, match="can't be written as JSON"):
        await model(provider).chat(ChatRequest(ASK.messages, {"top_p": float("nan"), "logit_bias": {1: 1}}))


# --- what comes back ---


async def test_an_answer() -> None:
    usage = {
        "prompt_tokens": 12,
        "completion_tokens": 7,
        "total_tokens": 19,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    response = await ask(completion(usage=usage), **{"X-Request-ID": "req_1", "x-ratelimit-remaining-requests": "9"})
    assert (response.text, response.finish_reason, response.model) == ("hi", "stop", "gpt-x-2026")
    assert response.usage == Usage(12, 7, 1, cached_tokens=4, reasoning_tokens=5)
    assert response.request_id == "req_1"
    assert response.headers["x-ratelimit-remaining-requests"] == "9"
    assert response.provider_data is None


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + json.dumps(completion()).encode(),
        b"\n\n  " + json.dumps(completion()).encode() + b"\r\n",
        json.dumps(completion(finish=None)).encode(),
        json.dumps(completion(finish="eos")).encode(),
        json.dumps(completion([{"type": "text", "text": "h"}, {"type": "x"}, {"type": "text", "text": "i"}])).encode(),
        json.dumps({"choices": [{"message": {"content": "hi"}}]}).encode(),
        json.dumps(completion(tool_calls=None, refusal=None)).encode(),
        json.dumps(completion(tool_calls=[])).encode(),
    ],
)
async def test_odd_answers_are_answers(body: bytes) -> None:
    response = await ask(body)
    assert (response.text, response.finish_reason) == ("hi", "stop")


async def test_any_content_type_will_do() -> None:
    assert (await ask(completion(), **{"content-type": "text/plain; charset=latin-1"})).text == "hi"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb"a\ud800b", "a\ufffdb"),
        (rb"a\udc00b", "a\ufffdb"),
        (rb"\ud83d\ude00", "\U0001f600"),
        (b"a\xffb", "a\ufffdb"),
        (rb"a\u0000b", "a\0b"),
        (b"a\xe2\x80\xa8b", "a\u2028b"),
    ],
)
async def test_broken_text_is_mended(raw: bytes, text: str) -> None:
    response = await ask(json.dumps(completion("X")).encode().replace(b'"X"', b'"' + raw + b'"'))
    assert response.text == text
    response.text.encode()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"   ", id="blank"),
        pytest.param(b"<!doctype html><title>Login</title>", id="html"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="array"),
        pytest.param(b'"text"', id="string"),
        pytest.param(b"42", id="number"),
        pytest.param(b"{}", id="object"),
        pytest.param(b'{"error": {"message": "backend gone"}}', id="error"),
        pytest.param(b'{"error": "backend gone"}', id="error-text"),
        pytest.param(b'{"choices": []}', id="no-choices"),
        pytest.param(b'{"choices": null}', id="null-choices"),
        pytest.param(b'{"choices": {}}', id="choices-object"),
        pytest.param(b'{"choices": [null]}', id="null-choice"),
        pytest.param(json.dumps(completion()).encode()[:-20], id="cut"),
        pytest.param(json.dumps(completion()).encode() + b"{}", id="two"),
        pytest.param(json.dumps(completion("X")).encode().replace(b'"X"', b"NaN"), id="nan"),
        pytest.param(json.dumps(completion("X", usage={"n": 1})).encode().replace(b"1}", b"1e999}"), id="infinite"),
        pytest.param(b'{"a":' * 5000 + b"1" + b"}" * 5000, id="deep"),
        pytest.param(b"[" * 100_000, id="deeper"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b", \xff}", id="5000-digits"),
        pytest.param(b"data: {}\n\ndata: [DONE]\n\n", id="event-stream"),
        pytest.param(b"\x00\x01\x02", id="binary"),
    ],
)
async def test_what_is_no_answer_is_a_bad_response(body: bytes) -> None:
    error = await refused(body)
    assert isinstance(error, BadResponse) and error.retryable
    assert error.message.isprintable() and len(error.message) < 700


@pytest.mark.parametrize(
    "answer",
    [
        completion(None),
        completion(""),
        completion([]),
        completion({"text": "hi"}),
        {"choices": [{"message": None, "finish_reason": "stop"}]},
        {"choices": [{"finish_reason": "stop"}]},
        completion(None, finish=["x"]),
    ],
)
async def test_an_answer_with_nothing_in_it_is_no_success_and_not_asked_for_again(answer: dict[str, Any]) -> None:
    error = await refused(answer)
    assert isinstance(error, BadResponse) and not error.retryable


async def test_max_tokens() -> None:
    response = await ask(completion("half of", finish="length"))
    assert (response.text, response.finish_reason) == ("half of", "length")
    error = await refused(completion("", finish="length"))
    assert isinstance(error, BadResponse) and not error.retryable and "max_tokens" in error.message


@pytest.mark.parametrize(
    "answer",
    [
        completion("I can", finish="content_filter"),
        completion(None, finish="content_filter"),
        completion(None, refusal="I can't help with that."),
        completion(None, finish="refusal"),
    ],
)
async def test_filters_and_refusals(answer: dict[str, Any]) -> None:
    error = await refused(answer)
    assert type(error) is ContentFilter and not error.retryable


def call(arguments: Any = "{}", name: Any = "look", call_id: Any = "c1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("{broken", "{broken"),
        ("", ""),
        ("[1]", "[1]"),
        (None, "{}"),
        ({"a": 1}, '{"a":1}'),
        ([1], "[1]"),
    ],
)
async def test_tool_calls_keep_their_arguments_valid_or_not(arguments: Any, text: str) -> None:
    response = await ask(completion(None, finish="tool_calls", tool_calls=[call(arguments)]))
    assert response.tool_calls == (ToolCall("c1", "look", text),)
    assert (response.text, response.finish_reason) == ("", "tool_calls")


async def test_every_tool_call_has_an_id_of_its_own() -> None:
    asked = [call(call_id="c1"), call(call_id="c1"), call(call_id=None), call(call_id=""), call(call_id=7)]
    calls = (await ask(completion("", finish="stop", tool_calls=asked))).tool_calls
    assert len(calls) == len({one.id for one in calls}) == 5 and all(one.id for one in calls)
    assert calls[0].id == "c1"


@pytest.mark.parametrize("broken", [call(name=None), call(name=""), {"id": "c1"}, None, "look"])
async def test_a_tool_call_without_a_name(broken: Any) -> None:
    assert isinstance(await refused(completion(None, tool_calls=[broken])), BadResponse)


async def test_reasoning_goes_back_amid_tool_calls_only() -> None:
    provider = ScriptedProvider(completion(None, tool_calls=[call()], reasoning_content="Let me see."), completion())
    asked = model(provider)
    turn = (await asked.chat(ASK)).as_message()
    await asked.chat(ChatRequest((*ASK.messages, turn, Message("tool", "seen", tool_call_id="c1"))))
    assert provider.sent["messages"][2]["reasoning_content"] == "Let me see."
    done = (await ask(completion("done", reasoning_content="Well."))).as_message()
    await asked.chat(ChatRequest((*ASK.messages, done, Message("user", "And now?"))))
    assert provider.sent["messages"][2] == {"role": "assistant", "content": "done"}


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "many",
        {"prompt_tokens": None},
        {"prompt_tokens": -3, "completion_tokens": True},
        {"prompt_tokens": 1.5, "completion_tokens": 10**30},
        {"prompt_tokens_details": None, "completion_tokens_details": 7},
    ],
)
async def test_odd_usage_counts_nothing(usage: Any) -> None:
    assert (await ask(completion(usage=usage))).usage == Usage(requests=1)


async def test_refusals_carry_what_the_server_said() -> None:
    provider = ScriptedProvider(
        {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}},
        status=429,
        headers={"retry-after-ms": "2500", "x-request-id": "req_9"},
    )
    with pytest.raises(RateLimited, match="Rate limit reached") as caught:
        await model(provider).chat(ASK)
    assert (caught.value.http_status, caught.value.retry_after, caught.value.request_id) == (429, 2.5, "req_9")


async def test_a_refused_key() -> None:
    with pytest.raises(AuthFault, match="api_key"):
        await model(ScriptedProvider({"error": {"message": "Incorrect API key"}}, status=401)).chat(ASK)


# --- keys ---


async def test_the_default_key_is_for_openai_alone() -> None:
    provider = ScriptedProvider(completion())
    environ = {"OPENAI_API_KEY": "sk-from-environment"}
    await model(provider, environ, api_key=None).chat(ASK)
    assert provider.requests[-1].headers["authorization"] == "Bearer sk-from-environment"
    await model(provider, environ, api_key=None, base_url="http://127.0.0.1:8000/v1").chat(ASK)
    assert "authorization" not in provider.requests[-1].headers


def test_no_key_for_openai_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        model(ScriptedProvider({}), {}, api_key=None)


def test_a_broken_key_in_the_environment_is_named_not_shown() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY has a control character") as caught:
        model(ScriptedProvider({}), {"OPENAI_API_KEY": f"{KEY}\n"}, api_key=None)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("broken", [f"{KEY}\n", f" {KEY}", f"{KEY}\0", f"{KEY}\x7f", f"{KEY}é", "", "\u2028"])
def test_a_broken_key_is_refused_by_the_config(broken: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config(api_key=broken)
    assert [problem["loc"] for problem in caught.value.errors()] == [("api_key",)]
    assert KEY not in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    "base_url",
    ["", "api.openai.com/v1", "ftp://h/v1", "http://", "http://h:0x/v1", "http://user:pw@h/v1", "http://h/\n"],
)
def test_a_broken_base_url_is_refused_by_the_config(base_url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        config(base_url=base_url)
    assert [problem["loc"] for problem in caught.value.errors()] == [("base_url",)]


@pytest.mark.parametrize("headers", [{"x-a": "b\n"}, {"x a": "b"}, {"x\r\n": "b"}, {"x-a": "é"}, {"": "b"}])
def test_broken_headers_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="extra_headers"):
        model(ScriptedProvider({}), extra_headers=headers)


def test_a_broken_header_name_is_refused_by_the_config() -> None:
    with pytest.raises(ValidationError):
        config(auth="api key")


def test_secrets_are_known_and_not_shown() -> None:
    made = model(ScriptedProvider({}), extra_headers={"X-Gateway-Token": "Basic gateway-canary", "x-team": "red"})
    assert set(made.secrets) == {KEY, "Basic gateway-canary", "gateway-canary"}
    shown = repr(made) + str(made) + repr(config(extra_headers={"X-Gateway-Token": "gateway-canary"}))
    assert "canary" not in shown
