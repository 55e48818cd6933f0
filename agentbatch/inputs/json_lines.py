"""One line of bytes to one JSON value: strict about JSON, patient about characters, never a crash.

Most lines go through orjson alone. Where it refuses, a slower second look keeps the records whose only fault is a
character: bytes that are not UTF-8, raw control characters, halves of surrogate pairs become U+FFFD or themselves, as
in the WHATWG Encoding Standard. What is no JSON (RFC 8259) stays refused: NaN, Infinity, numbers beyond a double.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

import orjson

REPLACEMENT = "\ufffd"
_DIGITS = b"0123456789"
_LONG_DIGITS = 19
"""An integer beyond 64 bits has so many at least."""
_LONG_INTEGER = re.compile(rb"\d{%d}" % _LONG_DIGITS)
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

    Integers beyond 64 bits become texts, their digits: as numbers many readers of JSON would round them (RFC 8259,
    section 6), and most are names of something. Of a repeated key the last one counts.

    Raises:
        NotJson: it is no JSON, or nested deeper than can be written again (some 250 levels).
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        value = _parse_patiently(line, error)
    else:
        if len(line) - len(line.translate(None, _DIGITS)) >= _LONG_DIGITS and _LONG_INTEGER.search(line):
            value = _with_digits(line)
    if len(line) > 2 * _SAFE_BRACKETS and line.count(b"[") + line.count(b"{") > _SAFE_BRACKETS:
        _refuse_deep(value)
    return value


def breaks_off(line: bytes) -> bool:
    """Whether a line is the mere beginning of an array or an object."""
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return line.lstrip()[:1] in (b"[", b"{") and error.msg.startswith("unexpected end of data")
    return False


def is_json(line: bytes) -> bool:
    """Whether a line is a JSON value as it stands."""
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _parse_patiently(line: bytes, refusal: orjson.JSONDecodeError) -> Any:
    text = line.decode("utf-8", "replace").replace("\0", REPLACEMENT)
    try:
        value = json.loads(text, strict=False, parse_constant=_refuse_constant, parse_int=_integer)
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


def _with_digits(line: bytes) -> Any:
    try:
        return json.loads(line, parse_int=_integer)
    except RecursionError:  # it follows fewer levels than orjson
        raise NotJson("it is nested too deeply") from None


def _integer(digits: str) -> int | str:
    """The number, or its digits where it has more than 64 bits.

    Raises:
        ValueError: it is beyond a double.
    """
    number = int(digits)
    if math.isinf(float(digits)):
        raise ValueError("beyond a double")
    return number if -(2**63) <= number < 2**64 else digits
