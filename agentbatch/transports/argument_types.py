"""Arguments as a function's hints want them: JSON values become dataclasses, enums or dates where hints say so."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_PLAIN = (str, int, float, bool, list, dict, NoneType, object, Any)
_OF_PLAIN = (list, dict, Union, UnionType, Annotated)


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The hints of a callable's parameters; none where they can't be read."""
    target: Any = function if hasattr(function, "__code__") else getattr(function, "__call__", function)  # noqa: B004
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError):  # a hint that only a type checker can read
        return {}


class ArgumentTypes:
    """Turns JSON values into what one function's hints say. Plain hints (text, numbers, lists, ...) ask for nothing."""

    def __init__(self, function: Callable[..., Any]) -> None:
        hints = {name: hint for name, hint in hints_of(function).items() if name != "return" and not _is_plain(hint)}
        self._adapters = _adapters(hints)

    def of(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments to call with.

        Raises:
            ValueError: a value is not what its hint says; the message says which.
        """
        return {
            name: self._adapters[name].validate_python(value) if name in self._adapters else value
            for name, value in arguments.items()
        }


def _adapters(hints: Mapping[str, Any]) -> dict[str, TypeAdapter[Any]]:
    if not hints:
        return {}
    from pydantic import PydanticUserError, TypeAdapter  # late: a worker process hardly ever needs it
    from pydantic.errors import PydanticSchemaGenerationError

    found: dict[str, TypeAdapter[Any]] = {}
    for name, hint in hints.items():
        try:
            found[name] = TypeAdapter(hint)
        except (PydanticSchemaGenerationError, PydanticUserError):
            continue  # given as it is
    return found


def _is_plain(hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is Literal:
        return True
    if origin is Annotated:
        return _is_plain(get_args(hint)[0])
    return hint in _PLAIN or (origin in _OF_PLAIN and all(_is_plain(part) for part in get_args(hint)))
