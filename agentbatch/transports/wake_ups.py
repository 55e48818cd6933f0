"""Who waits for an answer is woken in the order the answers came, and only some in each turn of the event loop.

With thousands in flight thousands of answers come at once. If all who wait for them went on in the same turn, it would
take a second, in which no deadline is kept and nothing else is read or written.
"""

from __future__ import annotations

import asyncio
from collections import deque

_A_TURN = 32
"""What these do next takes some 10 ms: each ends an item, and begins the next."""


class WakeUps:
    """Used on one event loop, by all connections of a pool."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._woken = 0
        """In this turn."""
        self._late: deque[asyncio.Future[None]] = deque()

    def wake(self, waiter: asyncio.Future[None]) -> None:
        """Let whoever awaits `waiter` go on: in the next turn, or as soon as it is theirs."""
        if self._woken >= _A_TURN:
            self._late.append(waiter)
            return
        if not self._woken:
            self._loop.call_soon(self._begin_turn)
        self._woken += 1
        waiter.set_result(None)

    def _begin_turn(self) -> None:
        self._woken = 0
        late = self._late
        while late and self._woken < _A_TURN:
            waiter = late.popleft()
            if not waiter.done():
                self.wake(waiter)
