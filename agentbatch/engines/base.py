"""The contract of an engine: items in, results out, somewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from agentbatch.items import Item, ItemResult
from agentbatch.progress.view import Pressure
from agentbatch.time_book import Waits

Deliver = Callable[[ItemResult], Awaitable[None] | None]
"""Told each result as its item ends. What it returns is awaited: that is how a slow disk holds the engine back."""


Take = Callable[[], Item | Awaitable[Item | None] | None]
"""Gives the next item, or None after the last; awaitable only where there may be one later (a pipe)."""


class Engine(Protocol):
    """Runs the workflow for many items. It is given data, so that a far worker can build the same from the same."""

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
