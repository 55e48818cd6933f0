"""Records: the plain data that travels between rooms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

_T = TypeVar("_T")

NEW_DICT: Callable[[], dict[str, Any]] = dict
NEW_LIST: Callable[[], list[Any]] = list
"""For `field(default_factory=...)` on the hot path: `dict[str, Any]` itself takes seven times as long to call."""


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[_T]) -> type[_T]:
    """A dataclass with slots that nobody changes: the type checker sees to that wherever strict typing reaches.

    The interpreter's own frozen dataclasses set each field through `object.__setattr__`, which takes three to four
    times as long; a call makes some fifteen records, and that was a tenth of its CPU. They also compile six methods for
    every class, half a millisecond each, and a run imports a hundred of them: here only `__init__` is compiled, and the
    rest is shared.
    """
    made = dataclass(slots=True, repr=False, eq=False)(cls)
    for method in (__eq__, __hash__, __repr__):
        if method.__name__ not in cls.__dict__:
            setattr(made, method.__name__, method)
    return made


def __eq__(self: Any, other: object) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    compared = _compared(self.__class__)
    return compared(self) == compared(other)


def __hash__(self: Any) -> int:
    return hash(_compared(self.__class__)(self))


def __repr__(self: Any) -> str:
    shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{self.__class__.__qualname__}({shown})"


@cache
def _compared(cls: Any) -> Callable[[Any], Any]:
    """What of a record counts when it is compared: reads those fields."""
    names = [each.name for each in fields(cls) if each.compare]
    return attrgetter(*names) if names else lambda _: ()
