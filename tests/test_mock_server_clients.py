"""The mock server and the real clients must mean the same: each knob of the one is an error of the other."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from jsonschema import validate

from agentbatch.errors import StepError
from agentbatch.messages import ChatRequest, Message, ToolSpec
from agentbatch.mock_server import MockServer, MockServerSettings
from agentbatch.models.anthropic import AnthropicConfig, AnthropicModel
from agentbatch.models.base import Model
from agentbatch.models.mock_faults import FAULT_KINDS
from agentbatch.models.openai import OpenAIConfig, OpenAIModel
from agentbatch.transports.http import open_transport

PROVIDERS = ("openai", "anthropic")
SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "number"}, "note": {"type": "string"}},
    "required": ["score", "note"],
    "additionalProperties": False,
}
SEARCH = ToolSpec("search", "finds", {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]})
HELLO = ChatRequest((Message("user", "hello"),))


@asynccontextmanager
async def client(provider: str, **knobs: Any) -> AsyncIterator[Model]:
    async with MockServer(MockServerSettings.model_validate({"port": 0, **knobs})) as server:
        transport = open_transport()
        try:
            settings = {"provider": provider, "model": "m", "api_key": "k"}
            if provider == "openai":
                config = OpenAIConfig.model_validate({**settings, "base_url": server.base_url})
                yield OpenAIModel(config, transport)
            else:
                yield AnthropicModel(AnthropicConfig.model_validate({**settings, "base_url": server.url}), transport)
        finally:
            await transport.close()


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("kind", [kind for kind in FAULT_KINDS if kind != "timeout"])
async def test_each_fault_arrives_as_its_own_error(provider: str, kind: str):
    async with client(provider, errors={kind: 1, "retry_after": "1500ms"}, retry_after="ms") as model:
        with pytest.raises(StepError) as raised:
            await model.chat(HELLO)
    assert raised.value.type == kind
    assert raised.value.retry_after == (1.5 if kind in ("rate_limited", "overloaded") else None)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_timeout_fault_never_answers(provider: str):
    async with client(provider, errors={"timeout": 1}) as model:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await model.chat(HELLO)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("knob", "kind"), [("truncate", "bad_response"), ("disconnect", "connection")])
async def test_broken_answers_arrive_as_errors(provider: str, knob: str, kind: str):
    async with client(provider, **{knob: 1}) as model:
        with pytest.raises(StepError) as raised:
            await model.chat(HELLO)
    assert raised.value.type == kind


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_another_key_is_an_auth_error_and_the_right_one_is_not(provider: str):
    async with client(provider, require_key="other") as model:
        with pytest.raises(StepError) as raised:
            await model.chat(HELLO)
    assert raised.value.type == "auth"
    async with client(provider, require_key="k") as model:
        assert (await model.chat(HELLO)).text == "A mock answer to: hello"


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_round_of_tools(provider: str):
    calls = [{"name": "search", "arguments": {"q": "{{ prompt }}"}}]
    async with client(provider, tool_calls=calls) as model:
        first = await model.chat(ChatRequest(HELLO.messages, tools=(SEARCH,)))
        assert [call.name for call in first.tool_calls] == ["search"]
        assert first.finish_reason == "tool_calls"
        result = Message("tool", "found", tool_call_id=first.tool_calls[0].id)
        second = await model.chat(ChatRequest((*HELLO.messages, first.as_message(), result), tools=(SEARCH,)))
    assert (second.text, second.finish_reason) == ("A mock answer to: hello", "stop")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_structured_answer(provider: str):
    async with client(provider) as model:
        answer = await model.chat(ChatRequest(HELLO.messages, output_schema=SCHEMA))
    validate(json.loads(answer.text), SCHEMA)
