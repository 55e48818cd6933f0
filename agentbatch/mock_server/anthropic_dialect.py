"""The Anthropic Messages API, seen from the server.

Source: https://docs.anthropic.com/en/api/messages, its streaming page and its errors page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import orjson

from agentbatch.messages import ChatRequest, ChatResponse, Message, ToolCall, ToolSpec
from agentbatch.mock_server.asked import Asked, MalformedBody, mapping, objects, text_of
from agentbatch.mock_server.pieces import pieces
from agentbatch.mock_server.rate_limit import Standing
from agentbatch.models.mock_faults import FaultKind

_STATUS: Final[dict[FaultKind, tuple[int, str]]] = {
    "rate_limited": (429, "rate_limit_error"),
    "overloaded": (529, "overloaded_error"),
    "server": (500, "api_error"),
    "bad_request": (400, "invalid_request_error"),
    "auth": (401, "authentication_error"),
    "quota": (402, "billing_error"),
    "context_length": (400, "invalid_request_error"),
}
_STOP: Final = {"stop": "end_turn", "tool_calls": "tool_use", "content_filter": "refusal"}


class AnthropicDialect:
    """Reads requests and writes answers, events and errors as Anthropic does."""

    name = "anthropic"
    id_header = "request-id"

    def read(self, body: Mapping[str, Any]) -> Asked:
        """What the client asks.

        Raises:
            MalformedBody: the API would refuse it with 400.
        """
        for field in ("model", "max_tokens", "messages"):
            if not body.get(field):
                raise MalformedBody(f"{field}: Field required")
        system = text_of(body.get("system"))
        messages = [Message("system", system)] if system else []
        for part in objects(body, "messages"):
            messages.extend(_messages(part))
        choice = mapping(body.get("tool_choice"))
        request = ChatRequest(
            tuple(messages),
            tools=tuple(_tool(part) for part in objects(body, "tools")),
            tool_choice=_choice(choice),
            parallel_tool_calls=False if choice.get("disable_parallel_tool_use") else None,
            output_schema=_schema(body),
        )
        return Asked(request, str(body["model"]), bool(body.get("stream")), True)

    def answer(self, answer: ChatResponse) -> dict[str, Any]:
        """The body of a whole answer."""
        blocks: list[dict[str, Any]] = []
        if answer.text or not answer.tool_calls:
            blocks.append({"type": "text", "text": answer.text})
        blocks.extend(_tool_use(call, _arguments(call)) for call in answer.tool_calls)
        if answer.finish_reason == "content_filter":
            blocks = []
        stop = _STOP.get(answer.finish_reason, answer.finish_reason)
        return {**_head(answer), "content": blocks, "stop_reason": stop, "usage": _usage(answer, whole=True)}

    def events(self, answer: ChatResponse, with_usage: bool) -> Iterator[bytes]:
        """The same answer as server-sent events; usage always comes with them."""
        start: dict[str, Any] = {**_head(answer), "content": [], "stop_reason": None}
        start["usage"] = _usage(answer, whole=False)
        yield _event("message_start", message=start)
        yield _event("ping")
        place = 0
        if answer.text:
            yield from _block(place, {"type": "text", "text": ""}, "text_delta", "text", answer.text)
            place += 1
        for call in answer.tool_calls:
            yield from _block(place, _tool_use(call, {}), "input_json_delta", "partial_json", call.arguments)
            place += 1
        delta = {"stop_reason": _STOP.get(answer.finish_reason, answer.finish_reason), "stop_sequence": None}
        yield _event("message_delta", delta=delta, usage={"output_tokens": answer.usage.output_tokens})
        yield _event("message_stop")

    def error_event(self) -> bytes:
        """What a stream breaks off with."""
        message = "the mock broke this stream on purpose (stream_error)"
        return _event("error", error={"type": "overloaded_error", "message": message})

    def error(self, kind: FaultKind, message: str, request_id: str) -> tuple[int, dict[str, Any]]:
        """Status and body of a refusal."""
        status, family = _STATUS[kind]
        if kind == "context_length":
            message = f"prompt is too long: {message}"
        return status, {"type": "error", "error": {"type": family, "message": message}, "request_id": request_id}

    def limit_headers(self, standing: Standing) -> dict[str, str]:
        """What is left of the limits, as in https://docs.anthropic.com/en/api/rate-limits."""
        headers: dict[str, str] = {}
        for name, quota in (("requests", standing.requests), ("tokens", standing.tokens)):
            if quota is not None:
                reset = datetime.now(UTC) + timedelta(seconds=quota.reset_s)
                headers[f"anthropic-ratelimit-{name}-limit"] = str(quota.limit)
                headers[f"anthropic-ratelimit-{name}-remaining"] = str(quota.remaining)
                headers[f"anthropic-ratelimit-{name}-reset"] = reset.isoformat(timespec="seconds")
        return headers


def _messages(part: Mapping[str, Any]) -> Iterator[Message]:
    """One turn of the API is one of ours, but for tool results: each is a turn of its own."""
    role = part.get("role")
    if role not in ("user", "assistant"):
        raise MalformedBody(f"messages: Unexpected role {role!r}. Allowed roles are 'user' or 'assistant'.")
    content: Any = part.get("content")
    blocks = [mapping(block) for block in cast(list[Any], content)] if isinstance(content, list) else []
    for block in blocks:
        if block.get("type") == "tool_result":
            yield Message("tool", text_of(block.get("content")), tool_call_id=str(block.get("tool_use_id")))
    calls = tuple(
        ToolCall(str(block.get("id")), str(block.get("name")), orjson.dumps(block.get("input")).decode())
        for block in blocks
        if block.get("type") == "tool_use"
    )
    text = text_of(content)
    if text or calls or not any(block.get("type") == "tool_result" for block in blocks):
        yield Message("user" if role == "user" else "assistant", text, calls)


def _tool(part: Mapping[str, Any]) -> ToolSpec:
    if not isinstance(part.get("name"), str):
        raise MalformedBody("tools: name: Field required")
    return ToolSpec(part["name"], str(part.get("description") or ""), mapping(part.get("input_schema")))


def _choice(choice: Mapping[str, Any]) -> str | None:
    kind = choice.get("type")
    if kind == "tool":
        return str(choice.get("name"))
    return {"any": "required", "auto": "auto", "none": "none"}.get(str(kind))


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    form = mapping(mapping(body.get("output_config")).get("format")) or mapping(body.get("output_format"))
    return mapping(form.get("schema")) if form.get("type") == "json_schema" else None


def _head(answer: ChatResponse) -> dict[str, Any]:
    return {
        "id": f"msg_{answer.request_id}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "stop_sequence": None,
    }


def _usage(answer: ChatResponse, whole: bool) -> dict[str, Any]:
    return {
        "input_tokens": answer.usage.input_tokens,
        "output_tokens": answer.usage.output_tokens if whole else 1,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }


def _tool_use(call: ToolCall, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id.replace("call_", "toolu_"), "name": call.name, "input": arguments}


def _arguments(call: ToolCall) -> Any:
    """The API gives an object; a script that is no JSON can only be shown as it is in a stream."""
    try:
        return orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        return {"unparsed": call.arguments}


def _block(place: int, opening: Mapping[str, Any], delta: str, field: str, text: str) -> Iterator[bytes]:
    yield _event("content_block_start", index=place, content_block=opening)
    for piece in pieces(text):
        yield _event("content_block_delta", index=place, delta={"type": delta, field: piece})
    yield _event("content_block_stop", index=place)


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: ".encode() + orjson.dumps({"type": kind, **fields}) + b"\n\n"
