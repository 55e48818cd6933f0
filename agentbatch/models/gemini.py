"""The provider `gemini`: `generateContent` of the Gemini API, and of servers that speak it.

Source: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast
from urllib.parse import quote

import orjson

from agentbatch.errors import BadContent, ContentFilter
from agentbatch.messages import Attachment, ChatRequest, ChatResponse, Message, ToolCall, ToolSpec, Usage
from agentbatch.models.base import ServedModelConfig
from agentbatch.models.content_parts import NO_FILES, Files, content_of
from agentbatch.models.credentials import ApiKey, BaseUrl, HeaderName
from agentbatch.models.gemini_stream import ContentAssembly
from agentbatch.models.http_api import Dialect, HttpApi
from agentbatch.models.http_model import HttpModel
from agentbatch.models.json_answer import count, empty_answer, mapping, sequence, text, tool_calls
from agentbatch.models.refusals import printable_id, refusal_inside, request_id_of
from agentbatch.models.request_body import EncodedOnce, encode_body
from agentbatch.text.redact import visible
from agentbatch.transports.base import HttpResponse, HttpTransport

GEMINI_URL = "https://generativelanguage.googleapis.com/v1beta"
KEY_VARIABLE = "GEMINI_API_KEY"

_BESIDE = frozenset({"safetySettings", "toolConfig", "cachedContent", "labels", "serviceTier", "store"})
"""Params that stand beside `generationConfig` in a request; all others belong into it."""
_FILTERED = frozenset({"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "LANGUAGE"})
_BROKEN = frozenset({"MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "OTHER"})
"""Ways to stop that are the model's failure: another attempt may go well."""
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


class GeminiConfig(ServedModelConfig):
    """Google's Gemini, or any server that speaks its API. `params` are those of its `generationConfig`, but
    for `safetySettings`, `toolConfig`, `cachedContent`, `labels`, `serviceTier` and `store`, which go beside it."""

    provider: Literal["gemini"]
    base_url: BaseUrl = GEMINI_URL
    """Where the API begins; `/models/MODEL:generateContent` is added, or `:streamGenerateContent`."""
    api_key: ApiKey | None = None
    """Default: the variable GEMINI_API_KEY, and only for Google's own server."""
    auth: HeaderName = "x-goog-api-key"
    """How the key is sent: the name of a header, or `bearer`."""


class GeminiModel(HttpModel):
    """The `Model` of a `GeminiConfig`; `transport` and `environ` as of `HttpApi`.

    Raises:
        ConfigError: a key is missing, or can't be sent.
    """

    def __init__(
        self, config: GeminiConfig, transport: HttpTransport, environ: Mapping[str, str] | None = None
    ) -> None:
        model = quote(config.model.removeprefix("models/"), safe="")
        path, query = ("streamGenerateContent", "alt=sse") if config.stream else ("generateContent", "")
        api = HttpApi(config, transport, environ, _DIALECT, f"/models/{model}:{path}", query=query)
        super().__init__(config.model, api)
        self._tools = EncodedOnce(_tools)

    def encode(self, request: ChatRequest, files: Files = NO_FILES) -> bytes:
        body: dict[str, Any] = {"contents": _contents(request.messages, files)}
        system = [{"text": one.content} for one in request.messages if one.role == "system" and one.content]
        if system:
            body["systemInstruction"] = {"parts": system}
        if request.tools:
            body["tools"] = self._tools(request.tools)
            if request.tool_choice is not None:
                body["toolConfig"] = {"functionCallingConfig": _calling(request.tool_choice)}
        body |= {key: value for key, value in request.params.items() if key in _BESIDE}
        generation = _generation(request)
        if generation:
            body["generationConfig"] = generation
        return encode_body(body)


def _generation(request: ChatRequest) -> dict[str, Any]:
    given = {key: value for key, value in request.params.items() if key not in _BESIDE and key != "generationConfig"}
    given = {**mapping(request.params.get("generationConfig")), **given}
    if request.output_schema is None or given.keys() & {"responseSchema", "responseJsonSchema"}:
        return given
    schema = {"responseMimeType": "application/json", "responseJsonSchema": dict(request.output_schema)}
    return {**schema, **given}


def _calling(choice: str) -> dict[str, Any]:
    mode = _MODES.get(choice)
    return {"mode": "ANY", "allowedFunctionNames": [choice]} if mode is None else {"mode": mode}


def _tools(tools: tuple[ToolSpec, ...]) -> list[dict[str, Any]]:
    return [{"functionDeclarations": [_declaration(tool) for tool in tools]}]


def _declaration(tool: ToolSpec) -> dict[str, Any]:
    """A function without parameters has no schema: one without properties is refused."""
    declared: dict[str, Any] = {"name": tool.name, "description": tool.description}
    if tool.parameters.get("properties"):
        declared["parametersJsonSchema"] = dict(tool.parameters)
    return declared


def _contents(messages: Iterable[Message], files: Files) -> list[dict[str, Any]]:
    """Turns of user and model. The results of one round of calls must come in one turn."""
    names: dict[str, str] = {}
    contents: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        names |= {call.id: call.name for call in message.tool_calls}
        role = "model" if message.role == "assistant" else "user"
        parts = _parts(message, names, files)
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] = [*contents[-1]["parts"], *parts]
        else:
            contents.append({"role": role, "parts": parts})
    return contents


def _parts(message: Message, names: Mapping[str, str], files: Files) -> list[dict[str, Any]]:
    if message.role == "tool":
        call_id = message.tool_call_id or ""
        result = {"id": call_id, "name": names.get(call_id, call_id), "response": {"result": message.content}}
        return [{"functionResponse": result}]
    if message.provider_data:
        return list(message.provider_data)
    if message.parts:
        return content_of(message, lambda part: _part(part, files))
    texts = [{"text": message.content}] if message.content or not message.tool_calls else []
    return [*texts, *(_sent_call(call) for call in message.tool_calls)]


def _part(part: str | Attachment, files: Files) -> dict[str, Any]:
    """Source: https://ai.google.dev/gemini-api/docs/file-input-methods"""
    if isinstance(part, str):
        return {"text": part}
    if part.url is not None:
        return {"fileData": {"mimeType": part.media_type, "fileUri": part.url}}
    return {"inlineData": {"mimeType": part.media_type, "data": files[part.digest]}}


def _sent_call(call: ToolCall) -> dict[str, Any]:
    try:
        arguments: Any = orjson.loads(call.arguments)
    except ValueError:
        arguments = {}
    return {"functionCall": {"id": call.id, "name": call.name, "args": dict(mapping(arguments))}}


def understand(answer: Mapping[str, Any], response: HttpResponse) -> ChatResponse:
    """The answer whose JSON came in `response`, at once or in pieces.

    Raises:
        BadResponse: it is none, or the model failed to write one.
        ContentFilter: the prompt or the answer was blocked.
        StepError: it is an error in disguise.
    """
    request_id = request_id_of(response.headers) or printable_id(answer.get("responseId"))
    candidates = sequence(answer.get("candidates"))
    if not candidates:
        _refuse_blocked(answer, response.status, request_id)
        raise refusal_inside(answer, response, "candidates")
    candidate = mapping(candidates[0])
    parts = [mapping(part) for part in sequence(mapping(candidate.get("content")).get("parts"))]
    finish = text(candidate.get("finishReason"))
    _refuse_unfinished(candidate, finish, response.status, request_id)
    content = "".join(text(part.get("text")) for part in parts if part.get("thought") is not True)
    asked = [mapping(part["functionCall"]) for part in parts if "functionCall" in part]
    calls = tool_calls((one.get("id"), one.get("name"), _arguments(one.get("args"))) for one in asked)
    if not content and not calls:
        raise empty_answer(finish, finish == "MAX_TOKENS", response.status, request_id)
    return ChatResponse(
        text=content,
        tool_calls=calls,
        finish_reason="tool_calls" if calls else "length" if finish == "MAX_TOKENS" else "stop",
        usage=usage_of(answer),
        model=text(answer.get("modelVersion")),
        request_id=request_id,
        headers=response.headers,
        provider_data=_wanted_back(parts, calls),
    )


def _refuse_blocked(answer: Mapping[str, Any], status: int, request_id: str | None) -> None:
    feedback = mapping(answer.get("promptFeedback"))
    reason = text(feedback.get("blockReason"))
    if reason:
        words = text(feedback.get("blockReasonMessage"))
        said = f": {visible(words, 500)}" if words else ""
        raise ContentFilter(
            f"the prompt was blocked ({visible(reason, 100)}){said}", http_status=status, request_id=request_id
        )


def _refuse_unfinished(candidate: Mapping[str, Any], finish: str, status: int, request_id: str | None) -> None:
    words = text(candidate.get("finishMessage"))
    said = f"{finish}: {visible(words, 500)}" if words else finish
    if finish in _FILTERED:
        raise ContentFilter(f"the answer was blocked ({said})", http_status=status, request_id=request_id)
    if finish in _BROKEN:
        raise BadContent(f"the model could not finish ({said})", http_status=status, request_id=request_id)


def _arguments(arguments: Any) -> str:
    return "{}" if arguments is None else orjson.dumps(arguments).decode()


def _wanted_back(parts: list[Mapping[str, Any]], calls: tuple[ToolCall, ...]) -> tuple[dict[str, Any], ...] | None:
    """An answer with thought signatures goes back part by part: each must return on the part that it came with.

    Source: https://ai.google.dev/gemini-api/docs/thought-signatures
    """
    if not any(part.get("thoughtSignature") for part in parts):
        return None
    ids = iter([call.id for call in calls])
    wanted: list[dict[str, Any]] = []
    for part in cast("list[dict[str, Any]]", parts):
        if "functionCall" in part:
            wanted.append({**part, "functionCall": {**mapping(part["functionCall"]), "id": next(ids)}})
        elif part.get("thought") is not True:
            wanted.append(part)
    return tuple(wanted)


def usage_of(answer: Mapping[str, Any]) -> Usage:
    """What an answer says it used. Thoughts are counted beside its tokens, what tools added beside the prompt's."""
    counts = mapping(answer.get("usageMetadata"))
    thoughts = count(counts.get("thoughtsTokenCount"))
    return Usage(
        input_tokens=count(counts.get("promptTokenCount")) + count(counts.get("toolUsePromptTokenCount")),
        output_tokens=count(counts.get("candidatesTokenCount")) + thoughts,
        requests=1,
        cached_tokens=count(counts.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
    )


_DIALECT = Dialect("gcp.gemini", GEMINI_URL, KEY_VARIABLE, understand, usage_of, ContentAssembly)
