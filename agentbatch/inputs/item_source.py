"""Where the engine's workers take their items from: a file read in passing, or a pipe read by a thread."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Iterator

from agentbatch.items import Item

_READ_AHEAD = 64


class FileItems:
    """Items of a file: reading one takes microseconds, so the worker that wants it does."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items

    def take(self) -> Item | None:
        """The next item, None after the last."""
        return next(self._items, None)

    def close(self) -> None:
        """Give out no more items."""
        self._items = iter(())


class StreamItems:
    """Items of a pipe, which may keep a reader waiting for ever: a daemon thread reads a little ahead."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready: deque[Item] = deque()
        self._wanted: deque[asyncio.Future[Item | None]] = deque()
        self._room = threading.Semaphore(_READ_AHEAD)
        self._ended = False
        self._fault: BaseException | None = None
        threading.Thread(target=self._read, args=(items,), name="input reader", daemon=True).start()

    def take(self) -> Awaitable[Item | None]:
        """The next item when it comes, None after the last."""
        future: asyncio.Future[Item | None] = self._loop.create_future()
        self._wanted.append(future)
        self._serve()
        return future

    def close(self) -> None:
        """Give out no more items; those who wait for one get None."""
        self._ready.clear()
        self._end(None)
        self._room.release()  # the reader may go, unless it waits for the pipe

    def _read(self, items: Iterator[Item]) -> None:
        fault: BaseException | None = None
        try:
            for item in items:
                self._room.acquire()
                if self._ended:
                    return
                self._loop.call_soon_threadsafe(self._add, item)
        except Exception as error:  # travels to whoever takes the next item
            fault = error
        try:
            self._loop.call_soon_threadsafe(self._end, fault)
        except RuntimeError:
            pass  # the loop is gone: the run ended before its inputs did

    def _add(self, item: Item) -> None:
        if not self._ended:
            self._ready.append(item)
            self._serve()

    def _end(self, fault: BaseException | None) -> None:
        self._ended = True
        self._fault = self._fault or fault
        self._serve()

    def _serve(self) -> None:
        while self._wanted and (self._ready or self._ended):
            future = self._wanted.popleft()
            if future.done():
                continue
            if self._ready:
                future.set_result(self._ready.popleft())
                self._room.release()
            elif self._fault is not None:
                future.set_exception(self._fault)
            else:
                future.set_result(None)
