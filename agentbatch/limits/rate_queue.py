"""The queue before a rate: the smallest priority first, and within one priority in order of arrival."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush, nsmallest

from agentbatch.errors import BadRequest


@dataclass(slots=True, eq=False)
class Grant:
    """So much of a rate, taken at a time (loop clock, seconds)."""

    taken_at: float
    amount: float
    held: bool = False
    """Its request waits for something else, and has not gone out."""


class RateQueue:
    """Use on the event loop. Who has left stands in it until those before are let in."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, float, asyncio.Future[Grant]]] = []
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[tuple[float, asyncio.Future[Grant]]]:
        """What each waits for, and its future; only the first is in its place."""
        return ((amount, future) for _, _, amount, future in self._heap)

    def join(self, priority: int, amount: float) -> asyncio.Future[Grant]:
        """Stand in it; await what it returns by `turn`."""
        future: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heappush(self._heap, (priority, self._arrivals, amount, future))
        return future

    async def turn(self, future: asyncio.Future[Grant], give_back: Callable[[Grant], None]) -> Grant:
        """Wait to be let in. Who is let in and cancelled in the same moment gives back what it was granted."""
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():
                give_back(future.result())
            raise

    def first(self) -> float | None:
        """What the first waits for; None where nobody does."""
        while self._heap and self._heap[0][3].done():
            heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def first_few(self, most: int) -> tuple[float, ...]:
        """What each of the first waits for."""
        return tuple(amount for _, _, amount, future in nsmallest(most, self._heap) if not future.done())

    def let_in(self, grant: Grant) -> None:
        """The first may go."""
        heappop(self._heap)[3].set_result(grant)

    def turn_away(self, error: Exception) -> None:
        """Send everybody home with `error`."""
        heap, self._heap = self._heap, []
        for _, _, _, future in heap:
            if not future.done():
                future.set_exception(error)


def refuse_larger(amount: float, limit: int, unit: str, owner: str) -> None:
    """See that one request alone can be let in.

    Raises:
        BadRequest: it needs more than there is in a minute.
    """
    if amount > limit:
        raise BadRequest(
            f"one request needs about {amount:,.0f} {unit}, more than {owner} may use in a minute"
            f" ({limit:,}): raise the limit, shorten the prompt, or lower max_tokens"
        )
