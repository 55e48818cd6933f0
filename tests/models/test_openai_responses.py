"""The Responses API: what is sent, and what every kind of answer becomes."""

from __future__ import annotations

from typing import Any

import pytest
from models.provider_shapes import ScriptedProvider

from agentbatch.errors import BadRequest, BadResponse, ConfigError, ContentFilter, RateLimited, ServerFault, StepError
from agentbatch.messages import ChatRequest, ChatResponse, Message, ToolCall, ToolSpec, Usage
from agentbatch.models.openai_responses import OpenAIResponsesConfig, OpenAIResponsesModel

KEY = "sk-canary-0123456789"
ASK = ChatRequest((Message("system", "Be brief."), Message("user", "Hello")))
TOOL = ToolSpec("look", "Looks.", {"type": "object", "properties": {}})


def model(provider: ScriptedProvider, environ: dict[str, str] | None = None, **fields: Any) -> OpenAIResponsesModel:
    config = OpenAIResponsesConfig(**{"provider": "openai-responses", "model": "gpt-x", "api_key": KEY, **fields})
    return OpenAIResponsesModel(config, provider.transport(), environ or {})


def message(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": list(parts)}


def words(text: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


def call(call_id: Any = "c1", name: Any = "look", arguments: Any = "{}") -> dict[str, Any]:
    return {"type": "function_call", "id": "fc_1", "call_id": call_id, "name": name, "arguments": arguments}


def answer(*output: Any, **fields: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "status": "completed", "model": "gpt-x-1", "error": None} | {
        "output": list(output),
        **fields,
    }


async def ask(body: Any, request: ChatRequest = ASK, **headers: str) -> ChatResponse:
    return await model(ScriptedProvider(body, headers=headers)).chat(request)


async def refused(body: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        await ask(body)
    return caught.value


async def test_a_request() -> None:
    provider = ScriptedProvider(answer(message(words("hi"))))
    params = {"temperature": 0.2, "max_output_tokens": 9}
    await model(provider).chat(ChatRequest(ASK.messages, params, traceparent="00-ab-cd-01"))
    sent = provider.requests[0]
    assert (sent.method, str(sent.url)) == ("POST", "https://api.openai.com/v1/responses")
    assert (sent.headers["authorization"], sent.headers["traceparent"]) == (f"Bearer {KEY}", "00-ab-cd-01")
    assert provider.sent == {
        "model": "gpt-x",
        "input": [{"role": "user", "content": "Hello"}],
        "instructions": "Be brief.",
        "store": False,
        **params,
    }


async def test_encrypted_reasoning_is_asked_for_where_the_model_reasons_and_nothing_is_kept() -> None:
    provider = ScriptedProvider(answer(message(words("hi"))))
    await model(provider).chat(ChatRequest(ASK.messages, {"reasoning": {"effort": "low"}}))
    assert provider.sent["include"] == ["reasoning.encrypted_content"]
    await model(provider, store=True).chat(ChatRequest(ASK.messages, {"reasoning": {"effort": "low"}}))
    assert "include" not in provider.sent and provider.sent["store"] is True


async def test_tools_and_choices() -> None:
    provider = ScriptedProvider(answer(message(words("hi"))))
    asked = model(provider)
    await asked.chat(ChatRequest(ASK.messages, tools=(TOOL,), tool_choice="required", parallel_tool_calls=False))
    assert provider.sent["tools"] == [
        {
            "type": "function",
            "name": "look",
            "description": "Looks.",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        }
    ]
    assert (provider.sent["tool_choice"], provider.sent["parallel_tool_calls"]) == ("required", False)
    await asked.chat(ChatRequest(ASK.messages, tools=(TOOL,), tool_choice="look"))
    assert provider.sent["tool_choice"] == {"type": "function", "name": "look"}


async def test_a_conversation_with_tools() -> None:
    provider = ScriptedProvider(answer(message(words("hi"))))
    turns = (
        Message("user", "Look"),
        Message("assistant", "Well.", (ToolCall("c1", "look", '{"at": 1}'),)),
        Message("tool", "seen", tool_call_id="c1"),
        Message("assistant", "Done."),
        Message("user", "Again"),
    )
    await model(provider).chat(ChatRequest(turns))
    assert provider.sent["input"] == [
        {"role": "user", "content": "Look"},
        {"role": "assistant", "content": "Well."},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": 1}'},
        {"type": "function_call_output", "call_id": "c1", "output": "seen"},
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "Again"},
    ]


async def test_schemas() -> None:
    provider = ScriptedProvider(answer(message(words("{}"))))
    closed = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    await model(provider).chat(ChatRequest(ASK.messages, {"text": {"verbosity": "low"}}, output_schema=closed))
    assert provider.sent["text"] == {
        "verbosity": "low",
        "format": {
            "type": "json_schema",
            "name": "output",
            "schema": {**closed, "additionalProperties": False},
            "strict": True,
        },
    }
    await model(provider).chat(ChatRequest(ASK.messages, output_schema={"type": "array"}))
    assert provider.sent["text"]["format"]["strict"] is False


async def test_streams_are_refused_before_they_are_paid_for() -> None:
    provider = ScriptedProvider(answer())
    with pytest.raises(BadRequest, match=r"params\.stream"):
        await model(provider).chat(ChatRequest(ASK.messages, {"stream": True}))
    assert not provider.requests


def test_keys() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        model(ScriptedProvider({}), api_key=None)
    assert model(ScriptedProvider({}), {"OPENAI_API_KEY": "sk-other"}, api_key=None).secrets == ("sk-other",)
    keyless = model(ScriptedProvider({}), {"OPENAI_API_KEY": "sk-other"}, api_key=None, base_url="http://127.0.0.1/v1")
    assert keyless.secrets == ()


async def test_an_answer() -> None:
    usage = {
        "input_tokens": 12,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 5},
    }
    came = answer({"type": "reasoning", "summary": []}, message(words("h"), words("i")), usage=usage)
    response = await ask(came, **{"X-Request-ID": "req_1"})
    assert (response.text, response.finish_reason, response.model) == ("hi", "stop", "gpt-x-1")
    assert response.usage == Usage(12, 7, 1, cached_tokens=4, reasoning_tokens=5)
    assert (response.request_id, response.provider_data) == ("req_1", None)


async def test_reasoning_goes_back_with_its_calls_and_without_the_servers_ids() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "xyz"}
    provider = ScriptedProvider(answer(thought, call(), call(call_id="c1")), answer(message(words("hi"))))
    asked = model(provider)
    turn = (await asked.chat(ASK)).as_message()
    first, second = turn.tool_calls
    await asked.chat(ChatRequest((*ASK.messages, turn, Message("tool", "seen", tool_call_id=first.id))))
    plain = {"type": "function_call", "name": "look", "arguments": "{}"}
    assert provider.sent["input"][1:] == [
        {"type": "reasoning", "summary": [], "encrypted_content": "xyz"},
        {**plain, "call_id": first.id},
        {**plain, "call_id": second.id},
        {"type": "function_call_output", "call_id": first.id, "output": "seen"},
    ]
    assert first.id != second.id


async def test_reasoning_that_is_not_encrypted_stays_here() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    response = await ask(answer(thought, call()))
    assert response.provider_data is None and response.tool_calls == (ToolCall("c1", "look", "{}"),)
    assert response.finish_reason == "tool_calls"


async def test_the_limit() -> None:
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert (await ask(answer(message(words("half")), **cut))).finish_reason == "length"
    error = await refused(answer({"type": "reasoning"}, **cut))
    assert isinstance(error, BadResponse) and not error.retryable and "max_tokens" in error.message


@pytest.mark.parametrize(
    "body",
    [
        answer(message({"type": "refusal", "refusal": "I can't."})),
        answer(message(words("half")), status="incomplete", incomplete_details={"reason": "content_filter"}),
    ],
)
async def test_filters_and_refusals(body: Any) -> None:
    assert type(await refused(body)) is ContentFilter


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, BadResponse),
        ({"output": None}, BadResponse),
        ({"output": {}}, BadResponse),
        (b"<html>", BadResponse),
        (answer(call(name=None)), BadResponse),
        (answer(None, 3, message(None, 4)), BadResponse),  # type: ignore[arg-type]
        (answer(status="failed", error={"code": "server_error", "message": "x"}), ServerFault),
        (answer(status="failed", error={"code": "rate_limit_exceeded", "message": "x"}), RateLimited),
        ({"error": {"message": "backend gone"}}, BadResponse),
        (answer(message(words("half")), status="in_progress"), BadResponse),
        (answer(message(words("half")), status="cancelled"), BadResponse),
    ],
)
async def test_what_is_no_answer(body: Any, kind: type[StepError]) -> None:
    assert isinstance(await refused(body), kind)


async def test_refusals_carry_what_the_server_said() -> None:
    provider = ScriptedProvider({"error": {"message": "slow down"}}, status=429, headers={"retry-after": "7"})
    with pytest.raises(RateLimited, match="slow down") as caught:
        await model(provider).chat(ASK)
    assert caught.value.retry_after == 7
