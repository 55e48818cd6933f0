"""Results handed to the program that runs the batch, each once it is kept, and no faster than it takes them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from agentbatch.results.writer import Sink

_MOST_WAITING = 1_000
"""Lines that the program has not taken; beyond it the workers wait."""


class Heard:
    """A `Sink` whose lines somebody is told, once they are kept."""

    def __init__(self, sink: Sink, hear: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._hear = hear

    def append(self, data: bytes) -> None:
        """Keep, then tell."""
        self._sink.append(data)
        self._hear(data)

    def close(self) -> None:
        """Close what keeps them."""
        self._sink.close()


class Nowhere:
    """A `Sink` that keeps nothing."""

    def append(self, data: bytes) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class Hearer:
    """A queue of result lines. Make it on the running event loop; only `hear` may be called from another thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._over = False

    def hear(self, data: bytes) -> None:
        """Take whole lines."""
        self._loop.call_soon_threadsafe(self._take, data)

    async def next(self) -> bytes | None:
        """The next line; None once there will be no more."""
        while not self._lines:
            if self._over:
                return None
            self._news.clear()
            await self._news.wait()
        line = self._lines.popleft()
        if len(self._lines) < _MOST_WAITING:
            self._room.set()
        return line

    def room(self) -> Awaitable[None] | None:
        """What to wait for before more results are made; None where there is room."""
        if len(self._lines) < _MOST_WAITING or self._over:
            return None
        self._room.clear()
        return self._until_room()

    def end(self) -> None:
        """No line will come any more, or nobody will take one."""
        self._over = True
        self._news.set()
        self._room.set()

    async def _until_room(self) -> None:
        await self._room.wait()

    def _take(self, data: bytes) -> None:
        self._lines.extend(data.split(b"\n")[:-1])
        self._news.set()
