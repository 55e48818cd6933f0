"""The items that no worker has: those that come back from lost workers first, then the inputs."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

from agentbatch.engines.base import Take
from agentbatch.items import Item

_MOST_BYTES = 1_000_000
"""Of inputs that are given out at once, without the last of them: on its way a chunk is held whole, three times."""


class Backlog:
    """Use on the driver's event loop. `wake` is called when an item comes that was waited for."""

    def __init__(self, take: Take, wake: Callable[[], None]) -> None:
        self._take = take
        self._wake = wake
        self._returned: deque[Item] = deque()
        self._coming: asyncio.Future[Item | None] | None = None
        self._read_all = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing left to give out, now or later."""
        return self._read_all and not self._returned

    @property
    def waits(self) -> bool:
        """Whether the next item of the inputs is waited for."""
        return self._coming is not None and not self._coming.done()

    def give_back(self, items: Iterable[Item]) -> None:
        """These are to be done again, before all others."""
        self._returned.extend(items)

    def next(self, most: int) -> list[Item]:
        """So many items at most; fewer, or none, where they are large, or where more may come later."""
        items: list[Item] = []
        size = 0
        while len(items) < most and size < _MOST_BYTES:
            item = self._returned.popleft() if self._returned else self._from_inputs()
            if item is None:
                break
            items.append(item)
            size += _size(item.fields)
        return items

    def _from_inputs(self) -> Item | None:
        if self._read_all:
            return None
        if self._coming is not None:
            if not self._coming.done():
                return None
            item, self._coming = self._coming.result(), None
        else:
            taken = self._take()
            if taken is not None and not isinstance(taken, Item):
                self._coming = asyncio.ensure_future(taken)
                self._coming.add_done_callback(lambda _: self._wake())
                return self._from_inputs() if self._coming.done() else None
            item = taken
        self._read_all = item is None
        return item


def _size(value: Any) -> int:
    """About how many bytes it is when it travels."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return sum(len(name) + _size(each) for name, each in pairs)
    if isinstance(value, list):
        return sum(map(_size, cast("list[Any]", value)))
    return 8
