"""One record of the inputs, whatever the file's format."""

from __future__ import annotations

from typing import Any, NamedTuple


class Record(NamedTuple):
    """The value that begins in `line` (from 1), or the `fault` that keeps it from being one."""

    line: int
    value: Any = None
    fault: str | None = None
