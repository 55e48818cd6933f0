"""One record of the inputs, whatever the file's format."""

from __future__ import annotations

from typing import Any, NamedTuple


class Record(NamedTuple):
    """The value that begins in `line` (from 1), or the `fault` that keeps it from being one.

    `name` is what a faulty one is called, where that can be read all the same.
    """

    line: int
    value: Any = None
    fault: str | None = None
    name: str | None = None
