"""The limits of an agent or a model together, and one request's way through them.

The order of entry is always: agent before model, permits before rates. A holder waits only for what comes later in that
order, so no circle of waiting can close.
"""

from __future__ import annotations

from typing import Literal

from agentbatch.limits.permits import Permits
from agentbatch.limits.rate import Rate, RateLike
from agentbatch.limits.rate_queue import Grant
from agentbatch.time_book import Bound

_NO_LIMIT = 1_000_000_000


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
