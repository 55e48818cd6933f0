"""How many requests an item makes, as bounds, and how such bounds add up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from agentbatch.record import record
from agentbatch.text.figures import counted


class Times(NamedTuple):
    """How often something is done: at least and at most; None where there is no bound."""

    least: int
    most: int | None


ONCE = Times(1, 1)
MANY = Times(0, None)


@record
class Calls:
    """Requests at least and at most; None where there is no bound.

    At least: nothing fails, and every condition leaves out what it can. At most: every condition lets everything run,
    and every repair and fallback is needed. An item that fails may have made fewer than `least`.
    """

    least: int = 0
    most: int | None = 0

    def __add__(self, other: Calls) -> Calls:
        return Calls(
            self.least + other.least, None if self.most is None or other.most is None else self.most + other.most
        )

    def times(self, often: Times) -> Calls:
        """These calls, so often."""
        if self.most == 0:
            return self
        most = None if self.most is None or often.most is None else self.most * often.most
        return Calls(self.least * often.least, most)

    def maybe(self) -> Calls:
        """These calls or none."""
        return Calls(0, self.most)

    @staticmethod
    def sum(parts: Iterable[Calls]) -> Calls:
        """All of them."""
        return sum(parts, Calls())

    @staticmethod
    def one_of(ways: Iterable[Calls]) -> Calls:
        """Those of one of the ways."""
        bounds = list(ways)
        most = [way.most for way in bounds if way.most is not None]
        return Calls(min(way.least for way in bounds), max(most) if len(most) == len(bounds) else None)

    @staticmethod
    def some_of(ways: Iterable[Calls]) -> Calls:
        """Those of one of the ways or of several."""
        bounds = list(ways)
        return Calls(min(way.least for way in bounds), Calls.sum(bounds).most)

    def __str__(self) -> str:
        """`1 call`, `2 to 8 calls`, `1 to many calls`."""
        if self.least == self.most:
            return counted(self.least, "call")
        return f"{self.least:,} to {'many' if self.most is None else format(self.most, ',')} calls"


ONE_CALL = Calls(1, 1)
