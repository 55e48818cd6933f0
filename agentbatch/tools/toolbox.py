"""All tools of one agent, by the names its model knows them by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from agentbatch.errors import ToolFault
from agentbatch.messages import ToolSpec
from agentbatch.record import record
from agentbatch.tools.offer import Offer


@record
class Offers:
    """Tools that are there. `specs` is the same object in every request, so that providers encode it once."""

    by_name: Mapping[str, Offer]
    specs: tuple[ToolSpec, ...]


class ToolSource(Protocol):
    """Where an agent's tools come from: one from the config, or all that a server has.

    `open` may connect and ask; it is called before an item's first turn, by many items at once, and again after it
    raised a `StepError`, which is that item's own.
    """

    async def open(self) -> Sequence[Offer]:
        """The tools that are there, in a fixed order."""
        ...


@record
class OneTool:
    """A `ToolSource` of one tool that is always there."""

    offer: Offer

    async def open(self) -> Sequence[Offer]:
        """That tool."""
        return (self.offer,)


class Toolbox:
    """Opens an agent's sources when its first item comes."""

    def __init__(self, sources: Sequence[ToolSource]) -> None:
        self._sources = tuple(sources)
        self._offers: Offers | None = None

    async def open(self) -> Offers:
        """The tools of all sources.

        Raises:
            ToolFault: two of them have the same name.
            StepError: a source can't be opened; the next item tries again.
        """
        if self._offers is None:
            found: dict[str, Offer] = {}
            for source in self._sources:
                for offer in await source.open():
                    if found.setdefault(offer.spec.name, offer) is not offer:
                        raise ToolFault(f"two tools have the name {offer.spec.name!r}: take one out, or rename it")
            self._offers = Offers(found, tuple(offer.spec for offer in found.values()))
        return self._offers
