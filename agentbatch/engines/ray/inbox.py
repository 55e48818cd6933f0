"""The items that a worker was sent and has not begun."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterable

from agentbatch.items import Item


class Inbox:
    """Where a worker's engine takes its items from. Use on its event loop."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._wanted: deque[asyncio.Future[Item | None]] = deque()
        self._closed = False
        self._held = False

    def hold(self, held: bool) -> None:
        """Give out nothing for now, or go on."""
        if held != self._held:
            self._held = held
            self._serve()

    def put(self, items: Iterable[Item]) -> None:
        """More items to do; nothing is taken in once it is closed."""
        if not self._closed:
            self._items.extend(items)
            self._serve()

    def take(self) -> Item | Awaitable[Item | None] | None:
        """The next item, as soon as there is one; None when there will be none."""
        if self._items and not self._wanted and not self._held:
            return self._items.popleft()
        if self._closed:
            return None
        future: asyncio.Future[Item | None] = asyncio.get_running_loop().create_future()
        self._wanted.append(future)
        return future

    def close(self) -> None:
        """Give out no more items."""
        self._closed = True
        self._items.clear()
        self._serve()

    def _serve(self) -> None:
        while self._wanted and (self._closed or (self._items and not self._held)):
            future = self._wanted.popleft()
            if not future.done():
                future.set_result(self._items.popleft() if self._items else None)
