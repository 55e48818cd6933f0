"""Answers of providers as checked JSON: every shape is looked at before it is used, whoever sent it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

import orjson

from agentbatch.errors import BadContent, BadResponse
from agentbatch.messages import ToolCall
from agentbatch.text.redact import visible

_MOST_TOKENS = 100_000_000
"""No request has more: a larger count is not believed."""


def parse_answer(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`. Any content type is fine, a BOM too; broken UTF-8 and lone surrogates are replaced.

    Raises:
        BadResponse: there is none.
    """
    try:
        data: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        data = _parse_leniently(body)
    if not isinstance(data, dict):
        raise BadResponse(f"the answer is no JSON object: {_beginning(body)}")
    return cast("dict[str, Any]", data)


def _parse_leniently(body: bytes) -> Any:
    """Strict JSON still, but for text that is no valid Unicode."""
    text = body.decode("utf-8-sig", "replace")
    try:
        tree = json.loads(text, parse_constant=_refuse)
        clean = json.dumps(tree, ensure_ascii=False, allow_nan=False)
        return orjson.loads(clean.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    except (ValueError, RecursionError):
        raise BadResponse(f"the answer is no valid JSON: {_beginning(body)}") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _beginning(body: bytes) -> str:
    text = " ".join(body[:600].decode("utf-8", "replace").split())
    return visible(text, 120) or "it is empty"


def empty_answer(finish: str, at_limit: bool, status: int, request_id: str | None) -> BadResponse:
    """The fault of an answer with nothing in it. It was paid for, and the next would likely be as empty: no retry.

    Args:
        finish: why the model stopped, in the provider's word.
        at_limit: whether it stopped because of `max_tokens`.
    """
    why = "max_tokens were used up before the answer began: raise it" if at_limit else "neither text nor a tool call"
    return BadResponse(
        f"the answer is empty ({why}; it ended with {visible(finish, 40) or 'no reason given'})",
        http_status=status,
        retry=False,
        request_id=request_id,
    )


def tool_calls(asked: Iterable[tuple[Any, Any, str]]) -> tuple[ToolCall, ...]:
    """The tool calls of an answer, from their ids, names and arguments as they came.

    Each result must find its call, so a missing id and one that came before are made whole.

    Raises:
        BadResponse: a call does not say which tool.
    """
    calls: dict[str, ToolCall] = {}
    for number, (given_id, name, arguments) in enumerate(asked):
        if not text(name):
            raise BadContent("the answer has a tool call without a name")
        call_id = text(given_id)
        if not call_id or call_id in calls:
            call_id = f"call_{number}_{call_id}".rstrip("_")
        calls[call_id] = ToolCall(call_id, name, arguments)
    return tuple(calls.values())


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` if it is an object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """`value` if it is an array, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def text(value: Any) -> str:
    """`value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def count(value: Any) -> int:
    """`value` if it can be a number of tokens, else 0."""
    return value if type(value) is int and 0 <= value < _MOST_TOKENS else 0
