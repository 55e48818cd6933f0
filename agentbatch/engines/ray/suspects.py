"""Items that a worker's process had when it died. Once may be chance; who is there each time may be why.

A function that ends its process, native code that crashes, or more memory than there is take along whatever else is in
flight there. Such an item must not do so for ever: what was there twice is dealt in few, then alone, and whoever was
alone when a process died is given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from agentbatch.items import Item

MOST_DEATHS = 4
_TOGETHER = {2: 8, 3: 1}
"""After so many deaths, so many items at once are on a worker that has nothing else."""


class Suspects:
    """Use on the driver's event loop."""

    def __init__(self) -> None:
        self._deaths: dict[int, int] = {}
        self._waiting: deque[Item] = deque()

    def __bool__(self) -> bool:
        """Whether any wait to be dealt."""
        return bool(self._waiting)

    def after_death(self, items: Iterable[Item]) -> tuple[list[Item], list[Item]]:
        """A process died that had these: those that are dealt like any others, and those that are given up."""
        unsuspected: list[Item] = []
        given_up: list[Item] = []
        for item in items:
            deaths = self._deaths[item.index] = self._deaths.get(item.index, 0) + 1
            if deaths >= MOST_DEATHS:
                given_up.append(item)
            else:
                (self._waiting if deaths in _TOGETHER else unsuspected).append(item)
        return unsuspected, given_up

    def cleared(self, index: int) -> None:
        """It has come to its end."""
        self._deaths.pop(index, None)

    def next(self, most: int) -> list[Item]:
        """Those that a worker without other items gets now, `most` of them at most."""
        together = [self._waiting.popleft()]
        deaths = self._deaths[together[0].index]
        room = min(most, _TOGETHER[deaths])
        while self._waiting and len(together) < room and self._deaths[self._waiting[0].index] == deaths:
            together.append(self._waiting.popleft())
        return together
