"""The contract of an engine: items in, results out, somewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from agentbatch.items import Item, ItemResult

Deliver = Callable[[ItemResult], Awaitable[None] | None]
"""Told each result as its item ends. What it returns is awaited: that is how a slow disk holds the engine back."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """How busy the engine is now, and what holds it back, in words for a person."""

    items_in_flight: int
    items_limit: int
    requests_in_flight: int
    requests_limit: int
    held_by: str


class Engine(Protocol):
    """Runs the workflow for many items. It is given data, so that a far worker can build the same from the same."""

    async def run(self, items: Iterator[Item], deliver: Deliver) -> None:
        """Run every item; returns when all have ended or the run was told to stop and what was in flight is over."""
        ...

    def pressure(self) -> Pressure:
        """A snapshot for the progress display; may be called from another thread."""
        ...

    def abandon(self) -> None:
        """Cancel everything in flight now."""
        ...
