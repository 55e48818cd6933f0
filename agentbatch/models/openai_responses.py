"""The provider `openai-responses`: OpenAI's Responses API, of OpenAI and of servers that speak it.

Nothing is kept on the server: each request carries the whole conversation, and the model's reasoning in encrypted form.
Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import orjson

from agentbatch.errors import BadResponse, StepError
from agentbatch.messages import Attachment, ChatRequest, ChatResponse, Message, ToolCall, ToolSpec, Usage
from agentbatch.models.content_parts import NO_FILES, Files, content_of, data_uri
from agentbatch.models.credentials import BaseUrl
from agentbatch.models.http_api import Dialect, HttpApi
from agentbatch.models.http_model import HttpModel
from agentbatch.models.json_answer import count, empty_answer, mapping, sequence, text, tool_calls
from agentbatch.models.openai_responses_stream import ResponseAssembly
from agentbatch.models.openai_server import (
    KEY_VARIABLE,
    OPENAI_URL,
    TOOL_CHOICES,
    OpenAIServerConfig,
    arguments_of,
    declined_answer,
    output_format,
)
from agentbatch.models.refusals import refusal_amid, refusal_inside, request_id_of
from agentbatch.models.request_body import EncodedOnce, encode_body
from agentbatch.transports.base import HttpResponse, HttpTransport

_UNFINISHED = ("queued", "in_progress", "cancelled")
_ENCRYPTED = "reasoning.encrypted_content"


class OpenAIResponsesConfig(OpenAIServerConfig):
    """OpenAI's Responses API. With `reasoning` among its params a model keeps its thoughts from one tool call to the
    next: they come encrypted and are handed back."""

    provider: Literal["openai-responses"]
    base_url: BaseUrl = OPENAI_URL
    """Where the API begins; `/responses` is added."""
    store: bool = False
    """Whether the server may keep requests and answers."""


class OpenAIResponsesModel(HttpModel):
    """The `Model` of an `OpenAIResponsesConfig`; `transport` and `environ` as of `HttpApi`.

    Raises:
        ConfigError: a key is missing, or can't be sent.
    """

    def __init__(
        self, config: OpenAIResponsesConfig, transport: HttpTransport, environ: Mapping[str, str] | None = None
    ) -> None:
        self._store = config.store
        api = HttpApi(config, transport, environ, _DIALECT, "/responses", query=config.query)
        super().__init__(config.model, api)
        self._tools = EncodedOnce(_tools)
        self._format = EncodedOnce(_format)

    def encode(self, request: ChatRequest, files: Files = NO_FILES) -> bytes:
        body: dict[str, Any] = {
            "model": self.name,
            "input": [item for message in request.messages for item in _items(message, files)],
            "store": self._store,
        }
        if self.api.streams:
            body["stream"] = True
        if "reasoning" in request.params and not self._store:
            body["include"] = [_ENCRYPTED]  # a model that does not reason would refuse it
        instructions = [one.content for one in request.messages if one.role == "system" and one.content]
        if instructions:
            body["instructions"] = "\n\n".join(instructions)
        body.update(request.params)
        if request.tools:
            body["tools"] = self._tools(request.tools)
            if request.tool_choice is not None:
                body["tool_choice"] = _tool_choice(request.tool_choice)
            if request.parallel_tool_calls is not None:
                body["parallel_tool_calls"] = request.parallel_tool_calls
        if request.output_schema is not None:
            body["text"] = {"format": self._format(request.output_schema), **mapping(body.get("text"))}
        return encode_body(body)


def _items(message: Message, files: Files) -> Iterator[dict[str, Any]]:
    """The input items of one turn; system messages are the request's instructions."""
    if message.role == "tool":
        yield {"type": "function_call_output", "call_id": message.tool_call_id, "output": message.content}
    elif message.role == "assistant" and message.provider_data:
        yield from message.provider_data
    elif message.role != "system":
        if message.content or not message.tool_calls:
            yield {"role": message.role, "content": content_of(message, lambda part: _part(part, files))}
        for call in message.tool_calls:
            yield _sent_call(call)


def _part(part: str | Attachment, files: Files) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "input_text", "text": part}
    if part.kind == "image":
        return {"type": "input_image", "image_url": data_uri(part, files)}
    if part.url is not None:
        return {"type": "input_file", "file_url": part.url}
    return {"type": "input_file", "filename": part.name, "file_data": data_uri(part, files)}


def _sent_call(call: ToolCall) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments or "{}"}


def _tools(tools: tuple[ToolSpec, ...]) -> list[dict[str, Any]]:
    # This API holds tools to strict schemas unless told otherwise; a tool's schema may be any.
    return [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
            "strict": False,
        }
        for tool in tools
    ]


def _tool_choice(choice: str) -> Any:
    return choice if choice in TOOL_CHOICES else {"type": "function", "name": choice}


def _format(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", **output_format(schema)}


def understand(answer: Mapping[str, Any], response: HttpResponse) -> ChatResponse:
    """The answer whose JSON came in `response`, at once or in pieces.

    Raises:
        BadResponse: it is none.
        ContentFilter: it was filtered, or the model declined.
        StepError: it is an error in disguise.
    """
    if answer.get("status") == "failed" and answer.get("error"):
        raise _failed(answer, response)
    if not isinstance(answer.get("output"), list):
        raise refusal_inside(answer, response, "output")
    items = [mapping(item) for item in sequence(answer["output"])]
    request_id = request_id_of(response.headers)
    reason = text(mapping(answer.get("incomplete_details")).get("reason"))
    parts = [mapping(part) for item in items if item.get("type") == "message" for part in sequence(item.get("content"))]
    declined = "".join(text(part.get("refusal")) for part in parts)
    if declined or reason == "content_filter":
        raise declined_answer(declined, response, request_id)
    content = "".join(text(part.get("text")) for part in parts if part.get("type") == "output_text")
    asked = [item for item in items if item.get("type") == "function_call"]
    calls = tool_calls((one.get("call_id"), one.get("name"), arguments_of(one.get("arguments"))) for one in asked)
    at_limit = reason == "max_output_tokens"
    status = text(answer.get("status"))
    if status in _UNFINISHED:
        words = f"the answer is unfinished: its status is {status}"
        raise BadResponse(words, http_status=response.status, request_id=request_id)
    if not content and not calls:
        raise empty_answer(reason or status, at_limit, response.status, request_id)
    return ChatResponse(
        text=content,
        tool_calls=calls,
        finish_reason="tool_calls" if calls else "length" if at_limit else "stop",
        usage=usage_of(answer),
        model=text(answer.get("model")),
        request_id=request_id,
        headers=response.headers,
        provider_data=_wanted_back(items, calls),
    )


def _failed(answer: Mapping[str, Any], response: HttpResponse) -> StepError:
    """A 200 that says the model failed after it had begun."""
    return refusal_amid(answer, orjson.dumps(answer), response.headers, "the model failed amid its answer")


def _wanted_back(items: list[Mapping[str, Any]], calls: tuple[ToolCall, ...]) -> tuple[dict[str, Any], ...] | None:
    """Reasoning goes back with the calls that followed from it, in order; behind a finished answer nobody needs it.

    An item's `id` names what the server keeps, and it keeps nothing: encrypted reasoning stands for itself, and what is
    not encrypted can't be sent back.
    """
    sealed = [item for item in items if item.get("type") == "reasoning" and item.get("encrypted_content")]
    if not sealed or not calls:
        return None
    ids = iter([call.id for call in calls])
    wanted: list[dict[str, Any]] = []
    for item in items:
        kept = {key: value for key, value in item.items() if key not in ("id", "status")}
        if item.get("type") == "function_call":
            wanted.append({**kept, "call_id": next(ids)})
        elif item.get("type") == "message" or item in sealed:
            wanted.append(kept)
    return tuple(wanted)


def usage_of(answer: Mapping[str, Any]) -> Usage:
    """What an answer says it used."""
    counts = mapping(answer.get("usage"))
    return Usage(
        input_tokens=count(counts.get("input_tokens")),
        output_tokens=count(counts.get("output_tokens")),
        requests=1,
        cached_tokens=count(mapping(counts.get("input_tokens_details")).get("cached_tokens")),
        reasoning_tokens=count(mapping(counts.get("output_tokens_details")).get("reasoning_tokens")),
    )


_DIALECT = Dialect("openai", OPENAI_URL, KEY_VARIABLE, understand, usage_of, ResponseAssembly)
