"""One line of bytes to one JSON value: strict about JSON, patient about characters, never a crash.

Most lines go through orjson alone. Where it refuses, a slower second look keeps the records whose only fault is a
character: bytes that are not UTF-8, raw control characters, halves of surrogate pairs become U+FFFD or themselves, as
in the WHATWG Encoding Standard. What is no JSON (RFC 8259) stays refused: NaN, Infinity, numbers beyond a double.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, cast

import orjson

REPLACEMENT = "\ufffd"
_SURROGATES = re.compile("[\ud800-\udfff]")
_SAFE_BRACKETS = 200
"""With fewer brackets than this no value is nested too deeply, and need not be looked at again."""


class NotJson(ValueError):
    """The line is no JSON value; the message says why and in which column."""


def clean_text(text: str) -> str:
    """`text` as UTF-8 can carry it: each half of a surrogate pair becomes U+FFFD."""
    return _SURROGATES.sub(REPLACEMENT, text)


def parse_line(line: bytes) -> Any:
    """The value of one line.

    Integers beyond 64 bits become floats (RFC 8259, section 6), but for an object's `id`, which becomes its digits.
    Of a repeated key the last one counts.

    Raises:
        NotJson: it is no JSON, or nested deeper than can be written again (some 250 levels).
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        value = _parse_patiently(line, error)
    if len(line) > 2 * _SAFE_BRACKETS and line.count(b"[") + line.count(b"{") > _SAFE_BRACKETS:
        _refuse_deep(value)
    if type(value) is dict:
        fields = cast(dict[str, Any], value)
        if type(fields.get("id")) is float:
            return _with_exact_id(line, fields)
        return fields
    return value


def _parse_patiently(line: bytes, refusal: orjson.JSONDecodeError) -> Any:
    text = line.decode("utf-8", "replace").replace("\0", REPLACEMENT)
    try:
        value = json.loads(text, strict=False, parse_constant=_refuse_constant)
        return orjson.loads(clean_text(json.dumps(value, ensure_ascii=False, allow_nan=False)))
    except NotJson:
        raise
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    except json.JSONDecodeError:
        raise NotJson(_reason(refusal)) from None
    except ValueError:  # json.dumps met an infinity, or json.loads an integer of more than 4,300 digits
        raise NotJson("a number in it is too large") from None


def _reason(refusal: orjson.JSONDecodeError) -> str:
    if "depth limit" in refusal.msg:
        return "it is nested too deeply"
    if "infinity" in refusal.msg:
        return "a number in it is too large"
    return f"{refusal.msg} (column {refusal.colno})"


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is no JSON value: write null, or a string")


def _refuse_deep(value: Any) -> None:
    try:
        orjson.dumps(value)
    except TypeError:
        raise NotJson("it is nested too deeply") from None


def _with_exact_id(line: bytes, value: dict[str, Any]) -> dict[str, Any]:
    try:
        exact = json.loads(line.decode("utf-8", "replace"), strict=False, parse_int=str).get("id")
    except (ValueError, RecursionError):
        return value
    return {**value, "id": exact} if isinstance(exact, str) else value
