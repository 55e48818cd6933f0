"""Reading results back: line by line, or the one line of an item. A file of another run, or of this one while it goes.

Of an item that has several lines the last one counts.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from agentbatch.errors import InputError


@contextmanager
def reading(path: Path) -> Generator[BinaryIO]:
    """The open file.

    Raises:
        InputError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def parse_result(line: bytes) -> dict[str, Any] | None:
    """The fields of a result line; None if it is torn, or none."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict):
        return None
    fields = cast("dict[str, Any]", value)
    return fields if "id" in fields and "status" in fields else None


def find_result(path: Path, item_or_trace: str) -> dict[str, Any] | None:
    """The last line of the item of that id, or else of the item with that trace id.

    Raises:
        InputError: the file can't be read.
    """
    by_item: dict[str, Any] | None = None
    by_trace: dict[str, Any] | None = None
    escaped = orjson.dumps(item_or_trace)[1:-1]
    with reading(path) as file:
        for line in file:
            if escaped in line and (fields := parse_result(line)) is not None:
                if str(fields["id"]) == item_or_trace:
                    by_item = fields
                elif fields.get("trace_id") == item_or_trace:
                    by_trace = fields
    return by_item or by_trace
