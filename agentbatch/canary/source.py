"""Where the engine's workers take their items from in a run with a canary: a sample, a pause, the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from agentbatch.items import Item


class CanaryItems:
    """Gives out the sample; once that has ended, asks `goes_on`, and gives out the rest or nothing.

    Args:
        sample: the items of the canary.
        rest: begins with all others.
        goes_on: whether they are to be run; asked once, when every item of the sample has ended.
    """

    def __init__(
        self, sample: Iterator[Item], rest: Callable[[], Iterator[Item]], goes_on: Callable[[], Awaitable[bool]]
    ) -> None:
        self._items = sample
        self._rest = rest
        self._goes_on = goes_on
        self._under_way: set[int] = set()
        self._sample_given = self._decided = False
        self._wanted: list[asyncio.Future[Item | None]] = []
        self._deciding: asyncio.Task[None] | None = None

    def take(self) -> Item | Awaitable[Item | None] | None:
        """The next item, None after the last; awaitable between the sample and the rest."""
        if self._decided:
            return next(self._items, None)
        item = next(self._items, None)
        if item is not None:
            self._under_way.add(item.index)
            return item
        self._sample_given = True
        wanted: asyncio.Future[Item | None] = asyncio.get_running_loop().create_future()
        self._wanted.append(wanted)
        self._look()
        return wanted

    def ended(self, index: int) -> None:
        """An item has its result."""
        if index in self._under_way:
            self._under_way.remove(index)
            self._look()

    def is_all_out(self) -> bool:
        """Whether the whole sample is out and not all of it has ended: no item comes until then."""
        return self._sample_given and bool(self._under_way)

    def close(self) -> None:
        """Give out no more items."""
        if self._deciding is not None:
            self._deciding.cancel()
        self._decide(iter(()))

    def _look(self) -> None:
        if self._sample_given and not self._under_way and self._deciding is None and not self._decided:
            self._deciding = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        try:
            goes_on = await self._goes_on()
        except Exception as error:  # travels to whoever waits for an item, and so ends the run
            self._decided = True
            for wanted in self._wanted:
                if not wanted.done():
                    wanted.set_exception(error)
            return
        self._decide(self._rest() if goes_on else iter(()))

    def _decide(self, items: Iterator[Item]) -> None:
        self._items, self._decided = items, True
        for wanted in self._wanted:
            if not wanted.done():
                wanted.set_result(next(items, None))
        self._wanted.clear()
