"""Dotted paths into JSON: `agents.writer.output.score`, `output.0`. Keys may have dots in them themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

MISSING: Final = object()
"""What a path leads to where there is nothing."""


def value_at(value: Any, path: str) -> Any:
    """What stands at the path; `MISSING` where nothing does.

    Of two ways to read a path the one with the longer key counts, so that `agents.refine[2].critic.output` finds the
    step that is called `refine[2].critic`.
    """
    return _follow(value, path.split("."))


def _follow(value: Any, parts: Sequence[str]) -> Any:
    if not parts:
        return value
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        for size in range(len(parts), 0, -1):
            key = ".".join(parts[:size])
            if key in fields and (found := _follow(fields[key], parts[size:])) is not MISSING:
                return found
        return MISSING
    if isinstance(value, list) and parts[0].isdecimal():
        elements = cast("list[Any]", value)
        at = int(parts[0])
        return _follow(elements[at], parts[1:]) if at < len(elements) else MISSING
    return MISSING
