"""What all providers share: what a bad answer used is known, headers and queries go along, keys are looked after."""

from __future__ import annotations

from typing import Any

import pytest
from models.provider_shapes import ScriptedProvider

from agentbatch import models
from agentbatch.errors import BadResponse, ConfigError, ContentFilter, StepError
from agentbatch.messages import ChatRequest, Message, Usage

ASK = ChatRequest((Message("user", "Hello"),))
CHAT_USAGE = {"prompt_tokens": 9, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 4}}
USAGE = {"input_tokens": 9, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 4}}
CLAUDE_USAGE = {"input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": 4}
GEMINI_USAGE = {"promptTokenCount": 9, "candidatesTokenCount": 7, "cachedContentTokenCount": 4}

FILTERED: dict[str, dict[str, Any]] = {
    "openai": {"choices": [{"message": {"content": "x"}, "finish_reason": "content_filter"}], "usage": CHAT_USAGE},
    "openai-responses": {
        "status": "incomplete",
        "incomplete_details": {"reason": "content_filter"},
        "output": [],
        "usage": USAGE,
    },
    "anthropic": {"content": [], "stop_reason": "refusal", "usage": CLAUDE_USAGE},
    "gemini": {"candidates": [{"finishReason": "SAFETY"}], "usageMetadata": GEMINI_USAGE},
}
EMPTY: dict[str, dict[str, Any]] = {
    "openai": {"choices": [{"message": {"content": ""}, "finish_reason": "length"}], "usage": CHAT_USAGE},
    "openai-responses": {"status": "completed", "output": [], "usage": USAGE},
    "anthropic": {"content": [], "stop_reason": "max_tokens", "usage": CLAUDE_USAGE},
    "gemini": {"candidates": [{"finishReason": "MAX_TOKENS"}], "usageMetadata": GEMINI_USAGE},
}
PROVIDERS = list(FILTERED)


def model(provider: str, server: ScriptedProvider, **fields: Any) -> Any:
    config = models.config_class(provider)(
        **{
            "provider": provider,
            "model": "m",
            "base_url": "http://127.0.0.1:9/v1",
            "api_key": "a-key-of-tests",
            **fields,
        }
    )
    return models.model_class(provider)(config, server.transport(), {})


async def refused(provider: str, body: Any, status: int = 200) -> StepError:
    with pytest.raises(StepError) as caught:
        await model(provider, ScriptedProvider(body, status=status)).chat(ASK)
    return caught.value


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_what_a_filtered_answer_used_is_known(provider: str):
    error = await refused(provider, FILTERED[provider])
    assert type(error) is ContentFilter
    assert error.usage == Usage(9, 7, 1, cached_tokens=4)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_what_an_empty_answer_used_is_known(provider: str):
    error = await refused(provider, EMPTY[provider])
    assert type(error) is BadResponse
    assert error.usage == Usage(9, 7, 1, cached_tokens=4)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_request_that_was_declined_used_nothing(provider: str):
    assert (await refused(provider, {"error": {"message": "no"}}, status=500)).usage is None
    assert (await refused(provider, {"error": {"message": "no"}})).usage is None
    assert (await refused(provider, b"<html>")).usage is None


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_extra_headers_go_along_and_count_as_secrets_by_their_names(provider: str):
    server = ScriptedProvider({}, status=500)
    made = model(provider, server, extra_headers={"X-Team": "batch", "X-Gateway-Token": "token-of-tests"})
    with pytest.raises(StepError):
        await made.chat(ASK)
    sent = server.requests[0].headers
    assert (sent["x-team"], sent["x-gateway-token"]) == ("batch", "token-of-tests")
    assert set(made.secrets) == {"a-key-of-tests", "token-of-tests"}


@pytest.mark.parametrize(("provider", "path"), [("openai", "/chat/completions"), ("openai-responses", "/responses")])
async def test_azures_form(provider: str, path: str):
    server = ScriptedProvider({}, status=500)
    azure = {
        "base_url": "https://x.example/openai/deployments/d",
        "auth": "api-key",
        "api_version": "2025-03-01-preview",
    }
    with pytest.raises(StepError):
        await model(provider, server, **azure).chat(ASK)
    sent = server.requests[0]
    assert str(sent.url) == f"{azure['base_url']}{path}?api-version=2025-03-01-preview"
    assert sent.headers["api-key"] == "a-key-of-tests" and "authorization" not in sent.headers


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_providers_own_server_wants_a_key(provider: str):
    kind = models.config_class(provider)
    config = kind(provider=provider, model="m")  # pyright: ignore[reportCallIssue]  # every provider's has these
    with pytest.raises(ConfigError, match="no key for https://"):
        models.model_class(provider)(config, ScriptedProvider({}).transport(), {})
