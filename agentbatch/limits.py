"""How much at once, how much in any minute, how much money: the limits, and the queue before each.

Every queue serves the smallest priority first, and within one priority in order of arrival. The priority is the item's
index, so that items that began early finish instead of all being half done. Only the head of a queue is served, so that
a large request is never starved by small ones behind it.

The order of entry is always: agent before model, permits before rates. A holder waits only for what comes later in that
order, so no circle of waiting can close.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from typing import Literal, Protocol

from agentbatch.errors import BadRequest, RunStopped
from agentbatch.time_book import Bound

WINDOW_S = 60.0
"""Rates are per minute, as providers state them."""

_JITTER_S = {"requests": 0.5, "tokens": 0.2}
"""A busy machine may squeeze requests together by so much; the books of a rate look back that much further. Of tokens
more is set aside than most requests need."""

_LOOK_AGAIN_S = 0.5
"""Where only requests that wait for another rate stand in the way: nobody knows when they go out."""

_NO_LIMIT = 1_000_000_000

_SLOWER = 1.015
"""A rate is paced this much slower than its limit, which pays for its burst."""


def _nothing() -> None:
    """Nobody wants to know."""


class Permits:
    """At most `limit` at once. The limit may change while it is in use; a hold lets nobody in for a while."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.most = limit
        """What the config says; `limit` is what is allowed now."""
        self._size = limit
        self._lent: int | None = None
        self.in_use = 0
        self.held_until = 0.0
        self.closed = False
        """Nobody is let in until it is opened."""
        self.on_wait: Callable[[], None] = _nothing
        """Called when somebody has to wait."""
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = 0

    @property
    def full(self) -> bool:
        return self.in_use >= self.limit

    @property
    def waiting(self) -> int:
        """How many wait in the queue."""
        return len(self._waiting)

    def try_acquire(self) -> bool:
        """Take a permit if one is free now and nobody waits for it."""
        if self._waiting or self.in_use >= self.limit or self.held_until or self.closed:
            return False
        self.in_use += 1
        return True

    async def acquire(self, priority: int) -> None:
        """Take a permit, waiting for it behind those with a smaller priority."""
        if self.try_acquire():
            return
        future = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heappush(self._waiting, (priority, self._arrivals, future))
        self.on_wait()
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():
                self.release()  # granted in the same moment: hand it on
            raise

    def release(self) -> None:
        """Give a permit back."""
        self.in_use -= 1
        self._grant()

    @asynccontextmanager
    async def held(self, priority: int) -> AsyncGenerator[None]:
        """Hold a permit for as long as the `async with` lasts."""
        await self.acquire(priority)
        try:
            yield
        finally:
            self.release()

    def turn_away(self, error: Exception) -> None:
        """Send everybody in the queue home with `error`."""
        waiting, self._waiting = self._waiting, []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(error)

    def resize(self, limit: int) -> None:
        """Change the limit; those in flight beyond it stay, nobody new enters until they have left."""
        self._size = max(1, limit)
        self._fit()

    def lend(self, places: int) -> None:
        """So many of the limit are this process's own now; others have the rest."""
        self._lent = places
        self._fit()

    def _fit(self) -> None:
        self.limit = self._size if self._lent is None else min(self._size, self._lent)
        self._grant()

    def close(self) -> None:
        """Let nobody in any more; those inside stay."""
        self.closed = True

    def open(self) -> None:
        """Let them in again."""
        self.closed = False
        self._grant()

    def hold(self, until: float) -> None:
        """Let nobody in before `until` (loop time). A shorter hold never cuts a longer one."""
        if until <= self.held_until:
            return
        self.held_until = until
        asyncio.get_running_loop().call_at(until, self._end_hold)

    def _end_hold(self) -> None:
        if asyncio.get_running_loop().time() >= self.held_until - 1e-3:
            self.held_until = 0.0
            self._grant()

    def _grant(self) -> None:
        while self._waiting and self.in_use < self.limit and not self.held_until and not self.closed:
            _, _, future = heappop(self._waiting)
            if not future.done():
                self.in_use += 1
                future.set_result(None)


@dataclass(slots=True, eq=False)
class Loan:
    """Units of a rate that this process may use, borrowed from whoever keeps its books.

    Attributes:
        balance: units at hand; below zero where more was used than was reserved.
        used: units ever used, by which the need for more is judged.
        on_want: called when somebody waits for more than is at hand.
    """

    on_want: Callable[[], None]
    balance: float = 0.0
    used: float = 0.0

    def take(self, amount: float) -> None:
        """So much is used; less than zero is given back."""
        self.balance -= amount
        self.used += amount


@dataclass(slots=True, eq=False)
class Grant:
    """So much of a rate, taken at a time (loop clock, seconds)."""

    taken_at: float
    amount: float
    held: bool = False
    """Its request waits for something else, and has not gone out."""


class Rate:
    """At most `limit` units in any 60 s, evenly paced.

    Two rules together: a pace (a generic cell rate algorithm, a little slower than the limit, with a small burst),
    which keeps requests apart as providers that count over shorter periods want it; and a ledger of the last minute,
    which makes the limit exact whatever was settled later. `slack_s` seconds of pace that was not used, or was given
    back, may be caught up on.

    Raises:
        BadRequest: from `take`, when one request alone is larger than the limit.
    """

    def __init__(self, limit: int, unit: Literal["requests", "tokens"], owner: str, *, announced: bool = False) -> None:
        self.unit: Literal["requests", "tokens"] = unit
        self.owner = owner
        self.limit = limit
        self.announced = announced
        """The server said so, not the config: a request that is larger is sent, for the server to judge."""
        self.closed = False
        """Nothing is granted until it is opened."""
        self._kept_s = WINDOW_S + _JITTER_S[unit]
        self._set_pace()
        self._next = 0.0
        self._ledger: deque[Grant] = deque()
        self._in_window = 0.0
        self._on_hold = 0.0
        self._waiting: list[tuple[int, int, float, asyncio.Future[Grant]]] = []
        self._arrivals = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loan: Loan | None = None

    @property
    def waiting(self) -> int:
        """How many wait in the queue."""
        return len(self._waiting)

    def enter_past(self, at: float, amount: float) -> None:
        """Enter what was used before this rate began, in the order of time (loop clock, seconds)."""
        self._ledger.append(Grant(at, amount))
        self._in_window += amount
        self._next = max(self._next, at - self._slack_s) + amount * self._seconds_per_unit

    def put_off(self, seconds: float) -> None:
        """Let nobody in for so long; a shorter wait never cuts a longer one."""
        if seconds > 0:
            self._next = max(self._next, asyncio.get_running_loop().time() + min(seconds, WINDOW_S))

    @property
    def wanted(self) -> float:
        """Units that the queue waits for."""
        return sum(amount for _, _, amount, future in self._waiting if not future.done())

    def borrow(self, loan: Loan) -> None:
        """From now on grant only what was borrowed: the books are kept elsewhere."""
        self._loan = loan

    def repaid(self) -> None:
        """There is more on loan."""
        self._serve()

    async def take(self, priority: int, amount: float) -> Grant:
        """Take `amount` units, waiting until they are free."""
        if self.announced:
            amount = min(amount, self.limit)
        if amount > self.limit:
            raise BadRequest(
                f"one request needs about {amount:,.0f} {self.unit}, more than {self.owner} may use in a minute"
                f" ({self.limit:,}): raise the limit, shorten the prompt, or lower max_tokens"
            )
        loop = asyncio.get_running_loop()
        if not self._waiting and not self.closed and self.ready_at(amount, loop.time()) <= loop.time():
            return self.enter(amount, loop.time())
        future: asyncio.Future[Grant] = loop.create_future()
        self._arrivals += 1
        heappush(self._waiting, (priority, self._arrivals, amount, future))
        self._serve()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and not future.exception():
                self.settle(future.result(), 0)
            raise

    def turn_away(self, error: Exception) -> None:
        """Send everybody in the queue home with `error`."""
        waiting, self._waiting = self._waiting, []
        for _, _, _, future in waiting:
            if not future.done():
                future.set_exception(error)

    def settle(self, grant: Grant, actual: float) -> None:
        """Correct a grant to what was really used; 0 when the request was never sent.

        What is more than the limit counts as the limit: a whole window is all that anybody has to wait for it.
        """
        actual = min(actual, max(self.limit, grant.amount))
        change = actual - grant.amount
        if not change:
            return
        grant.amount = actual
        if self._loan is not None:
            self._loan.take(change)
            self._serve()
            return
        self._next += change * self._seconds_per_unit
        if grant.held:
            self._on_hold += change
            self._in_window += change
        elif grant.taken_at > asyncio.get_running_loop().time() - self._kept_s:
            self._in_window += change
        if self._waiting:
            self._serve()

    def hold(self, grant: Grant) -> None:
        """Its request has to wait for another rate: it counts from when it goes out, and until then as well."""
        if self._loan is not None:
            return
        behind: list[Grant] = []
        while self._ledger and self._ledger[-1] is not grant:
            behind.append(self._ledger.pop())
        if self._ledger:
            self._ledger.pop()
            grant.held = True
            self._on_hold += grant.amount
        self._ledger.extend(reversed(behind))

    def goes_out(self, grant: Grant) -> None:
        """The request of a grant that was held goes out now."""
        if grant.held:
            grant.held = False
            self._on_hold -= grant.amount
            grant.taken_at = asyncio.get_running_loop().time()
            self._ledger.append(grant)

    def resize(self, limit: int) -> None:
        """Change the limit, from now on. Whoever waits for more than it allows is let in when all else is quiet."""
        now = asyncio.get_running_loop().time()
        before = self._seconds_per_unit
        self.limit = limit
        self._set_pace()
        if self._next > now:
            self._next = now + (self._next - now) * self._seconds_per_unit / before
        self._serve()

    def close(self) -> None:
        """Grant nothing more."""
        self.closed = True

    def open(self) -> None:
        """Grant again, at the same pace: what was not used meanwhile is gone."""
        self.closed = False
        self._serve()

    def _set_pace(self) -> None:
        self._seconds_per_unit = WINDOW_S / self.limit * _SLOWER
        self._slack_s = 2.0 if self.unit == "tokens" else int(self.limit * 0.007) * self._seconds_per_unit

    def ready_at(self, amount: float, now: float) -> float:
        """The earliest time at which both the pace and the ledger let `amount` in; infinity where a loan is short."""
        if self._loan is not None:
            return now if self._loan.balance >= amount else inf
        ready = self._next
        self._forget(now)
        excess = self._in_window + amount - self.limit
        if excess > 1e-9:
            for grant in self._ledger:
                excess -= grant.amount
                if excess <= 1e-9:
                    return max(ready, grant.taken_at + self._kept_s)
            if self._on_hold:
                return max(ready, now + _LOOK_AGAIN_S)
        return ready

    def _forget(self, now: float) -> None:
        while self._ledger and self._ledger[0].taken_at <= now - self._kept_s:
            self._in_window -= self._ledger.popleft().amount
        if not self._ledger:
            self._in_window = self._on_hold

    def enter(self, amount: float, now: float) -> Grant:
        """Enter `amount` in the books; its time has come."""
        grant = Grant(now, amount)
        if self._loan is not None:
            self._loan.take(amount)
            return grant
        self._ledger.append(grant)
        self._in_window += amount
        self._next = max(self._next, now - self._slack_s) + amount * self._seconds_per_unit
        return grant

    def _serve(self) -> None:
        """Let in those at the head whose time has come, and set one timer for the next."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and not self.closed:
            _, _, amount, future = self._waiting[0]
            if future.done():
                heappop(self._waiting)
                continue
            now = loop.time()
            ready = self.ready_at(amount, now)
            if ready == inf and self._loan is not None:
                self._loan.on_want()
                return
            if ready > now:
                self._timer = loop.call_at(ready, self._serve)
                return
            heappop(self._waiting)
            future.set_result(self.enter(amount, now))


class RateLike(Protocol):
    """A rate, of this process alone or shared with others."""

    limit: int
    unit: Literal["requests", "tokens"]
    announced: bool

    @property
    def waiting(self) -> int:
        """How many wait in the queue."""
        ...

    async def take(self, priority: int, amount: float) -> Grant:
        """Take `amount` units, waiting until they are free."""
        ...

    def settle(self, grant: Grant, actual: float) -> None:
        """Correct a grant to what was really used."""
        ...

    def hold(self, grant: Grant) -> None:
        """The request waits for another rate, and has not gone out."""
        ...

    def goes_out(self, grant: Grant) -> None:
        """Now it does."""
        ...

    def turn_away(self, error: Exception) -> None:
        """Send everybody in the queue home with `error`."""
        ...

    def resize(self, limit: int) -> None:
        """Change the limit, from now on."""
        ...

    def put_off(self, seconds: float) -> None:
        """Let nobody in for so long."""
        ...

    def close(self) -> None:
        """Grant nothing more."""
        ...

    def open(self) -> None:
        """Grant again."""
        ...


class Limiter:
    """All limits of one agent or one model, as the config states them."""

    def __init__(
        self, owner: str, *, max_concurrency: int | None = None, rpm: int | None = None, tpm: int | None = None
    ) -> None:
        self.owner = owner
        self.permits = None if max_concurrency is None else Permits(max_concurrency)
        self.rpm: RateLike | None = None if rpm is None else Rate(rpm, "requests", owner)
        self.tpm: RateLike | None = None if tpm is None else Rate(tpm, "tokens", owner)
        self.learnt: Rate | None = None
        """Requests a minute that the server was found to take."""

    @property
    def _queues(self) -> tuple[Permits | RateLike | None, ...]:
        return self.permits, self.rpm, self.tpm, self.learnt

    @property
    def unlimited(self) -> bool:
        return self.permits is None and self.rpm is None and self.tpm is None

    def rate(self, unit: Literal["requests", "tokens"]) -> RateLike | None:
        """The limit per minute of that unit."""
        return self.rpm if unit == "requests" else self.tpm

    def announce(self, rate: RateLike) -> None:
        """From now on this limit holds as well."""
        if rate.unit == "requests":
            self.rpm = rate
        else:
            self.tpm = rate

    def withdraw(self, rate: RateLike) -> None:
        """This limit holds no longer; those who wait for it are let in."""
        if rate is self.learnt:
            self.learnt = None
        elif rate is self.rpm:
            self.rpm = None
        else:
            self.tpm = None
        rate.resize(_NO_LIMIT)

    def turn_away(self, error: Exception) -> None:
        """Send everybody who waits for any of these limits home with `error`."""
        for queue in self._queues:
            if queue is not None:
                queue.turn_away(error)

    def pause(self, pausing: bool) -> None:
        """Let nobody through, or go on."""
        for queue in self._queues:
            if queue is not None and pausing:
                queue.close()
            elif queue is not None:
                queue.open()

    @property
    def waiting(self) -> int:
        """How many wait for any of these limits."""
        return sum(queue.waiting for queue in self._queues if queue is not None)

    def rate_held_by(self) -> tuple[Bound | None, int]:
        """The rate that requests wait for now, and how many do."""
        if self.tpm is not None and self.tpm.waiting:
            return Bound("tpm", self.owner), self.tpm.waiting
        for rate in (self.rpm, self.learnt):
            if rate is not None and rate.waiting:
                return Bound("rpm", self.owner), rate.waiting
        return None, 0


class Admission:
    """One request's way through its limiters: permits first, then rates; all given back on every exit.

    Use as `async with Admission(limiters, priority, tokens) as admission:`, and say `admission.used(tokens)` when the
    true number is known; an admission that is left without it keeps its estimate in the books.
    """

    __slots__ = ("_grants", "_limiters", "_permits", "_priority", "_tokens")

    def __init__(self, limiters: tuple[Limiter, ...], priority: int, tokens: float) -> None:
        self._limiters = limiters
        self._priority = priority
        self._tokens = tokens
        self._permits: list[Permits] = []
        self._grants: list[tuple[RateLike, Grant]] = []

    async def __aenter__(self) -> Admission:
        try:
            for limiter in self._limiters:
                permits = limiter.permits
                if permits is not None:
                    if not permits.try_acquire():
                        await permits.acquire(self._priority)
                    self._permits.append(permits)
            for limiter in self._limiters:
                if limiter.rpm is not None:
                    await self._take(limiter.rpm, 1)
                if limiter.learnt is not None:
                    await self._take(limiter.learnt, 1)
                if limiter.tpm is not None:
                    await self._take(limiter.tpm, self._tokens)
            for rate, grant in self._grants:
                if grant.held:
                    rate.goes_out(grant)
        except BaseException:
            for rate, grant in self._grants:
                rate.settle(grant, 0)
            self._release()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._release()

    async def _take(self, rate: RateLike, amount: float) -> None:
        """Take from one more rate; those taken before count from when all of them are."""
        if self._grants:
            before, grant = self._grants[-1]
            before.hold(grant)
        self._grants.append((rate, await rate.take(self._priority, amount)))

    def used(self, tokens: float) -> None:
        """Correct the reserved tokens to those the provider counted."""
        for rate, grant in self._grants:
            if rate.unit == "tokens":
                rate.settle(grant, tokens)

    def _release(self) -> None:
        for permits in reversed(self._permits):
            permits.release()


_ROUNDING_USD = 1e-12
"""What sums of what was set aside and given back may leave over."""


class Budget:
    """A hard cap in US dollars: what a request could cost at worst is set aside before it is sent."""

    def __init__(self, cap: float | None, spent: float = 0.0) -> None:
        self.cap = cap
        self.spent = spent
        self.set_aside = 0.0
        self.item_cap: float | None = None
        """US dollars that one item may cost."""
        self.nobodys = nullcontext(Spending(self, 0.0))
        """For requests of items that may cost anything."""
        self.unfinished = 0.0
        """What attempts may have cost whose items did not come to their end."""
        self.on_want: Callable[[], None] | None = None
        """Set where the cap is borrowed and may grow: called when a request needs more of it."""
        self.exhausted: str | None = None
        """Why it won't."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._lacking: dict[asyncio.Future[None], float] = {}

    @property
    def caps(self) -> bool:
        """Whether anything has to be set aside: for the run, or for its items."""
        return self.cap is not None or self.item_cap is not None

    @property
    def waiting(self) -> int:
        """How many requests wait until others have cost less than they could."""
        return len(self._waiting)

    @property
    def lacking(self) -> tuple[float, ...]:
        """What each request that waits wants to set aside."""
        return tuple(self._lacking.values())

    def reserved(self, usd: float) -> Spending:
        """`async with budget.reserved(worst) as spending:` sets `usd` aside; at its end `spending.usd` was spent.

        Entering waits while only requests in flight stand in the way: most cost less than they could.

        Raises:
            RunStopped: on entering, when the cap could be passed whatever those cost.
        """
        return Spending(self, usd)

    async def enter(self, usd: float) -> None:
        """Set `usd` aside, as soon as it fits."""
        while self.cap is not None and (self.spent + usd > self.cap or self.spent + self.set_aside + usd > self.cap):
            if self.exhausted is not None:
                raise RunStopped(self.exhausted)
            if self.on_want is not None:
                self.on_want()
            elif self.spent + usd > self.cap:
                raise RunStopped(
                    f"max_cost ${self.cap:g} is reached: ${self.spent:.4f} spent, and the next request could cost"
                    f" ${usd:.4f}"
                )
            freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(freed)
            self._lacking[freed] = usd
            try:
                await freed
            finally:
                del self._lacking[freed]
        self.set_aside += usd

    async def enter_with_rest(self) -> float:
        """Set aside all that is left of the cap, as soon as nothing else is; how much that is, for `leave`."""
        while self.set_aside > _ROUNDING_USD:
            freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(freed)
            await freed
        rest = 0.0 if self.cap is None else max(0.0, self.cap - self.spent)
        self.set_aside += rest
        return rest

    def leave(self, usd: float, spent: float) -> None:
        """Replace what was set aside by what was really spent."""
        self.spent += spent
        self.set_aside -= usd
        self._look_again()

    def set_cap(self, cap: float) -> None:
        """Change the cap. What was sent without one, for items that may cost anything, was not set aside."""
        self.cap = cap
        self._look_again()

    def exhaust(self, why: str) -> None:
        """The cap won't grow any more."""
        self.exhausted = why
        self._look_again()

    def _look_again(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for freed in waiting:
            if not freed.done():
                freed.set_result(None)


class Spending:
    """One request's share of the budget, while it lasts."""

    __slots__ = ("_budget", "_set_aside", "usd")

    def __init__(self, budget: Budget, set_aside: float) -> None:
        self._budget = budget
        self._set_aside = set_aside
        self.usd = 0.0

    def all(self) -> None:
        """What it has really cost is not known: it counts as all that was set aside."""
        self.usd = self._set_aside

    async def __aenter__(self) -> Spending:
        await self._budget.enter(self._set_aside)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._budget.leave(self._set_aside, self.usd)
