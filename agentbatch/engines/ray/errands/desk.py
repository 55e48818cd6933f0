"""The driver's end of errands: who asked, who does it, and whom to ask when that one is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentbatch.engines.ray.errands.parcels import AskRow, NewsRow
from agentbatch.engines.ray.link import Link
from agentbatch.engines.ray.paid_calls import PaidCalls
from agentbatch.placement import Placement

_Key = tuple[str, int]


@dataclass(slots=True, eq=False)
class _Errand:
    """One that has not come back; `data` is kept so that another worker can be sent it."""

    caller: Link
    number: int
    placement: Placement
    item: int
    data: bytes
    server: Link | None = None
    working: bool = False
    dropped: bool = False
    """Its server is to end it, and says then what it has cost; nobody else begins it."""


class ErrandDesk:
    """Use on the driver's event loop. `links` gives the workers there are."""

    def __init__(self, links: Callable[[], Sequence[Link]], paid: PaidCalls) -> None:
        self._links = links
        self._paid = paid
        self._open: dict[_Key, _Errand] = {}

    @property
    def wanted(self) -> set[Placement]:
        """The placements that steps wait for which no worker does."""
        return {errand.placement for errand in self._open.values() if errand.server is None}

    def ask(self, caller: Link, row: AskRow) -> None:
        """A worker wants a step done elsewhere."""
        number, placement, item, data = row
        errand = _Errand(caller, number, placement, item, data)
        self._open[caller.name, number] = errand
        self._deal(errand)

    def tell(self, server: Link, news: NewsRow) -> None:
        """What a worker says of a step; who was given up is not listened to."""
        name, number, word, _ = news
        errand = self._open.get((name, number))
        if errand is None or errand.server is not server:
            return
        errand.working = word == "working"
        if word == "ended":
            del self._open[name, number]
            server.errands.discard((name, number))
            server.served += 1
        errand.caller.mail(news=news)

    def drop(self, caller: Link, number: int) -> None:
        """A step is no longer wanted; what it has cost is still to come."""
        errand = self._open.get((caller.name, number))
        if errand is None:
            return
        if errand.server is None:
            del self._open[caller.name, number]
        else:
            errand.dropped = True
            errand.server.mail(dropped=(caller.name, number))

    def lose(self, link: Link) -> None:
        """A worker has ended: its steps are done by another, and nobody waits for those it wanted."""
        for key, errand in list(self._open.items()):
            if errand.caller is link:
                del self._open[key]
                if errand.server is not None:
                    errand.server.errands.discard(key)
                    errand.server.mail(dropped=key)
            elif errand.server is link and errand.dropped:
                del self._open[key]
            elif errand.server is link:
                errand.server = None
                if errand.working:
                    errand.working = False
                    errand.caller.mail(news=(*key, "resting", None))
        link.errands.clear()
        self.deal()

    def deal(self) -> None:
        """Give out what nobody does."""
        for errand in self._open.values():
            if errand.server is None:
                self._deal(errand)

    def _deal(self, errand: _Errand) -> None:
        fitting = [each for each in self._links() if each.placement == errand.placement and each.state == "working"]
        if not fitting:
            return
        errand.server = min(fitting, key=lambda link: len(link.errands))
        key = errand.caller.name, errand.number
        errand.server.errands.add(key)
        errand.server.mail(errand=(*key, errand.item, errand.data, self._paid.answers(errand.item)))
