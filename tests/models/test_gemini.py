"""The Gemini dialect: what is sent, and what every kind of answer becomes."""

from __future__ import annotations

from typing import Any

import pytest
from models.provider_shapes import ScriptedProvider

from agentbatch.errors import AuthFault, BadRequest, BadResponse, ConfigError, ContentFilter, RateLimited, StepError
from agentbatch.messages import ChatRequest, ChatResponse, Message, ToolCall, ToolSpec, Usage
from agentbatch.models.gemini import GeminiConfig, GeminiModel

KEY = "AIza-canary-0123456789"
ASK = ChatRequest((Message("system", "Be brief."), Message("user", "Hello")))
SCHEMA = {"type": "object", "properties": {"at": {"type": "integer"}}}
LOOK = ToolSpec("look", "Looks.", SCHEMA)


def model(provider: ScriptedProvider, environ: dict[str, str] | None = None, **fields: Any) -> GeminiModel:
    config = GeminiConfig(**{"provider": "gemini", "model": "gemini-x", "api_key": KEY, **fields})
    return GeminiModel(config, provider.transport(), environ or {})


def answer(*parts: Any, finish: Any = "STOP", **fields: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": finish, "index": 0}
    return {"candidates": [candidate], "modelVersion": "gemini-x-1", "responseId": "r1", **fields}


def call(name: Any = "look", **fields: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, **fields}}


HI = answer({"text": "hi"})


async def ask(body: Any, request: ChatRequest = ASK) -> ChatResponse:
    return await model(ScriptedProvider(body)).chat(request)


async def refused(body: Any, status: int = 200) -> StepError:
    with pytest.raises(StepError) as caught:
        await model(ScriptedProvider(body, status=status)).chat(ASK)
    return caught.value


async def test_a_request() -> None:
    provider = ScriptedProvider(HI)
    params = {"temperature": 0.2, "safetySettings": [], "generationConfig": {"topK": 3, "temperature": 1}}
    await model(provider).chat(ChatRequest(ASK.messages, params, traceparent="00-ab-cd-01"))
    sent = provider.requests[0]
    assert str(sent.url) == "https://generativelanguage.googleapis.com/v1beta/models/gemini-x:generateContent"
    assert (sent.headers["x-goog-api-key"], sent.headers["traceparent"]) == (KEY, "00-ab-cd-01")
    assert KEY not in str(sent.url) and "authorization" not in sent.headers
    assert provider.sent == {
        "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {"topK": 3, "temperature": 0.2},
        "safetySettings": [],
    }


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"base_url": "http://h/v1beta/"}, "http://h/v1beta/models/gemini-x:generateContent"),
        ({"base_url": "http://h/v1beta/models"}, "http://h/v1beta/models/gemini-x:generateContent"),
        ({"base_url": "http://h", "model": "models/g"}, "http://h/models/g:generateContent"),
        ({"base_url": "http://h", "model": "../g?x"}, "http://h/models/..%2Fg%3Fx:generateContent"),
    ],
)
async def test_where_it_is_sent(fields: dict[str, str], url: str) -> None:
    provider = ScriptedProvider(HI)
    await model(provider, **fields).chat(ASK)
    assert str(provider.requests[0].url) == url


async def test_tools_and_choices() -> None:
    provider = ScriptedProvider(HI)
    bare = ToolSpec("now", "The time.", {"type": "object", "properties": {}})
    await model(provider).chat(ChatRequest(ASK.messages, tools=(LOOK, bare)))
    assert provider.sent["tools"] == [
        {
            "functionDeclarations": [
                {"name": "look", "description": "Looks.", "parametersJsonSchema": SCHEMA},
                {"name": "now", "description": "The time."},
            ]
        }
    ]
    assert "toolConfig" not in provider.sent


@pytest.mark.parametrize(
    ("choice", "calling"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ("look", {"mode": "ANY", "allowedFunctionNames": ["look"]}),
    ],
)
async def test_tool_choices(choice: str, calling: dict[str, Any]) -> None:
    provider = ScriptedProvider(HI)
    await model(provider).chat(ChatRequest(ASK.messages, tools=(LOOK,), tool_choice=choice))
    assert provider.sent["toolConfig"] == {"functionCallingConfig": calling}


async def test_a_conversation_with_tools() -> None:
    provider = ScriptedProvider(HI)
    turns = (
        Message("user", "Look"),
        Message("assistant", "", (ToolCall("c1", "look", '{"at": 1}'), ToolCall("c2", "now", "{broken"))),
        Message("tool", "seen", tool_call_id="c1"),
        Message("tool", "noon", tool_call_id="c2"),
    )
    await model(provider).chat(ChatRequest(turns))
    assert provider.sent["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"id": "c1", "name": "look", "args": {"at": 1}}},
                {"functionCall": {"id": "c2", "name": "now", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "c1", "name": "look", "response": {"result": "seen"}}},
                {"functionResponse": {"id": "c2", "name": "now", "response": {"result": "noon"}}},
            ],
        },
    ]


async def test_schemas() -> None:
    provider = ScriptedProvider(HI)
    await model(provider).chat(ChatRequest(ASK.messages, output_schema=SCHEMA))
    assert provider.sent["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    }
    await model(provider).chat(ChatRequest(ASK.messages, {"responseSchema": {}}, output_schema=SCHEMA))
    assert provider.sent["generationConfig"] == {"responseSchema": {}}


async def test_streams_are_refused_before_they_are_paid_for() -> None:
    provider = ScriptedProvider(HI)
    with pytest.raises(BadRequest, match=r"params\.stream"):
        await model(provider).chat(ChatRequest(ASK.messages, {"stream": True}))
    assert not provider.requests


def test_keys() -> None:
    with pytest.raises(ConfigError, match="GEMINI_API_KEY"):
        model(ScriptedProvider({}), api_key=None)
    assert model(ScriptedProvider({}), {"GEMINI_API_KEY": "AIza-other"}, api_key=None).secrets == ("AIza-other",)
    keyless = model(ScriptedProvider({}), {"GEMINI_API_KEY": "AIza-other"}, api_key=None, base_url="http://127.0.0.1")
    assert keyless.secrets == ()


async def test_an_answer() -> None:
    usage = {
        "promptTokenCount": 12,
        "toolUsePromptTokenCount": 3,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 5,
        "cachedContentTokenCount": 4,
        "totalTokenCount": 27,
    }
    parts = ({"text": "Hm.", "thought": True}, {"text": "h"}, {"text": "i"}, {"executableCode": {}})
    response = await ask(answer(*parts, usageMetadata=usage))
    assert (response.text, response.finish_reason, response.model) == ("hi", "stop", "gemini-x-1")
    assert response.usage == Usage(15, 12, 1, cached_tokens=4, reasoning_tokens=5)
    assert (response.request_id, response.provider_data) == ("r1", None)


async def test_calls_without_ids_are_given_some() -> None:
    response = await ask(answer(call(args={"at": 1}), call(), call(id="own", args=None)))
    assert [one.arguments for one in response.tool_calls] == ['{"at":1}', "{}", "{}"]
    assert len({one.id for one in response.tool_calls}) == 3 and response.tool_calls[2].id == "own"
    assert response.finish_reason == "tool_calls"


async def test_thought_signatures_go_back_on_the_parts_they_came_with() -> None:
    signed = {**call(args={"at": 1}), "thoughtSignature": "sig"}
    provider = ScriptedProvider(answer({"text": "Hm.", "thought": True}, {"text": "Well."}, signed, call()), HI)
    asked = model(provider)
    turn = (await asked.chat(ASK)).as_message()
    first, second = turn.tool_calls
    await asked.chat(ChatRequest((*ASK.messages, turn, Message("tool", "seen", tool_call_id=first.id))))
    assert provider.sent["contents"][1] == {
        "role": "model",
        "parts": [
            {"text": "Well."},
            {"functionCall": {"id": first.id, "name": "look", "args": {"at": 1}}, "thoughtSignature": "sig"},
            {"functionCall": {"id": second.id, "name": "look"}},
        ],
    }
    assert provider.sent["contents"][2]["parts"][0]["functionResponse"]["id"] == first.id


async def test_the_limit() -> None:
    assert (await ask(answer({"text": "half"}, finish="MAX_TOKENS"))).finish_reason == "length"
    error = await refused(answer(finish="MAX_TOKENS"))
    assert isinstance(error, BadResponse) and not error.retryable and "max_tokens" in error.message


@pytest.mark.parametrize("reason", ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"])
async def test_blocked_answers(reason: str) -> None:
    error = await refused(answer({"text": "half"}, finish=reason, usageMetadata={}))
    assert type(error) is ContentFilter and reason in error.message


async def test_a_blocked_prompt() -> None:
    error = await refused({"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "No."}})
    assert type(error) is ContentFilter and "prompt was blocked (SAFETY): No." in error.message


@pytest.mark.parametrize(
    ("body", "retryable"),
    [
        ({}, True),
        ({"candidates": []}, True),
        ({"candidates": {}}, True),
        (b"<html>", True),
        ({"promptFeedback": {}}, True),
        (answer({"text": "x"}, finish="MALFORMED_FUNCTION_CALL"), True),
        (answer(finish="OTHER"), True),
        (answer(call(name=None)), True),
        (answer(), False),
        ({"candidates": [None]}, False),
        (answer({"text": "Hm.", "thought": True}), False),
    ],
)
async def test_what_is_no_answer(body: Any, retryable: bool) -> None:
    error = await refused(body)
    assert isinstance(error, BadResponse) and error.retryable is retryable


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (429, {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED"}, RateLimited),
        (
            400,
            {"code": 400, "message": "API key not valid. Pass a valid one.", "status": "INVALID_ARGUMENT"},
            AuthFault,
        ),
        (400, {"code": 400, "message": "Unknown name", "status": "INVALID_ARGUMENT"}, BadRequest),
    ],
)
async def test_refusals(status: int, error: dict[str, Any], kind: type[StepError]) -> None:
    assert type(await refused({"error": error}, status)) is kind


@pytest.mark.parametrize(
    ("details", "seconds"),
    [
        ([{"@type": "x"}, {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}], 34.5),
        ([{"retryDelay": "soon"}, None, {"retryDelay": 3}], None),
        ([{"retryDelay": "-3s"}], None),
        ({"retryDelay": "3s"}, None),
        (None, None),
    ],
)
async def test_how_long_to_wait_stands_in_the_body(details: Any, seconds: float | None) -> None:
    error = await refused({"error": {"code": 429, "message": "x", "details": details}}, 429)
    assert error.retry_after == seconds


def test_its_name_in_traces() -> None:
    assert model(ScriptedProvider({})).provider == "gcp.gemini"
