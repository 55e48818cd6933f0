"""The provider `anthropic`: the Messages API.

Source: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

import orjson

from agentbatch.batches.config import ProviderBatchConfig
from agentbatch.errors import BadResponse, ContentFilter
from agentbatch.messages import Attachment, ChatRequest, ChatResponse, Message, ToolCall, ToolSpec, Usage
from agentbatch.models.anthropic_stream import MessageAssembly
from agentbatch.models.base import ServedModelConfig
from agentbatch.models.content_parts import NO_FILES, Files, content_of
from agentbatch.models.credentials import ApiKey, BaseUrl, HeaderName
from agentbatch.models.http_api import Dialect, HttpApi
from agentbatch.models.http_model import HttpModel
from agentbatch.models.json_answer import count, empty_answer, mapping, sequence, text, tool_calls
from agentbatch.models.refusals import refusal_inside, request_id_of
from agentbatch.models.request_body import EncodedOnce, encode_body
from agentbatch.models.strict_schema import enforceable_schema
from agentbatch.transports.base import HttpResponse, HttpTransport

ANTHROPIC_URL = "https://api.anthropic.com"
KEY_VARIABLE = "ANTHROPIC_API_KEY"
API_VERSION = "2023-06-01"
DEFAULT_MAX_TOKENS = 4096
"""The API wants to be told; a config that has no `max_tokens` among its params gets this."""

_AT_LIMIT = ("max_tokens", "model_context_window_exceeded")
_CACHED = {"type": "ephemeral"}
"""Marks the end of what is to be cached: https://platform.claude.com/docs/en/build-with-claude/prompt-caching"""
_THINKING = ("thinking", "redacted_thinking")


class AnthropicConfig(ServedModelConfig):
    """Claude, or any server that speaks Anthropic's Messages API."""

    provider: Literal["anthropic"]
    base_url: BaseUrl = ANTHROPIC_URL
    """Where the API begins; `/v1/messages` is added."""
    api_key: ApiKey | None = None
    """Default: the variable ANTHROPIC_API_KEY, and only for Anthropic's own server."""
    auth: HeaderName = "x-api-key"
    """How the key is sent: the name of a header, or `bearer`."""
    provider_batch: bool | ProviderBatchConfig = False
    """Send requests through the provider's batch API, for half the price: answers take minutes to a day."""
    structured_outputs: bool = True
    """Whether the model can be held to an `output_schema` while it writes (Claude 4.5 and later). Otherwise it is told
    the schema in words; the answer is checked either way."""
    cache_prompt: bool = False
    """Ask for the tools and the system message to be cached: they cost a quarter more when written, and a tenth when
    read again within five minutes. Worth it where all items share a long beginning."""


class AnthropicModel(HttpModel):
    """The `Model` of an `AnthropicConfig`; `transport` and `environ` as of `HttpApi`.

    Raises:
        ConfigError: a key is missing, or can't be sent.
    """

    def __init__(
        self, config: AnthropicConfig, transport: HttpTransport, environ: Mapping[str, str] | None = None
    ) -> None:
        own = {"anthropic-version": API_VERSION}
        api = HttpApi(config, transport, environ, _DIALECT, "/v1/messages", own_headers=own)
        super().__init__(config.model, api)
        self._structured_outputs = config.structured_outputs
        self._cache_prompt = config.cache_prompt
        self._tools = EncodedOnce(_tools_to_cache if config.cache_prompt else _tools)
        self._formats: dict[int, tuple[object, dict[str, Any] | None]] = {}

    def encode(self, request: ChatRequest, files: Files = NO_FILES) -> bytes:
        system = [message.content for message in request.messages if message.role == "system" and message.content]
        body: dict[str, Any] = {
            "model": self.name,
            "max_tokens": DEFAULT_MAX_TOKENS,
            "messages": _turns(request.messages, files),
            **request.params,
        }
        if self.api.streams:
            body["stream"] = True
        if request.output_schema is not None:
            self._add_schema(request.output_schema, body, system)
        if system and "system" not in request.params:
            body["system"] = _to_cache("\n\n".join(system)) if self._cache_prompt else "\n\n".join(system)
        if request.tools:
            body["tools"] = self._tools(request.tools)
            choice = _tool_choice(request)
            if choice is not None:
                body["tool_choice"] = choice
        return encode_body(body)

    def _add_schema(self, schema: Mapping[str, Any], body: dict[str, Any], system: list[str]) -> None:
        enforced = self._enforced(schema) if self._structured_outputs else None
        if enforced is None:
            system.append(f"Answer with JSON only, fitting this JSON Schema:\n{encode_body(dict(schema)).decode()}")
        else:
            body["output_config"] = {
                "format": {"type": "json_schema", "schema": enforced},
                **mapping(body.get("output_config")),
            }

    def _enforced(self, schema: Mapping[str, Any]) -> dict[str, Any] | None:
        known = self._formats.get(id(schema))
        if known is None:
            if len(self._formats) > 64:
                self._formats.clear()
            known = self._formats[id(schema)] = (schema, enforceable_schema(schema))
        return known[1]


def _turns(messages: Iterable[Message], files: Files) -> list[dict[str, Any]]:
    """Turns of user and assistant. All results of one round of tool calls must come in one user turn."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message, files)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] = [*turns[-1]["content"], *blocks]
        else:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: Message, files: Files) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}]
    if message.provider_data:
        return list(message.provider_data)
    if message.parts:
        return content_of(message, lambda part: _part(part, files))
    blocks = [{"type": "text", "text": message.content}] if message.content or not message.tool_calls else []
    return [*blocks, *(_sent_call(call) for call in message.tool_calls)]


def _part(part: str | Attachment, files: Files) -> dict[str, Any]:
    """Source: https://platform.claude.com/docs/en/build-with-claude/vision and /pdf-support"""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if part.url is not None:
        source = {"type": "url", "url": part.url}
    else:
        source = {"type": "base64", "media_type": part.media_type, "data": files[part.digest]}
    return {"type": "image" if part.kind == "image" else "document", "source": source}


def _sent_call(call: ToolCall) -> dict[str, Any]:
    try:
        arguments: Any = orjson.loads(call.arguments)
    except ValueError:
        arguments = {}
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(mapping(arguments))}


def _tools(tools: tuple[ToolSpec, ...]) -> list[dict[str, Any]]:
    return [
        {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)} for tool in tools
    ]


def _tools_to_cache(tools: tuple[ToolSpec, ...]) -> list[dict[str, Any]]:
    """Tools come before the system message in what is cached: the mark on the last is for where there is no system."""
    *others, last = _tools(tools)
    return [*others, {**last, "cache_control": _CACHED}]


def _to_cache(system: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": system, "cache_control": _CACHED}]


def _tool_choice(request: ChatRequest) -> dict[str, Any] | None:
    single = (
        {} if request.parallel_tool_calls is None else {"disable_parallel_tool_use": not request.parallel_tool_calls}
    )
    match request.tool_choice:
        case None:
            return {"type": "auto", **single} if single else None
        case "none":
            return {"type": "none"}
        case "auto":
            return {"type": "auto", **single}
        case "required":
            return {"type": "any", **single}
        case name:
            return {"type": "tool", "name": name, **single}


def understand(answer: Mapping[str, Any], response: HttpResponse) -> ChatResponse:
    """The answer whose JSON came in `response`, at once or in pieces.

    Raises:
        BadResponse: it is none.
        ContentFilter: the model declined.
        StepError: it is an error in disguise.
    """
    if not isinstance(answer.get("content"), list):
        raise refusal_inside(answer, response, "content")
    blocks = [mapping(block) for block in sequence(answer["content"])]
    stop = text(answer.get("stop_reason"))
    request_id = request_id_of(response.headers)
    if stop == "refusal":
        raise ContentFilter("the model declined to answer", http_status=response.status, request_id=request_id)
    content = "".join(text(block.get("text")) for block in blocks if block.get("type") == "text")
    uses = [block for block in blocks if block.get("type") == "tool_use"]
    calls = tool_calls((use.get("id"), use.get("name"), _arguments(use.get("input"))) for use in uses)
    if stop == "pause_turn":  # a tool of the provider's own took too long: what was written until then is no answer
        words = "the answer is unfinished: the provider paused it (pause_turn); ask for fewer uses of its own tools"
        raise BadResponse(words, http_status=response.status, retry=False, request_id=request_id)
    if not content and not calls:
        raise empty_answer(stop, stop in _AT_LIMIT, response.status, request_id)
    return ChatResponse(
        text=content,
        tool_calls=calls,
        finish_reason="tool_calls" if calls else "length" if stop in _AT_LIMIT else "stop",
        usage=usage_of(answer),
        model=text(answer.get("model")),
        request_id=request_id,
        headers=response.headers,
        provider_data=_wanted_back(blocks, calls),
    )


def _arguments(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return "{}" if arguments is None else orjson.dumps(arguments).decode()


def _wanted_back(blocks: list[Mapping[str, Any]], calls: tuple[ToolCall, ...]) -> tuple[dict[str, Any], ...] | None:
    """An answer with thinking goes back block by block as it came: its signatures cover the order."""
    if not any(block.get("type") in _THINKING for block in blocks):
        return None
    ids = iter([call.id for call in calls])
    wanted: list[dict[str, Any]] = []
    for block in cast("list[dict[str, Any]]", blocks):
        if block.get("type") == "tool_use":
            wanted.append({**block, "id": next(ids), "input": mapping(block.get("input"))})
        elif block.get("type") != "text" or block.get("text"):  # an empty text block would be refused
            wanted.append(block)
    return tuple(wanted)


def usage_of(answer: Mapping[str, Any]) -> Usage:
    """What an answer says it used."""
    counts = mapping(answer.get("usage"))
    read, written = count(counts.get("cache_read_input_tokens")), count(counts.get("cache_creation_input_tokens"))
    return Usage(
        input_tokens=count(counts.get("input_tokens")) + read + written,
        output_tokens=count(counts.get("output_tokens")),
        requests=1,
        cached_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=count(mapping(counts.get("cache_creation")).get("ephemeral_1h_input_tokens")),
        reasoning_tokens=count(mapping(counts.get("output_tokens_details")).get("thinking_tokens")),
    )


_DIALECT = Dialect("anthropic", ANTHROPIC_URL, KEY_VARIABLE, understand, usage_of, MessageAssembly)
