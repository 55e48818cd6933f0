"""The books of every limit of a run, for all its workers. Decides purely: it is told reports and the time.

Rates are kept in the same books as in a run of one process (`limits.Rate`), which here nobody queues at.
"""

from __future__ import annotations

from collections import deque
from math import inf

from agentbatch.engines.ray.leases.loans import Answer, Holding, Need, Report, Terms
from agentbatch.engines.ray.leases.shares import ROUNDING, Shares
from agentbatch.limits import Grant, Rate

_QUICK_S = 0.03
_WORKERS_AT_THAT = 16
_HEARD_S = 0.15
"""Of a rate the least served is next; one that was silent for so long is not waited for."""

_SPARE_S = 1.0
"""Tokens are lent ahead of need only where the pace is so far behind what it allows: then nobody waits for them."""

_PAUSE_GRAIN_S = 0.25
"""A pause that is told again has grown by the time on the way; only what is longer by more than this is news."""


class _LentRate:
    """One rate's books, and what each worker had of it."""

    def __init__(self, limit: int, unit: str, owner: str) -> None:
        self.rate = Rate(limit, "tokens" if unit == "tpm" else "requests", owner)
        self._piece = 1.0 if unit == "rpm" else max(1.0, limit / 600)
        self._spare_s = 0.0 if unit == "rpm" else _SPARE_S
        self._grants: deque[Grant] = deque(maxlen=4096)
        self._lent: dict[str, float] = {}
        self._returned: dict[str, float] = {}
        self._hungry: dict[str, float] = {}
        """When each worker that wants more last said so."""
        self._served: dict[str, float] = {}
        """What each of them got since it has been hungry, counted from what the least served had then."""

    def report(self, worker: str, need: Need, now: float) -> float:
        """Units ever lent to the worker, with what it gets now: its share of what is free, by need."""
        self._give_back(need.returned - self._returned.get(worker, 0.0), now)
        self._returned[worker] = need.returned
        self._note_hunger(worker, bool(need.first) or (need.wanted > 0 and not self._spare_s), now)
        lent = 0.0
        for amount in need.first:
            if not self._lend(worker, amount, now):
                break
            lent += amount
        else:
            while lent < need.wanted and self._lend(worker, self._piece, now, self._spare_s):
                lent += self._piece
        self._lent[worker] = self._lent.get(worker, 0.0) + lent
        return self._lent[worker]

    def _lend(self, worker: str, amount: float, now: float, spare_s: float = 0.0) -> bool:
        """Enter it in the books, if it is this worker's turn, and its time came so many seconds ago.

        What waits is lent whole: whoever had a part of a request would keep it until the rest comes, and so would all
        others, to send in one moment what had stood in the books for long.
        """
        if not self._is_next(worker, now) or self.rate.ready_at(amount, now) > now - spare_s:
            return False
        self._grants.append(self.rate.enter(amount, now))
        if worker in self._served:
            self._served[worker] += amount
        return True

    def drop(self, worker: str) -> None:
        """The worker is no more. What it had may have been used, and stays in the books."""
        for table in (self._lent, self._returned, self._hungry, self._served):
            table.pop(worker, None)

    def _note_hunger(self, worker: str, hungry: bool, now: float) -> None:
        if not hungry:
            self._hungry.pop(worker, None)
            self._served.pop(worker, None)
        else:
            self._served.setdefault(worker, min(self._served.values(), default=0.0))
            self._hungry[worker] = now

    def _is_next(self, worker: str, now: float) -> bool:
        """Whether nobody who is hungry, and was heard just now, has had a piece less."""
        heard = (self._served[other] for other, at in self._hungry.items() if now - at < _HEARD_S)
        return self._served.get(worker, 0.0) < min(heard, default=0.0) + self._piece

    def _give_back(self, amount: float, now: float) -> None:
        if amount < 0:
            self._grants.append(self.rate.enter(-amount, now))
            return
        while amount > 1e-9 and self._grants:
            grant = self._grants[-1]
            part = min(amount, grant.amount)
            self.rate.settle(grant, grant.amount - part)
            amount -= part
            if grant.amount <= 1e-9:
                self._grants.pop()


class Bank:
    """Lends limits. A worker that nobody vouches for, and that has not reported for `ttl_s` seconds, has lost what it
    held, for good.

    Args:
        budget: US dollars left of the run's cap; None for no cap.
        follows: one that was lost a moment ago, so that of rates all that there is in a minute may have been used.
    """

    def __init__(self, ttl_s: float, budget: float | None = None, *, follows: bool = False) -> None:
        self._ttl_s = ttl_s
        self._follows = follows
        self._places: dict[str, Shares] = {}
        self._rates: dict[tuple[str, str], _LentRate] = {}
        self._dollars = None if budget is None else Shares(budget, whole=False)
        self._budget = budget
        self._spent: dict[str, float] = {}
        self._set_aside: dict[str, float] = {}
        self._gone_usd = 0.0
        self._pauses: dict[str, float] = {}
        self._dead: dict[str, str] = {}
        self._seen: dict[str, float] = {}
        self._numbers: dict[str, float] = {}
        self._vouched: frozenset[str] = frozenset()

    def report(self, report: Report, now: float) -> Answer:
        """What the worker may use from now on. `now` is loop time in seconds."""
        self._forget_silent(now)
        worker = report.worker
        answer = Answer(report.number, again_s=_QUICK_S * max(1.0, len(self._seen) / _WORKERS_AT_THAT))
        if report.number <= self._numbers.get(worker, 0):
            return answer
        self._seen[worker], self._numbers[worker] = now, report.number
        for owner, terms in report.terms.items():
            self._open(owner, terms, now)
        for owner, holding in report.places.items():
            answer.places[owner] = int(self._places[owner].report(worker, holding))
        for key, need in report.rates.items():
            answer.lent[key] = self._rates[key].report(worker, need, now)
        self._share_health(report, answer, now)
        if self._dollars is not None and report.dollars is not None:
            self._spend(report, report.dollars, answer)
        return answer

    @property
    def spent(self) -> float:
        """US dollars, with what the dead had set aside."""
        return sum(self._spent.values()) + self._gone_usd

    def vouch(self, workers: frozenset[str]) -> None:
        """The driver has not given these up: one that is silent is only late, and may yet use what it has."""
        self._vouched = workers

    def leave(self, worker: str) -> None:
        """The worker has ended, or its process is known to be dead. What it may say later is not listened to."""
        if self._seen.pop(worker, None) is None:
            return
        self._numbers[worker] = inf
        for shares in self._places.values():
            shares.drop(worker)
        for rate in self._rates.values():
            rate.drop(worker)
        gone = self._spent.pop(worker, 0.0) + self._set_aside.pop(worker, 0.0)
        self._gone_usd += gone
        if self._dollars is not None:
            self._dollars.drop(worker, keep=gone)

    def _forget_silent(self, now: float) -> None:
        silent = [worker for worker, seen in self._seen.items() if now - seen > self._ttl_s]
        for worker in silent:
            if worker not in self._vouched:
                self.leave(worker)

    def _open(self, owner: str, terms: Terms, now: float) -> None:
        if terms.places is not None:
            shares = self._places.setdefault(owner, Shares(terms.places))
            # of functions that are tasks of Ray's, who comes with another node knows of more places
            shares.total = max(shares.total, terms.places)
        for unit, limit in (("rpm", terms.rpm), ("tpm", terms.tpm)):
            if limit is not None and (owner, unit) not in self._rates:
                self._rates[owner, unit] = _LentRate(limit, unit, owner)
                if self._follows:
                    self._rates[owner, unit].rate.enter_past(now, limit)

    def _share_health(self, report: Report, answer: Answer, now: float) -> None:
        """An endpoint that rests, or is dead, for one worker is so for all."""
        for owner, left in report.pauses.items():
            if now + left > self._pauses.get(owner, 0.0) + _PAUSE_GRAIN_S:
                self._pauses[owner] = now + left
        self._dead.update(report.dead)
        answer.pauses = {owner: until - now for owner, until in self._pauses.items() if until > now}
        answer.dead = dict(self._dead)

    def _spend(self, report: Report, holding: Holding, answer: Answer) -> None:
        assert self._dollars is not None and self._budget is not None
        self._spent[report.worker] = report.spent
        self._set_aside[report.worker] = holding.in_use - report.spent
        answer.dollars = self._dollars.report(report.worker, holding)
        spent = self.spent
        if holding.least is not None and spent + holding.least > self._budget + ROUNDING:
            answer.exhausted = (
                f"max_cost is reached: ${spent:.4f} of ${self._budget:g} spent, and the next request could cost"
                f" ${holding.least:.4f}"
            )
