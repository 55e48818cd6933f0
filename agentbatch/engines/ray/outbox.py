"""What a worker has to say, in batches, one at a time: each stays here until the driver acknowledges its number."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from agentbatch.engines.ray.parcels import Batch, FinishedRow, packed

MOST_BYTES = 1_000_000
"""Of results or of files in one batch, about."""

_GATHER_S = 0.02
"""After the first result a batch waits so long for more: a batch costs the driver half a millisecond."""


class Outbox:
    """Use on the worker's event loop. `make` makes the batch of a number, with so many results at most."""

    def __init__(self, make: Callable[[int, int], Batch]) -> None:
        self._make = make
        self._finished: deque[FinishedRow] = deque()
        self._bytes = 0
        self._something = asyncio.Event()
        self._urgent = asyncio.Event()
        self._number = 0
        self._said: bytes | None = None

    @property
    def empty(self) -> bool:
        """Whether no results wait."""
        return not self._finished

    def put(self, row: FinishedRow) -> None:
        """A result."""
        self._finished.append(row)
        self._bytes += _size(row)
        self._something.set()
        if self._bytes >= MOST_BYTES:
            self._urgent.set()

    def speak(self) -> None:
        """There is something to say beside results."""
        self._something.set()

    def hurry(self) -> None:
        """Somebody waits for the driver to hear it."""
        self._something.set()
        self._urgent.set()

    def rest(self) -> None:
        """All is said."""
        self._something.clear()
        self._urgent.clear()

    def take(self, most: int) -> list[FinishedRow]:
        """Results for one batch."""
        taken: list[FinishedRow] = []
        size = 0
        while self._finished and len(taken) < most and size < MOST_BYTES:
            taken.append(self._finished.popleft())
            size += _size(taken[-1])
        self._bytes -= size
        return taken

    async def drain(self, acknowledged: int, wait_s: float, most: int) -> bytes:
        """The batch after the acknowledged one, packed: the one that was said already, or a new one.

        Who asks again because no answer came may find that the first question still waits here. Both get the same
        batch, as nobody can tell which of the two is heard.
        """
        if self._number <= acknowledged:
            self._said = None
        if self._said is None:
            await self._gather(wait_s, most)
        if self._said is None:
            self._number += 1
            self._said = packed(self._make(self._number, most))
        return self._said

    async def _gather(self, wait_s: float, most: int) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._something.wait()
                if len(self._finished) < most and not self._urgent.is_set():
                    async with asyncio.timeout(_GATHER_S):
                        await self._urgent.wait()
        except TimeoutError:
            pass


def _size(row: FinishedRow) -> int:
    """Bytes of its line and of its trace."""
    return len(row[8]) + len(row[9] or b"")
