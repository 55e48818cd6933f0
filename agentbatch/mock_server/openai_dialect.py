"""The OpenAI Chat Completions API, seen from the server.

Source: https://platform.openai.com/docs/api-reference/chat and its streaming page.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from agentbatch.messages import ChatRequest, ChatResponse, Message, Role, ToolCall, ToolSpec, Usage
from agentbatch.mock_server.asked import Asked, MalformedBody, mapping, objects, text_of
from agentbatch.mock_server.pieces import pieces
from agentbatch.mock_server.rate_limit import Standing
from agentbatch.models.mock_faults import FaultKind

_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_ANY_OBJECT: Final = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
_STATUS: Final[dict[FaultKind, tuple[int, str, str | None]]] = {
    "rate_limited": (429, "requests", "rate_limit_exceeded"),
    "overloaded": (503, "service_unavailable_error", "overloaded"),
    "server": (500, "server_error", None),
    "bad_request": (400, "invalid_request_error", None),
    "auth": (401, "invalid_request_error", "invalid_api_key"),
    "quota": (429, "insufficient_quota", "insufficient_quota"),
    "context_length": (400, "invalid_request_error", "context_length_exceeded"),
}


class OpenAIDialect:
    """Reads requests and writes answers, events and errors as OpenAI does."""

    name = "openai"
    id_header = "x-request-id"

    def read(self, body: Mapping[str, Any]) -> Asked:
        """What the client asks.

        Raises:
            MalformedBody: the API would refuse it with 400.
        """
        messages = tuple(_message(part) for part in objects(body, "messages"))
        if not messages:
            raise MalformedBody("Missing required parameter: 'messages'.")
        model = body.get("model")
        request = ChatRequest(
            messages,
            params={"seed": body["seed"]} if body.get("seed") is not None else {},
            tools=tuple(_tool(mapping(part.get("function"))) for part in objects(body, "tools")),
            tool_choice=_choice(body.get("tool_choice")),
            parallel_tool_calls=body.get("parallel_tool_calls"),
            output_schema=_schema(mapping(body.get("response_format"))),
        )
        usage = bool(mapping(body.get("stream_options")).get("include_usage"))
        return Asked(request, str(model or "mock"), bool(body.get("stream")), usage)

    def answer(self, answer: ChatResponse) -> dict[str, Any]:
        """The body of a whole answer."""
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
        if answer.tool_calls:
            message["content"] = answer.text or None
            message["tool_calls"] = [_call(call) for call in answer.tool_calls]
        if answer.finish_reason == "content_filter":
            message["content"] = None
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
        return {**_head(answer, "chat.completion"), "choices": [choice], "usage": _usage(answer.usage)}

    def events(self, answer: ChatResponse, with_usage: bool) -> Iterator[bytes]:
        """The same answer as server-sent events, `[DONE]` included."""
        head = _head(answer, "chat.completion.chunk")
        yield _event(head, {"role": "assistant", "content": ""})
        for piece in pieces(answer.text):
            yield _event(head, {"content": piece})
        for place, call in enumerate(answer.tool_calls):
            opening = {"index": place, **_call(ToolCall(call.id, call.name, ""))}
            yield _event(head, {"tool_calls": [opening]})
            for piece in pieces(call.arguments):
                yield _event(head, {"tool_calls": [{"index": place, "function": {"arguments": piece}}]})
        yield _event(head, {}, answer.finish_reason)
        if with_usage:
            yield _data({**head, "choices": [], "usage": _usage(answer.usage)})
        yield b"data: [DONE]\n\n"

    def error_event(self) -> bytes:
        """What a stream breaks off with."""
        return _data(self.error("server", "the mock broke this stream on purpose (stream_error)", "")[1])

    def error(self, kind: FaultKind, message: str, request_id: str) -> tuple[int, dict[str, Any]]:
        """Status and body of a refusal."""
        status, family, code = _STATUS[kind]
        return status, {"error": {"message": message, "type": family, "param": None, "code": code}}

    def limit_headers(self, standing: Standing) -> dict[str, str]:
        """What is left of the limits, as in https://platform.openai.com/docs/guides/rate-limits."""
        headers: dict[str, str] = {}
        for name, quota in (("requests", standing.requests), ("tokens", standing.tokens)):
            if quota is not None:
                headers[f"x-ratelimit-limit-{name}"] = str(quota.limit)
                headers[f"x-ratelimit-remaining-{name}"] = str(quota.remaining)
                headers[f"x-ratelimit-reset-{name}"] = _span(quota.reset_s)
        return headers


def _message(part: Mapping[str, Any]) -> Message:
    role = _ROLES.get(str(part.get("role")))
    if role is None:
        raise MalformedBody(f"Invalid value: {part.get('role')!r}. Supported roles are {', '.join(_ROLES)}.")
    calls = tuple(
        ToolCall(str(call.get("id")), str(function.get("name")), str(function.get("arguments")))
        for call in objects(part, "tool_calls")
        for function in (mapping(call.get("function")),)
    )
    return Message(role, text_of(part.get("content")), calls, part.get("tool_call_id"))


def _tool(function: Mapping[str, Any]) -> ToolSpec:
    if not isinstance(function.get("name"), str):
        raise MalformedBody("Missing required parameter: 'tools[].function.name'.")
    return ToolSpec(function["name"], str(function.get("description") or ""), mapping(function.get("parameters")))


def _choice(choice: Any) -> str | None:
    if isinstance(choice, dict):
        return str(mapping(mapping(choice).get("function")).get("name"))
    return choice if isinstance(choice, str) else None


def _schema(form: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if form.get("type") == "json_schema":
        return mapping(mapping(form.get("json_schema")).get("schema"))
    return _ANY_OBJECT if form.get("type") == "json_object" else None


def _head(answer: ChatResponse, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.request_id}",
        "object": kind,
        "created": int(time.time()),
        "model": answer.model,
        "system_fingerprint": "fp_mock",
    }


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _event(head: Mapping[str, Any], delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
    return _data({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


def _data(value: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def _span(seconds: float) -> str:
    """A time to wait as OpenAI writes it: `20ms`, `1.5s`, `6m0s`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.3g}s"
    return f"{int(seconds // 60)}m{int(seconds % 60)}s"
