"""The provider `openai`: the Chat Completions API, of OpenAI and of every server that speaks it.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import orjson

from agentbatch.batches.config import ProviderBatchConfig
from agentbatch.errors import BadRequest
from agentbatch.messages import Attachment, ChatRequest, ChatResponse, Message, ToolCall, ToolSpec, Usage
from agentbatch.models.content_parts import NO_FILES, Files, content_of, data_uri
from agentbatch.models.credentials import BaseUrl
from agentbatch.models.http_api import Dialect, HttpApi
from agentbatch.models.http_model import HttpModel
from agentbatch.models.json_answer import count, empty_answer, mapping, sequence, text, tool_calls
from agentbatch.models.openai_server import (
    KEY_VARIABLE,
    OPENAI_URL,
    TOOL_CHOICES,
    OpenAIServerConfig,
    arguments_of,
    declined_answer,
    output_format,
)
from agentbatch.models.openai_stream import CompletionAssembly
from agentbatch.models.refusals import refusal_inside, request_id_of
from agentbatch.models.request_body import EncodedOnce, encode_body
from agentbatch.transports.base import HttpResponse, HttpTransport

_WANTED_BACK = ("reasoning_content", "reasoning_details")


class OpenAIConfig(OpenAIServerConfig):
    """Any server with an OpenAI-compatible API: OpenAI, Azure, vLLM, Ollama, LiteLLM, llama.cpp, OpenRouter, ..."""

    provider: Literal["openai"]
    base_url: BaseUrl = OPENAI_URL
    """Where the API begins; `/chat/completions` is added. For Azure the URL of the deployment."""
    provider_batch: bool | ProviderBatchConfig = False
    """Send requests through the provider's batch API, for half the price: answers take minutes to a day."""


class OpenAIModel(HttpModel):
    """The `Model` of an `OpenAIConfig`; `transport` and `environ` as of `HttpApi`.

    Raises:
        ConfigError: a key is missing, or can't be sent.
    """

    def __init__(
        self, config: OpenAIConfig, transport: HttpTransport, environ: Mapping[str, str] | None = None
    ) -> None:
        api = HttpApi(config, transport, environ, _DIALECT, "/chat/completions", query=config.query)
        super().__init__(config.model, api)
        self._tools = EncodedOnce(_tools)
        self._format = EncodedOnce(_response_format)

    def encode(self, request: ChatRequest, files: Files = NO_FILES) -> bytes:
        body: dict[str, Any] = {"model": self.name, "messages": [_message(one, files) for one in request.messages]}
        if self.api.streams:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        body.update(request.params)
        if request.tools:
            body["tools"] = self._tools(request.tools)
            if request.tool_choice is not None:
                body["tool_choice"] = _tool_choice(request.tool_choice)
            if request.parallel_tool_calls is not None:
                body["parallel_tool_calls"] = request.parallel_tool_calls
        if request.output_schema is not None and "response_format" not in request.params:
            body["response_format"] = self._format(request.output_schema)
        return encode_body(body)


def _message(message: Message, files: Files) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content}
    if not message.tool_calls:
        return {"role": message.role, "content": content_of(message, lambda part: _part(part, files))}
    # Reasoning goes back only where the model is amid its tool calls: there DeepSeek and others demand it, while in
    # finished turns some refuse it.
    return {
        "role": message.role,
        "content": message.content or None,
        "tool_calls": [_sent_call(call) for call in message.tool_calls],
        **(message.provider_data or {}),
    }


def _part(part: str | Attachment, files: Files) -> dict[str, Any]:
    """Source: https://platform.openai.com/docs/guides/images-vision and /pdf-files"""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if part.kind == "image":
        return {"type": "image_url", "image_url": {"url": data_uri(part, files)}}
    if part.url is not None:
        raise BadRequest("chat completions take no URLs of files: give a path, or use provider openai-responses")
    return {"type": "file", "file": {"filename": part.name, "file_data": data_uri(part, files)}}


def _sent_call(call: ToolCall) -> dict[str, Any]:
    """Arguments that are no JSON object go back as an empty one: several servers parse them, and would fail."""
    try:
        sound = isinstance(orjson.loads(call.arguments), dict)
    except ValueError:
        sound = False
    arguments = call.arguments if sound else "{}"
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _tools(tools: tuple[ToolSpec, ...]) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in tools
    ]


def _tool_choice(choice: str) -> Any:
    return choice if choice in TOOL_CHOICES else {"type": "function", "function": {"name": choice}}


def _response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": output_format(schema)}


def understand(answer: Mapping[str, Any], response: HttpResponse) -> ChatResponse:
    """The answer whose JSON came in `response`, at once or in pieces.

    Raises:
        BadResponse: it is none.
        ContentFilter: it was filtered, or the model declined.
        StepError: it is an error in disguise.
    """
    choices = sequence(answer.get("choices"))
    if not choices or not isinstance(choices[0], dict):
        raise refusal_inside(answer, response, "choices")
    choice = mapping(choices[0])
    message = mapping(choice.get("message"))
    content = _content(message.get("content"))
    calls = _calls(message)
    finish = text(choice.get("finish_reason"))
    request_id = request_id_of(response.headers)
    declined = text(message.get("refusal"))
    if declined or finish in ("content_filter", "refusal"):
        raise declined_answer(declined, response, request_id)
    if not content and not calls:
        raise empty_answer(finish, finish == "length", response.status, request_id)
    return ChatResponse(
        text=content,
        tool_calls=calls,
        finish_reason="tool_calls" if calls else "length" if finish in ("length", "max_tokens") else "stop",
        usage=usage_of(answer),
        model=text(answer.get("model")),
        request_id=request_id,
        headers=response.headers,
        provider_data={key: message[key] for key in _WANTED_BACK if message.get(key)} or None,
    )


def _content(content: Any) -> str:
    """Text, or the texts of a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(text(mapping(part).get("text")) for part in sequence(content))


def _calls(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    asked = message.get("tool_calls")
    if not asked:
        return ()
    functions = [(one.get("id"), mapping(one.get("function"))) for one in map(mapping, sequence(asked))]
    return tool_calls((call_id, one.get("name"), arguments_of(one.get("arguments"))) for call_id, one in functions)


def usage_of(answer: Mapping[str, Any]) -> Usage:
    """What an answer says it used."""
    counts = mapping(answer.get("usage"))
    return Usage(
        input_tokens=count(counts.get("prompt_tokens")),
        output_tokens=count(counts.get("completion_tokens")),
        requests=1,
        cached_tokens=count(mapping(counts.get("prompt_tokens_details")).get("cached_tokens")),
        reasoning_tokens=count(mapping(counts.get("completion_tokens_details")).get("reasoning_tokens")),
    )


_DIALECT = Dialect("openai", OPENAI_URL, KEY_VARIABLE, understand, usage_of, CompletionAssembly)
