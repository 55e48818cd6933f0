"""How much at once: a place for each, given to the earliest item first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from heapq import heappop, heappush


def _nothing() -> None:
    """Nobody wants to know."""


class Permits:
    """At most `limit` at once. The limit may change while it is in use; a hold lets nobody in for a while."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.most = limit
        """What the config says; `limit` is what is allowed now."""
        self._size = limit
        self._lent: int | None = None
        self.in_use = 0
        self.held_until = 0.0
        self.closed = False
        """Nobody is let in until it is opened."""
        self.on_wait: Callable[[], None] = _nothing
        """Called when somebody has to wait."""
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = 0

    @property
    def full(self) -> bool:
        return self.in_use >= self.limit

    @property
    def waiting(self) -> int:
        """How many wait in the queue."""
        return len(self._waiting)

    def try_acquire(self) -> bool:
        """Take a permit if one is free now and nobody waits for it."""
        if self._waiting or self.in_use >= self.limit or self.held_until or self.closed:
            return False
        self.in_use += 1
        return True

    async def acquire(self, priority: int) -> None:
        """Take a permit, waiting for it behind those with a smaller priority."""
        if self.try_acquire():
            return
        future = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heappush(self._waiting, (priority, self._arrivals, future))
        self.on_wait()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():
                self.release()  # granted in the same moment: hand it on
            raise

    def release(self) -> None:
        """Give a permit back."""
        self.in_use -= 1
        self._grant()

    @asynccontextmanager
    async def held(self, priority: int) -> AsyncGenerator[None]:
        """Hold a permit for as long as the `async with` lasts."""
        await self.acquire(priority)
        try:
            yield
        finally:
            self.release()

    def turn_away(self, error: Exception) -> None:
        """Send everybody in the queue home with `error`."""
        waiting, self._waiting = self._waiting, []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(error)

    def resize(self, limit: int) -> None:
        """Change the limit; those in flight beyond it stay, nobody new enters until they have left."""
        self._size = max(1, limit)
        self._fit()

    def lend(self, places: int) -> None:
        """So many of the limit are this process's own now; others have the rest."""
        self._lent = places
        self._fit()

    def _fit(self) -> None:
        self.limit = self._size if self._lent is None else min(self._size, self._lent)
        self._grant()

    def close(self) -> None:
        """Let nobody in any more; those inside stay."""
        self.closed = True

    def open(self) -> None:
        """Let them in again."""
        self.closed = False
        self._grant()

    def hold(self, until: float) -> None:
        """Let nobody in before `until` (loop time). A shorter hold never cuts a longer one."""
        if until <= self.held_until:
            return
        self.held_until = until
        asyncio.get_running_loop().call_at(until, self._end_hold)

    def _end_hold(self) -> None:
        if asyncio.get_running_loop().time() >= self.held_until - 1e-3:
            self.held_until = 0.0
            self._grant()

    def _grant(self) -> None:
        while self._waiting and self.in_use < self.limit and not self.held_until and not self.closed:
            _, _, future = heappop(self._waiting)
            if not future.done():
                self.in_use += 1
                future.set_result(None)
