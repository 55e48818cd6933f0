"""How much in any minute: a pace, and a ledger of the last minute."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal, Protocol

from agentbatch.limits.rate_queue import Grant, RateQueue, refuse_larger

WINDOW_S = 60.0
"""Rates are per minute, as providers state them."""

_JITTER_S = {"requests": 0.5, "tokens": 0.2}
"""A busy machine may squeeze requests together by so much; the books of a rate look back that much further. Of tokens
more is set aside than most requests need."""

_LOOK_AGAIN_S = 0.5
"""Where only requests that wait for another rate stand in the way: nobody knows when they go out."""

_ROUNDING = 1e-6
"""What a balance of many loans may be off by."""

_SLOWER = 1.015
"""A rate is paced this much slower than its limit, which pays for its burst."""


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
        self._waiting = RateQueue()
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
        return sum(amount for amount, future in self._waiting if not future.done())

    def first(self, most: int) -> tuple[float, ...]:
        """Units that each of the first in the queue waits for."""
        return self._waiting.first_few(most)

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
        refuse_larger(amount, self.limit, self.unit, self.owner)
        loop = asyncio.get_running_loop()
        if not self._waiting and not self.closed and self.ready_at(amount, loop.time()) <= loop.time():
            return self.enter(amount, loop.time())
        future = self._waiting.join(priority, amount)
        self._serve()
        return await self._waiting.turn(future, self._give_back)

    def _give_back(self, grant: Grant) -> None:
        self.settle(grant, 0)

    def turn_away(self, error: Exception) -> None:
        """Send everybody in the queue home with `error`."""
        self._waiting.turn_away(error)

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
            return now if self._loan.balance >= amount - _ROUNDING else inf
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
        while not self.closed and (amount := self._waiting.first()) is not None:
            now = loop.time()
            ready = self.ready_at(amount, now)
            if ready == inf and self._loan is not None:
                self._loan.on_want()
                return
            if ready > now:
                self._timer = loop.call_at(ready, self._serve)
                return
            self._waiting.let_in(self.enter(amount, now))


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
