"""What is taken from a program's or a server's answer: its text, its JSON, or one field of it by a dotted path."""

from __future__ import annotations

from typing import Any, cast

import orjson

from agentbatch.text.redact import visible


def read_output(form: str, text: str) -> Any:
    """The value that `form` takes from `text`: `text`, `json`, `jsonl` (a list, one value a line), or a dotted path.

    A path reads one JSON value; where there are several lines of them, it reads their list: `-1.item.text`.

    Raises:
        ValueError: the text is no JSON, or has no such field; the message is for people.
    """
    if form == "text":
        return text.rstrip("\r\n")
    if form == "json":
        return _json(text)
    if form == "jsonl":
        return _lines(text)
    return pick(_json_or_lines(text), form)


def pick(value: Any, path: str) -> Any:
    """The part of a JSON value at a dotted path such as `data.answers.0.text`; a negative index counts from the end.

    Raises:
        ValueError: there is none; the message says how far the path led.
    """
    way: list[str] = []
    for part in path.split("."):
        if isinstance(value, dict) and part in value:
            value = cast("dict[str, Any]", value)[part]
        elif isinstance(value, list) and _is_index(part, cast("list[Any]", value)):
            value = cast("list[Any]", value)[int(part)]
        else:
            raise ValueError(f"there is no {part!r} in {'.'.join(way) or 'the answer'}, which is {_shape(value)}")
        way.append(part)
    return value


def _is_index(part: str, items: list[Any]) -> bool:
    digits = part.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 10 and -len(items) <= int(part) < len(items)


def _shape(value: Any) -> str:
    if isinstance(value, dict):
        keys = list(cast("dict[str, Any]", value))
        return f"an object with {', '.join(visible(key, 40) for key in keys[:10]) or 'nothing in it'}"
    if isinstance(value, list):
        return f"a list of {len(cast('list[Any]', value))}"
    return visible(repr(value), 60)


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError as error:
        raise ValueError(
            f"no valid JSON ({error}): {visible(' '.join(text[:400].split()), 120) or 'nothing'}"
        ) from None


def _lines(text: str) -> list[Any]:
    return [_json(line) for line in text.split("\n") if line.strip()]


def _json_or_lines(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        lines = [line for line in text.split("\n") if line.strip()]
        return _lines(text) if len(lines) > 1 else _json(text)
