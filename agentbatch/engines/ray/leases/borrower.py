"""A worker's end of the bank of limits: reports what is used and wanted, and lends the answer to the local limits.

Rates are borrowed a little ahead of need, so that a call rarely waits for the way to the bank and back. A worker that
can't reach the bank for half the time that a lease lasts stops its own calls: after that time others have its share.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from agentbatch.endpoints.endpoint import Endpoint
from agentbatch.engines.ray.leases.loans import Answer, Holding, Need, Report, Terms
from agentbatch.limits import Budget, Limiter, Loan, Rate

_LEAST_S = 0.005
_QUIET_S = 0.25
_IDLE_S = 1.0
"""What was borrowed and not used for so long goes back."""

_MOST_FIRST = 32
"""Requests that wait of which a report says how much each needs: it comes again in milliseconds."""

_PAUSE_GRAIN_S = 0.25


@dataclass(slots=True, eq=False)
class _Borrowed:
    """One rate of this worker: what it has on loan, and what it gave back."""

    rate: Rate
    loan: Loan
    lent: float = 0.0
    returned: float = 0.0
    used_before: float = 0.0
    last_used: float = 0.0

    def need(self, now: float) -> Need:
        """What to report."""
        used, self.used_before = self.loan.used - self.used_before, self.loan.used
        waiting, first = (0.0, ()) if self.rate.closed else (self.rate.wanted, self.rate.first(_MOST_FIRST))
        if used or waiting:
            self.last_used = now
        too_little = bool(first) or self.loan.balance < 0  # for what waits; it is lent whole
        if too_little or (not waiting and now - self.last_used > _IDLE_S):
            self.returned += self.loan.balance
            self.loan.balance = 0.0
        ahead = max(0.0, 2 * used)
        return Need(self.returned, max(0.0, waiting + ahead - self.loan.balance), first)

    def lend(self, lent: float) -> None:
        """So much was ever lent to this worker."""
        if lent > self.lent:
            self.loan.balance += lent - self.lent
            self.lent = lent
            self.rate.repaid()


class Borrower:
    """Use on the engine's loop: `open` it before the engine runs, and `keep_up` while it does.

    Args:
        call: hands a packed `Report` to the bank; its packed `Answer`.
        on_silence: called when the bank was out of reach for half of `ttl_s` seconds.
    """

    def __init__(
        self,
        worker: str,
        limiters: Iterable[Limiter],
        endpoints: Mapping[str, Endpoint],
        budget: Budget,
        call: Callable[[bytes], Awaitable[bytes]],
        ttl_s: float,
        on_silence: Callable[[], None],
    ) -> None:
        self._worker = worker
        self._limiters = _by_name(limiter for limiter in limiters if not limiter.unlimited)
        self._endpoints = {f"model {name}": endpoint for name, endpoint in endpoints.items()}
        self._budget = budget
        self._call = call
        self._ttl_s = ttl_s
        self._on_silence = on_silence
        self._number = 0
        self._again_s = 0.03
        self._want = asyncio.Event()
        self._places: dict[str, int] = {}
        self._rates: dict[tuple[str, str], _Borrowed] = {}
        self._terms = {
            owner: Terms(
                None if limiter.permits is None else limiter.permits.most,
                None if limiter.rpm is None else limiter.rpm.limit,
                None if limiter.tpm is None else limiter.tpm.limit,
            )
            for owner, limiter in self._limiters.items()
        }

    async def open(self) -> None:
        """Put everything on loan, and borrow for the first time."""
        for owner, limiter in self._limiters.items():
            if limiter.permits is not None:
                self._places[owner] = 0
                limiter.permits.lend(0)
            for unit, rate in (("rpm", limiter.rpm), ("tpm", limiter.tpm)):
                if isinstance(rate, Rate):
                    loan = Loan(self._want.set)
                    rate.borrow(loan)
                    self._rates[owner, unit] = _Borrowed(rate, loan)
        if self._budget.cap is not None:
            self._budget.on_want = self._want.set
        await self._sync()

    async def keep_up(self) -> None:
        """Report and borrow until cancelled."""
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while True:
            await self._pause()
            left = heard + self._ttl_s / 2 - loop.time()
            try:
                async with asyncio.timeout(max(self._ttl_s / 8, left)):  # after a pause of its own, too, it may try
                    await self._sync()
                heard = loop.time()
            except Exception:  # whatever Ray makes of a bank that is out of reach; the clock decides
                if loop.time() - heard >= self._ttl_s / 2:
                    self._on_silence()
                    return
                await asyncio.sleep(0.1)

    async def _pause(self) -> None:
        """Quickly while there is work, at once where somebody waits, slowly otherwise."""
        await asyncio.sleep(_LEAST_S)
        busy = any(
            limiter.waiting or (limiter.permits is not None and limiter.permits.in_use)
            for limiter in self._limiters.values()
        )
        try:
            async with asyncio.timeout(self._again_s if busy else _QUIET_S):
                await self._want.wait()
        except TimeoutError:
            pass
        self._want.clear()

    async def _sync(self) -> None:
        self._number += 1
        answer: Answer = pickle.loads(await self._call(pickle.dumps(self._report(), protocol=5)))
        self._apply(answer)

    def _report(self) -> Report:
        now = asyncio.get_running_loop().time()
        report = Report(self._worker, self._number, self._terms)
        for owner, ceiling in self._places.items():
            permits = self._limiters[owner].permits
            assert permits is not None
            busy = permits.in_use + permits.waiting
            report.places[owner] = Holding(ceiling, permits.in_use, busy + busy // 8)
        report.rates = {key: borrowed.need(now) for key, borrowed in self._rates.items()}
        for owner, endpoint in self._endpoints.items():
            if endpoint.resting_until > now:
                report.pauses[owner] = endpoint.resting_until - now
            if endpoint.dead is not None:
                report.dead[owner] = endpoint.dead
        if self._budget.cap is not None:
            self._add_dollars(report, self._budget.cap)
        return report

    def _add_dollars(self, report: Report, cap: float) -> None:
        budget = self._budget
        lacking = budget.lacking
        in_use = budget.spent + budget.set_aside
        wanted = in_use + sum(lacking) + budget.set_aside / 4
        report.dollars = Holding(cap, in_use, wanted, min(lacking, default=None))
        report.spent = budget.spent

    def _apply(self, answer: Answer) -> None:
        now = asyncio.get_running_loop().time()
        self._again_s = answer.again_s
        for owner, places in answer.places.items():
            permits = self._limiters[owner].permits
            if permits is not None and places != self._places[owner]:
                self._places[owner] = places
                permits.lend(places)
        for key, lent in answer.lent.items():
            self._rates[key].lend(lent)
        for owner, left in answer.pauses.items():
            endpoint = self._endpoints.get(owner)
            if endpoint is not None and now + left > endpoint.resting_until + _PAUSE_GRAIN_S:
                endpoint.rest_until(now + left)
        for owner, why in answer.dead.items():
            endpoint = self._endpoints.get(owner)
            if endpoint is not None and endpoint.dead is None:
                endpoint.dead = why
        if answer.exhausted is not None:
            self._budget.exhaust(answer.exhausted)
        elif answer.dollars is not None and answer.dollars != self._budget.cap:
            self._budget.set_cap(answer.dollars)


def _by_name(limiters: Iterable[Limiter]) -> dict[str, Limiter]:
    """The limiters by their owner; those of one name by their order, which is the same on every worker."""
    named: dict[str, Limiter] = {}
    for limiter in limiters:
        name, number = limiter.owner, 1
        while name in named:
            number += 1
            name = f"{limiter.owner}#{number}"
        named[name] = limiter
    return named
