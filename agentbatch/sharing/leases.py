"""This process's part of shared limits: leases of rates and places, fetched in small batches by a thread of its own.

The event loop never touches the file. It says what it waits for; the thread opens the books, takes what there is, gives
back what was not used, and hands it over. Where the disk hangs requests wait, and nothing else does.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from agentbatch.limits import Grant, Permits
from agentbatch.limits.rate_queue import RateQueue, refuse_larger
from agentbatch.record import record
from agentbatch.sharing.books import LEASE_S, Lease, PlaceBook, RateBook
from agentbatch.sharing.books_file import BooksFile, begun_at

_T = TypeVar("_T")

_BUSY_S = 0.05
_IDLE_S = 0.5
"""How often the books are opened while something is waited for, and while nothing is."""


@dataclass(slots=True, eq=False)
class LeasedGrant(Grant):
    """So much of a lease."""

    lease: int = 0


@dataclass(slots=True, eq=False)
class _Held:
    """What is left of a lease."""

    number: int
    until: float
    left: float


class SharedRate:
    """A rate that is shared with other processes: the same to its users as a `Rate` of this process alone.

    Raises:
        BadRequest: from `take`, when one request alone is larger than the limit.
    """

    def __init__(self, name: str, limit: int, unit: Literal["requests", "tokens"], owner: str) -> None:
        self.name = name
        self.announced = False
        self.limit = limit
        self.unit: Literal["requests", "tokens"] = unit
        self.owner = owner
        self.wake: Callable[[], None] = _nothing
        self.closed = False
        self._held: list[_Held] = []
        self._corrections: dict[int, float] = {}
        self._waiting = RateQueue()

    @property
    def waiting(self) -> int:
        """How many wait in the queue."""
        return len(self._waiting)

    async def take(self, priority: int, amount: float) -> Grant:
        """Take `amount` units, waiting until they are leased."""
        refuse_larger(amount, self.limit, self.unit, self.owner)
        future = self._waiting.join(priority, amount)
        self.serve(asyncio.get_running_loop().time())
        if not future.done():
            self.wake()
        return await self._waiting.turn(future, self._give_back)

    def _give_back(self, grant: Grant) -> None:
        self.settle(grant, 0)

    def settle(self, grant: Grant, actual: float) -> None:
        """Correct a grant to what was really used; 0 when the request was never sent."""
        change, grant.amount = actual - grant.amount, actual
        if change and isinstance(grant, LeasedGrant):
            self._correct(grant.lease, change)

    def hold(self, grant: Grant) -> None:
        """The books know only when it was leased."""

    def goes_out(self, grant: Grant) -> None:
        """Nothing was held."""

    def turn_away(self, error: Exception) -> None:
        """Send everybody in the queue home with `error`."""
        self._waiting.turn_away(error)

    def resize(self, limit: int) -> None:
        """Change the limit of this process's requests to the books, from now on."""
        self.limit = limit
        self.wake()

    def put_off(self, seconds: float) -> None:
        """What others use shows in the books; there is nothing to put off."""

    def close(self) -> None:
        """Grant nothing more."""
        self.closed = True

    def open(self) -> None:
        """Grant again."""
        self.closed = False
        self.wake()

    def serve(self, now: float) -> None:
        """Let in whom the leases suffice for; what has run out is given back."""
        for held in self._held:
            if held.until <= now and held.left:
                self._correct(held.number, -held.left)
        self._held = [held for held in self._held if held.until > now]
        while not self.closed and (amount := self._waiting.first()) is not None:
            lease = next((held for held in self._held if held.left >= amount - 1e-9), None)
            if lease is None:
                return
            lease.left -= amount
            self._waiting.let_in(LeasedGrant(now, amount, lease=lease.number))

    def demand(self) -> tuple[float, float]:
        """How much is waited for, and how much by the first in the queue."""
        if self.closed or not self._waiting:
            return 0.0, 0.0
        return sum(amount for amount, _ in self._waiting), next(iter(self._waiting))[0]

    def corrections(self) -> dict[int, float]:
        """What the books have to be told of earlier leases."""
        told, self._corrections = self._corrections, {}
        return told

    def receive(self, number: int, amount: float, until: float) -> None:
        """A lease has come."""
        self._held.append(_Held(number, until, amount))

    def _correct(self, lease: int, change: float) -> None:
        self._corrections[lease] = self._corrections.get(lease, 0.0) + change


@dataclass(slots=True, eq=False)
class _Places:
    """Permits of this process, and how many there may be over all processes."""

    permits: Permits
    limit: int


@record
class _RateOrder:
    """What this process tells the books of one rate, and asks of it."""

    name: str
    limit: int
    wanted: float
    head: float
    corrections: Mapping[int, float]


@record
class _PlaceOrder:
    """What this process has of one limit in flight, and asks of it."""

    name: str
    limit: int
    wanted: int
    in_use: int


@record
class _Order:
    """All of that."""

    rates: Sequence[_RateOrder]
    places: Sequence[_PlaceOrder]

    @property
    def urgent(self) -> bool:
        """Whether anything is waited for."""
        waiting = any(rate.wanted for rate in self.rates)
        return waiting or any(place.wanted > place.in_use for place in self.places)


@record
class _Given:
    """What the books gave."""

    leases: Mapping[str, tuple[Lease, float]]
    """By name, with the time until which they may be used."""
    places: Mapping[str, int]


class SharedLimits:
    """All shared limits of this run. Call `start` on the loop, `close` at the end.

    Args:
        path: the file, the same for all processes.
        on_failure: called once, on the loop, with why the file can't be used.
    """

    def __init__(self, path: Path, on_failure: Callable[[str], None]) -> None:
        self._path = path
        self._on_failure = on_failure
        self._rates: dict[str, SharedRate] = {}
        self._places: dict[str, _Places] = {}
        self._urgent = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        begun = begun_at(os.getpid())
        self._holder, self._process = f"{os.getpid()}-{begun}-{id(self):x}", (os.getpid(), begun)

    def rate(self, name: str, limit: int, unit: Literal["requests", "tokens"], owner: str) -> SharedRate:
        """A shared rate of that name."""
        rate = SharedRate(f"{name} {unit}", limit, unit, owner)
        rate.wake = self._urgent.set
        self._rates[rate.name] = rate
        return rate

    def share_places(self, name: str, permits: Permits, limit: int) -> None:
        """Let these permits be used as far as the books say only."""
        permits.on_wait = self._urgent.set
        self._places[name] = _Places(permits, limit)

    def start(self) -> None:
        """Begin to look at the books."""
        self._loop = asyncio.get_running_loop()
        for shared in self._places.values():
            shared.permits.lend(0)
        if self._rates or self._places:
            self._thread = threading.Thread(target=self._keep, name="shared limits", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Give everything back, unless the disk hangs."""
        self._closing = True
        self._urgent.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def _keep(self) -> None:
        """The thread: one exchange after the other until closed."""
        books = BooksFile(self._path)
        try:
            while not self._closing:
                order = self._on_loop(self._order)
                if order is None:
                    return
                given = self._exchange(books, order)
                self._on_loop(partial(self._receive, given))
                if order.urgent:
                    time.sleep(_BUSY_S)
                else:
                    self._urgent.wait(_IDLE_S)
                self._urgent.clear()
            with books.changing() as last:
                last.forget([self._holder])
        except OSError as error:
            reason = f"limits.shared: {self._path}: {error.strerror or error}"
            self._on_loop(partial(self._on_failure, reason))

    def _exchange(self, file: BooksFile, order: _Order) -> _Given:
        leases: dict[str, tuple[Lease, float]] = {}
        places: dict[str, int] = {}
        with file.changing() as books:
            books.holders[self._holder] = self._process
            now = time.monotonic()
            for rate in order.rates:
                book = books.rates.setdefault(rate.name, RateBook())
                for number, change in rate.corrections.items():
                    book.correct(number, change, rate.limit)
                lease = book.give(self._holder, rate.limit, rate.wanted, rate.head, now)
                if lease is not None:
                    leases[rate.name] = lease, now + LEASE_S
            for each in order.places:
                book = books.places.setdefault(each.name, PlaceBook())
                places[each.name] = book.give(self._holder, each.limit, each.wanted, each.in_use)
        return _Given(leases, places)

    def _order(self) -> _Order:
        now = asyncio.get_running_loop().time()
        for rate in self._rates.values():
            rate.serve(now)
        return _Order(
            [_RateOrder(name, rate.limit, *rate.demand(), rate.corrections()) for name, rate in self._rates.items()],
            [self._place_order(name, shared) for name, shared in self._places.items()],
        )

    def _place_order(self, name: str, shared: _Places) -> _PlaceOrder:
        permits = shared.permits
        permits.lend(permits.in_use)  # nobody enters until the books have been asked
        return _PlaceOrder(name, shared.limit, min(permits.most, permits.in_use + permits.waiting), permits.in_use)

    def _receive(self, given: _Given) -> None:
        now = asyncio.get_running_loop().time()
        for name, (lease, until) in given.leases.items():
            self._rates[name].receive(lease.number, lease.amount, until)
        for rate in self._rates.values():
            rate.serve(now)
        for name, number in given.places.items():
            self._places[name].permits.lend(number)

    def _on_loop(self, what: Callable[[], _T]) -> _T | None:
        """Call something on the loop, and wait for what it returns; None when the loop is gone."""
        done = threading.Event()
        result: list[_T] = []

        def call() -> None:
            try:
                result.append(what())
            finally:
                done.set()

        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            return None
        while not done.wait(1.0):
            if self._closing or self._loop.is_closed():
                return None
        return result[0] if result else None


def _nothing() -> None:
    """Nobody looks after it yet."""
