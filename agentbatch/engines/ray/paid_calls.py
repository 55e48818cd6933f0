"""The driver's end of the call journal: workers' finished calls to disk, and back to whoever gets an item again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from agentbatch.errors import OutputError
from agentbatch.items import Item
from agentbatch.kept.journal import Answers, CallRow, Entry, JournalFile


class PaidCalls:
    """Of the items in flight. `journal` None keeps nothing beyond this process."""

    def __init__(self, journal: JournalFile | None) -> None:
        self._journal = journal
        self._answers: dict[int, Answers] = {}
        self._settling: set[asyncio.Task[None]] = set()

    def of(self, items: Iterable[Item]) -> dict[int, Answers]:
        """What is paid for of these items, by their index."""
        answers = {item.index: self.answers(item.index) for item in items}
        return {index: found for index, found in answers.items() if found}

    def answers(self, item: int) -> Answers:
        """What is paid for of one item."""
        earlier = {} if self._journal is None else self._journal.known(item)
        return {**earlier, **self._answers.get(item, {})}

    def keep(self, calls: list[CallRow], then: Callable[[], None]) -> None:
        """Write finished calls to disk, `then` say so."""
        for call in calls:
            item, path, number, asked, answer, _ = call
            self._answers.setdefault(item, {})[path, number] = (asked, answer)
            if self._journal is not None:
                self._journal.record(Entry.unpacked(call))
        task = asyncio.create_task(self._settled(calls[-1][0], then))
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    def forget(self, item: int) -> None:
        """The item has its result."""
        self._answers.pop(item, None)

    async def _settled(self, item: int, then: Callable[[], None]) -> None:
        if self._journal is not None:
            try:
                await self._journal.settle(item)
            except OutputError:  # the journal has told the run itself, which ends
                return
        then()
