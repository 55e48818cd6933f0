"""The canary of a run: drawn from its items, run before the others, and judged. Only runs that have one import this."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agentbatch.canary.source import CanaryItems
from agentbatch.canary.trial import Trial, decided, why_not
from agentbatch.items import Item
from agentbatch.process.control import Control
from agentbatch.progress import Tally
from agentbatch.results.book import ResultBook
from agentbatch.results.finished import FinishedItem
from agentbatch.results.lines import CountedLines, parse_result
from agentbatch.run.items import RunItems

if TYPE_CHECKING:
    from agentbatch.canary.findings import Canary
    from agentbatch.results.files import ResultFiles
    from agentbatch.run.options import Confirm


class RunCanary:
    """What is done with a `Trial` in its run.

    Attributes:
        found: what it said of the rest; None until all of it has ended.
    """

    def __init__(self, trial: Trial, items: RunItems, book: ResultBook, tally: Tally, control: Control) -> None:
        self._trial = trial
        self._items = items
        self._book = book
        self._tally = tally
        self._control = control
        self._given: CanaryItems | None = None
        self.found: Canary | None = None

    @property
    def sample(self) -> frozenset[int]:
        """The indexes of its items that this run has to do."""
        return self._trial.begun

    @property
    def refused(self) -> bool:
        """Whether there are others, and they were not to be run."""
        return self.found is not None and self.found.others > 0 and not self.found.went_on

    async def source(
        self, files: ResultFiles | None, rest: Callable[[], Iterator[Item]], confirm: Confirm | None
    ) -> CanaryItems:
        """Where the run's items come from: the sample, and, if that goes well and `confirm` agrees, the `rest`."""
        await asyncio.to_thread(self._draw, files)
        self._given = CanaryItems(self._trial.to_run, rest, lambda: self._goes_on(confirm))
        return self._given

    def ended(self, finished: FinishedItem) -> None:
        """An item has its result; those of the sample are looked at."""
        if self._given is None or finished.index not in self.sample:
            return
        line = parse_result(finished.line)
        assert line is not None  # it was made just now
        self._trial.take_in(line)
        self._given.ended(finished.index)

    def _draw(self, files: ResultFiles | None) -> None:
        """Choose the sample, and read what earlier runs paid for it."""
        self._trial.draw(self._items.good, self._items.is_done)
        self._items.to_do += len(self.sample)
        known = self._trial.known
        if known and files is not None:
            with CountedLines(files.results) as lines:
                for line in lines:
                    if line["index"] in known:
                        self._trial.take_in(line)

    async def _goes_on(self, confirm: Confirm | None) -> bool:
        """Whether to run the others, now that the sample has ended and is kept."""
        await self._book.settle()
        if self._control.stopping:
            return False
        # what workers elsewhere have spent is in their lines sooner than in the tally
        spent = self._book.spent_usd + max(self._tally.counts().cost_usd, self._trial.paid_usd)
        self.found = found = self._trial.findings(spent, self._items.total or 0)
        if not found.items:  # there was nothing that could be run
            return True
        goes_on = not found.against if confirm is None else await confirm(found)
        self.found = decided(found, goes_on)
        if not goes_on and found.others:
            self._control.stop(why_not(found))
        return goes_on
