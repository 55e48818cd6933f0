"""Any Python value to strict JSON that any parser reads, without ever failing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, cast

import orjson

from agentbatch.inputs.json_lines import clean_text

_DEEPEST = 200
"""Levels kept of a nested value: orjson writes 254 of them, jq reads 256."""


def dump_line(value: dict[str, Any]) -> bytes:
    """`value` as one line of JSON with its newline.

    NaN and infinities become null, halves of surrogate pairs U+FFFD, bytes text, integers beyond 64 bits and keys that
    are no strings their text, unknown objects their `str()`, what is nested too deeply or in itself a note saying so.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    except (TypeError, RecursionError):
        return orjson.dumps(to_plain(value), option=orjson.OPT_APPEND_NEWLINE)


def to_plain(value: object) -> Any:
    """`value` made of nothing but what JSON has, as `dump_line` describes."""
    return _plain(value, ())


def _plain(value: object, above: tuple[int, ...]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _plain(value.value, (*above, id(value)))
    if isinstance(value, str):
        return clean_text(str.__str__(value))
    if isinstance(value, int):
        return _plain_int(int(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(cast(bytes, value)).decode("utf-8", "replace")
    if id(value) in above:
        return "[the value contains itself]"
    if len(above) >= _DEEPEST:
        return "[nested too deeply]"
    try:
        return _plain_container(value, (*above, id(value)))
    except Exception as error:  # a foreign container may raise anything; it must not cost the result
        return f"[{type(value).__name__} that cannot be read: {type(error).__name__}]"


def _plain_container(value: object, above: tuple[int, ...]) -> Any:
    if isinstance(value, Mapping):
        return {_text(key): _plain(part, above) for key, part in cast(Mapping[object, object], value).items()}
    if isinstance(value, list | tuple | AbstractSet):
        return [_plain(part, above) for part in cast(Iterable[object], value)]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name, None), above) for field in fields(value)}
    return _text(value)


def _plain_int(value: int) -> int | str:
    if -(2**63) <= value < 2**64:
        return value
    # hex beyond 4,300 decimal digits: Python refuses to print more, for their cost
    return str(value) if value.bit_length() < 14_000 else hex(value)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    try:
        return clean_text(str(value))
    except Exception as error:  # a foreign __str__ may raise anything; it must not cost the result
        return f"[{type(value).__name__} without a text: {type(error).__name__}]"
