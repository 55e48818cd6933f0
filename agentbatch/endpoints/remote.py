"""A remote agent's server, as the agent meets it: its requests are retried, limited, and judged as those to a model."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from agentbatch.endpoints.health import Health, Verdict
from agentbatch.endpoints.window import Sent, Window
from agentbatch.errors import RunStopped, StepError, StepTimeout
from agentbatch.limits import Admission, Budget, Limiter, Permits
from agentbatch.messages import Usage
from agentbatch.process.control import Control
from agentbatch.record import record
from agentbatch.retry import RetryBudget, RetryPolicy
from agentbatch.step import Visit

_T = TypeVar("_T")
_UNLIMITED = 1_000_000
_ONE_REQUEST = Usage(requests=1)


@record
class RemoteTerms:
    """How a server may be used. `timeout` is of one request, in seconds."""

    limiter: Limiter
    retry: RetryPolicy
    timeout: float


class Remote:
    """One remote agent's server, shared by all items.

    Raises:
        StepError: from `ask` and `follow`, the last attempt's, when no further one is due.
        RunStopped: when the run must end or is ending.
    """

    def __init__(self, name: str, terms: RemoteTerms, control: Control, budget: Budget) -> None:
        self.terms = terms
        self.control = control
        self._budget = budget
        self._permits = terms.limiter.permits or Permits(_UNLIMITED)
        self._health = Health(f"agent {name}", Window(self._permits.limit))
        self._retry_budget = RetryBudget()
        self._random = random.Random()

    async def ask(self, work: Callable[[], Awaitable[_T]], visit: Visit) -> _T:
        """Have `work` done: one request, and where it began a job, what follows until that ends.

        It is done again when it raises a retryable error. A permit is held while it is being done, none while an
        attempt is waited for.
        """
        attempt = failures = 0
        try:
            while True:
                attempt += 1
                answer = await self._enter_and_attempt(work, visit, first=attempt == 1)
                if not isinstance(answer, _Failed):
                    return answer
                failures += not answer.verdict.excused
                delay = self.terms.retry.delay(answer.error, failures, self._random)
                if delay is None or answer.verdict.give_up:
                    raise answer.error
                await self._rest(max(delay, answer.verdict.pause_s), visit)
        finally:
            if visit.at_work:
                visit.end_work()

    async def follow(self, request: Callable[[], Awaitable[_T]], visit: Visit) -> _T:
        """Send a request that belongs to work under way; no permit is taken for it.

        What is raised in the end is no reason to begin the work anew.
        """
        failures = 0
        while True:
            try:
                return await self.once(request)
            except StepError as error:
                failures += 1
                delay = self.terms.retry.delay(error, failures, self._random)
                if delay is None:
                    error.retry = False
                    raise
            await self._rest(delay, visit)

    async def once(self, request: Callable[[], Awaitable[_T]]) -> _T:
        """Send one request, within its own timeout.

        Raises:
            StepTimeout: it is over.
        """
        seconds = self.terms.timeout
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                return await request()
        except TimeoutError:
            if not deadline.expired():
                raise
            raise StepTimeout(f"no whole answer within {seconds:g} s") from None

    async def _enter_and_attempt(self, work: Callable[[], Awaitable[_T]], visit: Visit, *, first: bool) -> _T | _Failed:
        self.control.check()
        async with self._budget.reserved(0.0), Admission((self.terms.limiter,), visit.item.index, 0):
            self.control.check()
            if not visit.at_work:
                visit.begin_work()
            return await self._attempt(work, visit, first=first)

    async def _attempt(self, work: Callable[[], Awaitable[_T]], visit: Visit, *, first: bool) -> _T | _Failed:
        """One attempt; a failure is judged before the permit goes to the next in the queue."""
        clock = asyncio.get_running_loop().time
        sent, sent_at = self._health.window.send(self._permits.in_use), clock()
        visit.count(_ONE_REQUEST, 0.0)
        try:
            answer = await work()
        except StepError as error:
            visit.span.attributes["http_status"] = error.http_status
            return _Failed(error, self._judge(error, sent, first=first))
        self._retry_budget.on_answer()
        self._health.on_success(sent, clock() - sent_at)
        self._fit()
        return answer

    def _judge(self, error: StepError, sent: Sent, *, first: bool) -> Verdict:
        now = asyncio.get_running_loop().time()
        verdict = self._health.on_failure(error, sent, first_attempt=first, now=now)
        self._fit()
        if verdict.pause_s:
            self._permits.hold(now + verdict.pause_s)
        if verdict.stop is not None:
            self.control.stop(verdict.stop)
            raise RunStopped(verdict.stop)
        return verdict

    def _fit(self) -> None:
        if self._permits.limit != self._health.size:
            self._permits.resize(self._health.size)

    async def _rest(self, delay: float, visit: Visit) -> None:
        put_off = self._retry_budget.take()
        visit.span.events.append((time.time_ns(), "retry", {"delay_s": round(delay + put_off, 3)}))
        await self.control.sleep(delay + put_off)


@record
class _Failed:
    error: StepError
    verdict: Verdict
