"""Items that wait for a provider's batch: they hold a worker, and count as nothing that is in flight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager


class WaitingRoom:
    """Who waits, by item; an item may wait in several places at once.

    Attributes:
        most: items that may wait at once; more are not begun.
        on_enter: called when an item begins to wait.
        all_wait: whether every item in flight waits in here, and no other can be begun.
        none_comes: whether no other item comes before one of those in flight has ended, as in a canary.
    """

    def __init__(self) -> None:
        self.most = 0
        self.on_enter: Callable[[], None] = _nothing
        self.all_wait: Callable[[], bool] = _always
        self.none_comes: Callable[[], bool] = _never
        self._waits: Counter[int] = Counter()

    def __contains__(self, item: int) -> bool:
        return item in self._waits

    def __len__(self) -> int:
        return len(self._waits)

    @contextmanager
    def waiting(self, item: int) -> Generator[None]:
        """The item waits for as long as the `with` lasts."""
        self._waits[item] += 1
        self.on_enter()
        try:
            yield
        finally:
            self._waits[item] -= 1
            if not self._waits[item]:
                del self._waits[item]


def _nothing() -> None:
    """Nobody wants to know."""


def _always() -> bool:
    return True


def _never() -> bool:
    return False
