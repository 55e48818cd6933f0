"""Bounds on what a template may build: the size of every operation that can multiply, known before it is done.

Inputs are data and only the config is a template, so this is no wall against an enemy: it keeps `{{ 'x' * input.n }}`
or a repeated `join` from taking the machine down.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, cast

from jinja2.exceptions import SecurityError

MAX_SIZE = 10_000_000
"""Characters of a text; of a list or mapping, roughly those of its JSON."""
_MAX_BITS = 100_000
"""Of a whole number."""
_MAX_WIDTH = 100_000
"""Columns, indents, batches."""


class TooLarge(SecurityError):
    """A template would build something larger than `MAX_SIZE`."""


def ensure(size: int, what: str) -> None:
    """Raises:
    TooLarge: `size` is more than allowed.
    """
    if size > MAX_SIZE:
        raise TooLarge(f"{what} would be longer than {MAX_SIZE:,} characters")


def weight(value: Any) -> int:
    """About how many characters a value is as text; of one that is too large, only that it is."""
    if isinstance(value, str):
        return len(value)
    total = 0
    waiting = [value]
    while waiting and total <= MAX_SIZE:
        each = waiting.pop()
        total += 8
        if isinstance(each, list | tuple):
            waiting.extend(cast("list[Any]", each))
        elif isinstance(each, int):
            total += each.bit_length() // 3
        elif isinstance(each, str | bytes):
            total += len(each)
        elif isinstance(each, Mapping):
            mapping = cast("Mapping[Any, Any]", each)
            waiting.extend(mapping.keys())
            waiting.extend(mapping.values())
        elif isinstance(each, set | frozenset):
            waiting.extend(cast("Iterable[Any]", each))
    return total


def bounded_list(values: Iterable[Any]) -> list[Any]:
    """The values in a list, if they are not too many."""
    found = list(islice(values, MAX_SIZE // 8 + 1))
    ensure(len(found) * 8, "a list")
    return found


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Raises:
    TooLarge: the result of `left operator right` would be.
    """
    if operator == "+":
        if isinstance(left, str | list | tuple):
            ensure(weight(left) + weight(right), "a sum")
    elif operator == "%":
        if isinstance(left, str):
            check_percent(left, right)
    elif isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        if bits > _MAX_BITS:
            raise TooLarge("a number would be too large")
    elif operator == "*":
        for times, value in ((left, right), (right, left)):
            if isinstance(times, int) and isinstance(value, str | bytes | list | tuple):
                ensure(weight(cast("Any", value)) * max(0, times), "a product")


_PERCENT_WIDTH = re.compile(r"%(?:\([^)]*\))?[#0\- +]*(?:\*|\d{6,}|\d*\.(?:\*|\d{6,}))")
_FORMAT_WIDTH = re.compile(r"\{[^{}]*(?:\{|\d{6,})")


def check_percent(text: str, arguments: Any) -> None:
    """Raises:
    TooLarge: `text % arguments` would be, or its widths can't be told.
    """
    if _PERCENT_WIDTH.search(text):
        raise TooLarge("a column would be too wide")
    ensure(len(text) + text.count("%") * weight(arguments), "a formatted text")


def check_format(text: str, arguments: Any) -> None:
    """Raises:
    TooLarge: `text.format(*arguments)` would be, or its widths can't be told.
    """
    if _FORMAT_WIDTH.search(text):
        raise TooLarge("a column would be too wide")
    ensure(len(text) + text.count("{") * weight(arguments), "a formatted text")


def check_width(width: Any) -> None:
    """Raises:
    TooLarge: a column, an indent or a batch is wider than anyone means it.
    """
    if isinstance(width, int) and width > _MAX_WIDTH:
        raise TooLarge(
            f"a width of {width:,} is more than {_MAX_WIDTH:,}" if width < 10**15 else "a width is too large"
        )


def _check_replace(text: Any, old: Any, new: Any) -> None:
    if isinstance(text, str) and isinstance(old, str):
        ensure(len(text) + text.count(old) * weight(new), "a replacement")


def _check_indent(text: Any, width: Any) -> None:
    check_width(width)
    if isinstance(text, str):
        step = width if isinstance(width, int) else weight(width)
        ensure(len(text) + (text.count("\n") + 1) * step, "an indented text")


def _check_wordwrap(text: Any, wrapstring: Any) -> None:
    ensure(weight(text) * (1 + weight(wrapstring)), "a wrapped text")


def _check_sum(start: Any) -> None:
    if not isinstance(start, int | float):
        raise TooLarge("sum adds numbers only")


def _check_format_filter(text: Any, args: Any, kwargs: Any) -> None:
    if isinstance(text, str):
        check_percent(text, (args, kwargs))


def check_text(value: Any) -> None:
    """Raises:
    TooLarge: the value as text would be.
    """
    ensure(weight(value), "a text")


FILTER_CHECKS: Mapping[str, tuple[tuple[str, ...], Callable[..., None]]] = {
    "batch": (("linecount",), check_width),
    "center": (("width",), check_width),
    "format": (("value", "args", "kwargs"), _check_format_filter),
    "indent": (("s", "width"), _check_indent),
    "replace": (("s", "old", "new"), _check_replace),
    "slice": (("slices",), check_width),
    "sum": (("start",), _check_sum),
    "wordwrap": (("s", "wrapstring"), _check_wordwrap),
}
"""Jinja's filters that can multiply: which of their arguments say by how much, and the check of these."""

TEXT_FILTERS = (
    *("capitalize", "center", "e", "escape", "forceescape", "format", "indent", "lower", "pprint", "replace", "safe"),
    *("striptags", "title", "trim", "truncate", "upper", "urlencode", "urlize", "wordcount", "wordwrap", "xmlattr"),
)
"""Filters that make a text of whatever they are given: a small list of lists may be an endless text."""


def check_method(name: str, text: str, arguments: tuple[Any, ...]) -> None:
    """Raises:
    TooLarge: calling this method of a text would give one that is.
    """
    if name in ("center", "ljust", "rjust", "zfill"):
        check_width(arguments[0] if arguments else 0)
    elif name == "replace" and len(arguments) > 1:
        _check_replace(text, arguments[0], arguments[1])
    elif name == "join" and arguments and isinstance(arguments[0], list | tuple | Mapping):
        joined = cast("list[Any]", arguments[0])
        ensure(weight(joined) + len(joined) * len(text), "a joined text")


UNSAFE_METHODS = frozenset({"encode", "expandtabs", "format_map", "to_bytes", "translate"})
"""Methods of texts and numbers that multiply, and that no prompt needs."""


class Buffer(list[str]):
    """What Jinja collects inside `set`, `filter`, `call` and macros, within bounds."""

    size = 0

    def append(self, text: str, /) -> None:
        self._count(text)
        super().append(text)

    def extend(self, texts: Iterable[str], /) -> None:
        def counted() -> Iterator[str]:
            for text in texts:
                self._count(text)
                yield text

        super().extend(counted())

    def _count(self, text: str) -> None:
        self.size += len(text) + 8
        ensure(self.size, "a text")
