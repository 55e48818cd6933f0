"""Requests and answers of models as bytes: what a journal or a cache keeps."""

from __future__ import annotations

from typing import Any

import orjson

from agentbatch.messages import ChatRequest, ChatResponse, ToolCall, Usage

_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


def request_bytes(model: str, request: ChatRequest) -> bytes:
    """All of a request that shapes its answer; the attempt's trace header is not."""
    asked: dict[str, Any] = {"model": model, "messages": request.messages, "params": dict(request.params)}
    if request.tools:
        asked["tools"] = request.tools
        asked["choice"] = [request.tool_choice, request.parallel_tool_calls]
    if request.output_schema is not None:
        asked["schema"] = dict(request.output_schema)
    if request.seed:
        asked["seed"] = request.seed
    return orjson.dumps(asked, default=_plain, option=_OPTIONS)


def encode_answer(answer: ChatResponse) -> bytes:
    """All of an answer but its HTTP headers, as JSON."""
    return orjson.dumps(
        {
            "text": answer.text,
            "tool_calls": answer.tool_calls,
            "finish_reason": answer.finish_reason,
            "usage": answer.usage,
            "model": answer.model,
            "request_id": answer.request_id,
            "provider_data": answer.provider_data,
            **({"batched": True} if answer.batched else {}),
        },
        default=_plain,
        option=_OPTIONS,
    )


def decode_answer(data: bytes) -> ChatResponse:
    """The answer again."""
    fields: dict[str, Any] = orjson.loads(data)
    fields["tool_calls"] = tuple(ToolCall(**call) for call in fields["tool_calls"])
    fields["usage"] = Usage(**fields["usage"])
    return ChatResponse(**fields)


def _plain(value: Any) -> Any:
    """What orjson does not know: frozen mappings and tuples of providers' data."""
    if isinstance(value, tuple | set | frozenset):
        return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if hasattr(value, "keys"):
        return dict(value)
    return str(value)
