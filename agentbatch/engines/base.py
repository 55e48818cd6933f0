"""The contract of an engine: items in, results out, somewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

from agentbatch.items import Item, ItemResult
from agentbatch.progress.view import Pressure
from agentbatch.results.finished import FinishedItem
from agentbatch.time_book import Waits

Deliver = Callable[[ItemResult | FinishedItem], Awaitable[None] | None]
"""Told each result as its item ends. What it returns is awaited: that is how a slow disk holds the engine back."""


Take = Callable[[], Item | Awaitable[Item | None] | None]
"""Gives the next item, or None after the last; awaitable only where there may be one later (a pipe)."""


class Engine(Protocol):
    """Runs the workflow for many items. It is given data, so that a far worker can build the same from the same.

    Use as `async with`. What travels is data, too: a far engine delivers items in the form in which they are written.
    """

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know before the run begins."""
        ...

    @property
    def unfinished_usd(self) -> float:
        """US dollars that attempts may have cost whose items did not come to their end; right once the run is over."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def run(self, take: Take, deliver: Deliver) -> None:
        """Run every item; returns when all have ended or the run was told to stop and what was in flight is over."""
        ...

    def pressure(self) -> Pressure:
        """A snapshot for the progress display; may be called from another thread."""
        ...

    def waits(self) -> Waits:
        """What the items in flight wait for now, for the books of the run's time; asked on the event loop."""
        ...

    def abandon(self) -> None:
        """Cancel everything in flight now."""
        ...
