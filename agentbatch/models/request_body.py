"""Request bodies as JSON bytes: one encoding a call, with the parts that stay the same encoded once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from agentbatch.errors import BadRequest

_REMEMBERED = 64


def encode_body(body: dict[str, Any]) -> bytes:
    """`body` as JSON. Lone surrogates, which no UTF-8 can hold, are replaced.

    Raises:
        BadRequest: a param is of a type that JSON does not have.
    """
    try:
        return orjson.dumps(body)
    except TypeError:
        return _encode_awkward(body)


def _encode_awkward(body: dict[str, Any]) -> bytes:
    try:
        plain = json.dumps(body, ensure_ascii=False, allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRequest(f"the request can't be written as JSON: {error}") from None
    return plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _plain(value: Any) -> Any:
    """What orjson encodes and json does not: pre-encoded fragments, dates."""
    return json.loads(orjson.dumps(value))


def refuse_stream(params: Mapping[str, Any]) -> None:
    """Whether to stream is the model's own setting: as a param it would be paid for and not understood.

    Raises:
        BadRequest: `params` ask for one.
    """
    if params.get("stream"):
        raise BadRequest(
            "params.stream: leave it out; models that can stream have a `stream: true` of their own, beside params"
        )


class EncodedOnce:
    """Remembers the JSON of objects that come again and again: an agent's tools, its output schema.

    They are told apart by identity, so that looking one up costs nothing like encoding it would.
    """

    def __init__(self, shape: Callable[[Any], Any]) -> None:
        self._shape = shape
        self._known: dict[int, tuple[object, orjson.Fragment]] = {}

    def __call__(self, thing: object) -> orjson.Fragment:
        """The JSON of `shape(thing)`."""
        known = self._known.get(id(thing))
        if known is not None:
            return known[1]
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        fragment = orjson.Fragment(encode_body(self._shape(thing)))
        self._known[id(thing)] = (thing, fragment)  # holding the thing keeps its id its own
        return fragment
