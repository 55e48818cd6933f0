"""A worker's end of the call journal: finished calls travel to the driver, who alone has the file.

As with the file itself, an item of one call needs none of it: its result line is quicker. Only an item that makes
another call waits until the driver says that what came before is on disk.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Set

from agentbatch.kept.journal import Answers, CallRow, Entry, Place, digest

LAZY_S = 0.1
"""An entry nobody waits for is sent after so long, unless its item has ended by then."""


class FarJournal:
    """Use on the worker's event loop. `hurry` is called when somebody waits for the driver's word."""

    def __init__(self, hurry: Callable[[], None]) -> None:
        self._hurry = hurry
        self._known: dict[int, Answers] = {}
        self._pending: dict[int, list[Entry]] = {}
        self._young: dict[int, list[Entry]] = {}
        self._through: dict[int, int] = {}
        self._outbox: list[CallRow] = []
        self._sent = 0
        self._kept = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def learn(self, paid: Mapping[int, Answers]) -> None:
        """What was paid for items in earlier lives."""
        self._known.update(paid)

    def begin(self, place: Place, *, work: bool = False) -> None:
        """Which calls have begun is not known beyond this process."""

    def recall(self, place: Place, asked: Callable[[], bytes]) -> bytes | None:
        """What an earlier life of the item paid for in this place."""
        known = self._known.get(place.item)
        found = None if known is None else known.get((place.path, place.number))
        return None if found is None or found[0] != digest(asked()) else found[1]

    def record(self, entry: Entry) -> None:
        """Keep a finished call, until its item ends or makes another."""
        self._pending.setdefault(entry.place.item, []).append(entry)

    async def settle(self, item: int) -> None:
        """Wait until the driver has all that the item did before on its disk."""
        self._post(item)
        due = self._through.get(item, 0)
        if due <= self._kept:
            return
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((due, kept))
        self._hurry()
        await kept

    def hand_over(self, item: int, paths: Set[str]) -> list[CallRow]:
        """These steps' finished calls that nobody has yet, from now on the business of whoever has the item."""
        entries = self._pending.get(item, [])
        mine = [entry for entry in entries if entry.place.path in paths]
        entries[:] = [entry for entry in entries if entry.place.path not in paths]
        if not entries:
            self._pending.pop(item, None)
        return [entry.packed for entry in mine]

    def forget(self, item: int) -> None:
        """The item has ended."""
        for entries in (self._pending, self._young, self._through, self._known):
            entries.pop(item, None)

    def on_kept(self, through: int) -> None:
        """The driver has so many calls on its disk."""
        self._kept = max(self._kept, through)
        while self._waiting and self._waiting[0][0] <= self._kept:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)

    def age(self) -> None:
        """Call every `LAZY_S` seconds: what has waited so long is sent."""
        for item in [item for item in self._young if item in self._pending]:
            self._post(item)
        self._young = dict(self._pending)

    def post_all(self) -> None:
        """Nothing more is done here: what is paid of items that have not ended is for whoever has them next."""
        for item in list(self._pending):
            self._post(item)

    def collect(self) -> tuple[list[CallRow], int]:
        """The calls to send now, and the number of the last."""
        outbox, self._outbox = self._outbox, []
        return outbox, self._sent

    def _post(self, item: int) -> None:
        for entry in self._pending.pop(item, ()):
            self._outbox.append(entry.packed)
            self._sent += 1
            self._through[item] = self._sent
