"""A request as it came over HTTP, in the words of the model contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

from agentbatch.messages import ChatRequest
from agentbatch.record import record


class MalformedBody(ValueError):
    """The body is not what the API asks for; the message is what the client is told."""


@record
class Asked:
    """What a client wants: of which model, and in which form."""

    request: ChatRequest
    model: str
    stream: bool
    stream_usage: bool


def json_object(body: bytes) -> Mapping[str, Any]:
    """The body's JSON object.

    Raises:
        MalformedBody: it is something else.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"We could not parse the JSON body of your request: {error}") from None
    if not isinstance(value, dict):
        raise MalformedBody("The JSON body of your request must be an object.")
    return cast(Mapping[str, Any], value)


def objects(body: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    """The list of objects in this field; empty where it is absent or null.

    Raises:
        MalformedBody: it is something else.
    """
    value: Any = body.get(field)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in cast(Sequence[Any], value)):
        raise MalformedBody(f"Invalid type for '{field}': expected a list of objects.")
    return cast(list[Mapping[str, Any]], value)


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one: for the optional parts of a request."""
    return cast(Mapping[str, Any], value) if isinstance(value, dict) else {}


def text_of(content: Any) -> str:
    """The text of a message: as it is, or of its text parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = (mapping(part) for part in cast(Sequence[Any], content))
    return "".join(str(part.get("text") or "") for part in parts if part.get("type", "text") in ("text", "input_text"))
