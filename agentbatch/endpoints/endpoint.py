"""A model as agents meet it: every request retried, limited, timed, traced, priced, in that order from the outside in.

The retry is outermost, so that a sleeping retry holds no permit. The permit comes before the rate, the rate before the
span, and the attempt's deadline starts last, so that queueing never looks like slowness.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, nullcontext
from math import inf
from time import perf_counter
from typing import Any, Literal

from agentbatch.endpoints.announced import AnnouncedLimits
from agentbatch.endpoints.chat_span import describe, describe_usage, end_answered, note_request
from agentbatch.endpoints.health import IMPATIENCE_S, Health, Verdict
from agentbatch.endpoints.learnt_rate import LearntRate
from agentbatch.endpoints.prices import HALF, BatchPrice, Pricing
from agentbatch.endpoints.token_estimate import NOTHING_EXPECTED, TokenEstimate, output_cap
from agentbatch.endpoints.window import Sent, Window
from agentbatch.errors import ConnectionFault, ItemCost, RateLimited, RunStopped, StepError, StepTimeout
from agentbatch.kept.begun_calls import BegunCall
from agentbatch.limits import Admission, Budget, Limiter, Permits, Spending
from agentbatch.messages import ChatRequest, ChatResponse, Usage
from agentbatch.models.base import Model
from agentbatch.process.control import Control
from agentbatch.process.deadlines import Deadlines
from agentbatch.process.descriptors import connections_left
from agentbatch.record import record
from agentbatch.retry import RetryBudget, RetryPolicy
from agentbatch.step import Visit
from agentbatch.text.figures import counted
from agentbatch.time_book import Bound
from agentbatch.trace import Span

Kept = Literal["recalled", "replayed", "cached"]
"""Where an answer comes from that nobody was asked for now: an earlier run of the same item, a recording, or the cache,
whose answers were paid for another item. A replayed one counts as paid, as in the run that it was recorded in."""

_ONE_REQUEST = Usage(requests=1)
_UNLIMITED = 1_000_000
_LONG_REST_S = 1.0
_OPENING_STEP_S = 0.025
"""Time enough for most servers to refuse what is too much for them."""
_SOON_S = 0.1
"""Seconds until a request goes again that was refused as the one too many: there is a place for it by then."""
_LONG_ANSWER = 4096
"""Tokens to set money aside for, where no parameter of the request bounds its answer."""


@record
class EndpointSettings:
    """How one model may be used. `timeout` is of one attempt, in seconds; `tariff` is None where it is unknown."""

    name: str
    limiter: Limiter
    timeout: float
    retry: RetryPolicy
    tariff: Pricing | None
    params: Mapping[str, Any]
    auto: bool = False
    """Find out by itself how many requests at once the server takes."""
    batch_share: float = HALF
    """What answers of the provider's batches cost, as a share of the ordinary price."""
    identity: str = ""
    """What tells its answers from another model's: provider, server, name and params."""
    speaker: str = ""
    """The same, whatever server it is on."""
    pooled: bool = False
    """It is one of several that answer for its model."""
    replaceable: bool = False
    """Others can answer in its place: what would end the run only takes this one out of service."""
    elsewhere_on: frozenset[str] = frozenset()
    """After these types of errors another model is asked, rather than waiting long for this one."""


class Endpoint:
    """One model behind one key, shared by all agents that use it.

    Raises:
        StepError: from `ask`, the last attempt's, when no further attempt is due.
        RunStopped: from `ask`, when the run must end or is ending.
    """

    def __init__(
        self,
        model: Model,
        settings: EndpointSettings,
        control: Control,
        budget: Budget,
    ) -> None:
        self.model = model
        self.settings = settings
        self.limiter = settings.limiter
        self.params = settings.params
        self.control = control
        self.budget = budget
        permits = settings.limiter.permits
        self._permits = permits or Permits(_UNLIMITED)
        window = Window(self._permits.limit, auto=settings.auto)
        impatient = "rate_limited" in settings.elsewhere_on
        self.health = Health(f"model {settings.name}", window, others=settings.pooled, impatient=impatient)
        self._permits.resize(self.health.size)
        self.estimate = TokenEstimate()
        self._announced = AnnouncedLimits(settings.limiter)
        self._learnt = LearntRate(settings.limiter)
        self.dead: str | None = None
        """Why it is out of service for good, where others can take its place."""
        self.on_trouble: Callable[[Endpoint], None] = _nothing
        """Told when it goes out of service, for good or for a while."""
        self.resting_until = 0.0
        """Loop time until which nobody is let in; 0 when the endpoint is well."""
        self._facts = {"model": model.name, "provider": model.provider, "endpoint": settings.name}
        self.sleeping = 0
        """Requests that wait for the time of their next attempt, and hold nothing."""
        self._deadlines = Deadlines(settings.timeout)
        self._opening = False
        self._retry_budget = RetryBudget()
        self._random = random.Random()

    @property
    def out_of_service(self) -> bool:
        """Whether there is no use in asking it now: it is down, rests for a while, or refused its key."""
        rests = self.resting_until - asyncio.get_running_loop().time()
        probing = self.health.outage and (rests > 0 or self.in_flight > 0)  # one finds out whether it is over
        return self.dead is not None or probing or rests > (0.0 if self.settings.pooled else _LONG_REST_S)

    def speaks_as(self, answer: ChatResponse) -> bool:
        """Whether an answer that was kept looks like this model's."""
        return answer.model.startswith(self.model.name)

    def enter_kept(self, answer: ChatResponse, visit: Visit, how: Kept) -> None:
        """An answer that was not asked for now: it is traced, and if it was paid for this item, counted."""
        tariff: Pricing | None = self.settings.tariff
        if tariff is not None and answer.batched:
            tariff = BatchPrice(tariff, self.settings.batch_share)
        span = visit.tracer.start(self.model.name, "chat", visit.span)
        span.attributes |= {**self._facts, "attempt": 1, how: True}
        cost = 0.0
        if how != "cached":
            cost = None if tariff is None else tariff.cost(answer.usage)
            if how == "replayed":  # what was recalled counted against the cap when the run began
                self.budget.spent += cost or 0.0
            if (purse := visit.of_item.purse) is not None:
                purse.spent += cost or 0.0
            visit.count(answer.usage, cost)
        describe(span, answer, cost)
        note_request(visit, answer.request_id)
        visit.tracer.end(span)

    def waiting(self, visit: Visit) -> AbstractContextManager[None]:
        """Whoever waits for an answer that another has asked for is in flight like that one."""
        return nullcontext()

    async def ask(
        self, request: ChatRequest, visit: Visit, agent: Limiter | None = None, call: BegunCall | None = None
    ) -> ChatResponse:
        """Ask until there is an answer, or no further attempt is due.

        `agent` are the asking agent's own limits; `call` is told when the request is sent and answered.
        """
        request = self.prepared(request)
        attempt = failures = 0
        try:
            while True:
                attempt += 1
                answer = await self.attempt(request, visit, agent, attempt, call)
                if isinstance(answer, ChatResponse):
                    return answer
                error, verdict = answer
                failures += not verdict.excused
                await self.rest_before_retry(error, verdict, failures, visit)
        finally:
            if attempt and visit.at_work:
                visit.end_work()

    def prepared(self, request: ChatRequest) -> ChatRequest:
        """The request with the params of this model, where it has none of its own."""
        if not self.params:
            return request
        return request.with_params({**self.params, **request.params} if request.params else self.params)

    async def rest_before_retry(self, error: StepError, verdict: Verdict, failures: int, visit: Visit) -> None:
        """Sleep until the next attempt is due; where none is, or another model is there sooner, raise the error."""
        delay = self.settings.retry.delay(error, failures, self._random)
        if delay is None or verdict.give_up:
            raise error
        if verdict.soon:
            delay = error.retry_after or _SOON_S
        put_off = 0.0 if verdict.excused else self._retry_budget.take()
        wait = max(delay, verdict.pause_s) + put_off
        if self._goes_elsewhere(error, wait):
            raise error
        await self._rest(wait, visit)
        if self._goes_elsewhere(error, 0.0):
            raise error

    def _goes_elsewhere(self, error: StepError, wait: float) -> bool:
        """Whether another model is to be asked: this one is down, or can't be asked again for seconds."""
        if error.type not in self.settings.elsewhere_on:
            return False
        rests = self.resting_until - asyncio.get_running_loop().time()
        return self.health.outage or max(wait, rests) > IMPATIENCE_S

    async def attempt(
        self,
        request: ChatRequest,
        visit: Visit,
        agent: Limiter | None,
        attempt: int,
        call: BegunCall | None,
    ) -> ChatResponse | tuple[StepError, Verdict]:
        """One attempt, from the end of the queue to the release of its permit.

        A failure is judged before the permit goes to the next in the queue, who may have to wait because of it.
        """
        self.control.check()
        limiters = (self.limiter,) if agent is None or agent.unlimited else (agent, self.limiter)
        counted = self.budget.caps or any(limiter.tpm is not None for limiter in limiters)
        tokens = self.estimate.of(request) if counted else NOTHING_EXPECTED
        queued_at = perf_counter()
        if self.control.paused and visit.at_work:
            visit.end_work()  # waiting for somebody to resume the run is nobody's time
        async with Admission(limiters, visit.item.index, tokens.total) as admission:
            clock = asyncio.get_running_loop().time
            most = self._worst(request, tokens.usage, self.settings.tariff) if self.budget.caps else 0.0
            async with self.of_item(visit, most) as share, self.budget.reserved(most) as spending:
                self.control.check()
                if not visit.at_work:
                    visit.begin_work()
                sent = self.health.window.send(self._permits.in_use)
                sent_at = clock()
                sending = None if self._announced.silent else self._announced.sent(sent_at, tokens.total)
                if call is not None:
                    call.sent()
                try:
                    answer = await self._attempt(request, visit, attempt, perf_counter() - queued_at, spending)
                finally:
                    share.usd = spending.usd
            if sending is not None and answer.headers:
                self._announced.heard(answer.headers, sending, clock())
            if isinstance(answer, StepError):
                if answer.usage is not None:
                    admission.used(answer.usage.input_tokens + answer.usage.output_tokens)
                elif not _may_be_billed(answer):
                    admission.used(0)
                    if call is not None:
                        call.refused()
                return answer, self._judge(answer, sent, attempt)
            if call is not None:
                call.answered(self._cost(answer.usage))
            self._note_success(sent, sent_at, clock())
            if counted:
                admission.used(self.estimate.learn(tokens, answer.usage))
            return answer

    def of_item(self, visit: Visit, usd: float) -> AbstractAsyncContextManager[Spending]:
        """So many US dollars set aside from what the item may cost, where that is limited.

        Raises:
            ItemCost: on entering: it would be passed, whatever other requests of the item cost.
        """
        purse = visit.of_item.purse if self.budget.item_cap is not None else None
        return self.budget.nobodys if purse is None else _share_of_item(purse, usd)

    async def _attempt(
        self, request: ChatRequest, visit: Visit, attempt: int, queued_s: float, spending: Spending
    ) -> ChatResponse | StepError:
        """Send one request, in its own span and under its own deadline."""
        tracer = visit.tracer
        facts = {**self._facts, "attempt": attempt, "queued_s": queued_s}
        span = tracer.start(self.model.name, "chat", visit.span, facts)
        try:
            with self._deadlines.next():
                response = await self.model.chat(request.traced(span.traceparent))
        except StepError as error:
            spending.usd = self._paid_in_vain(error) or 0.0
            return self._failed(span, visit, error, request, spending)
        except TimeoutError:
            error = StepTimeout(f"no whole answer within {self.settings.timeout:g} s")
            return self._failed(span, visit, error, request, spending)
        except BaseException:
            self._failed(span, visit, StepTimeout("cancelled"), request, spending, "cancelled")
            raise
        cost = self._cost(response.usage)
        spending.usd = cost or 0.0
        if cost is None:
            self._may_cost_all(request, visit, spending)
        end_answered(span, visit, request, response, cost)
        return response

    def _cost(self, usage: Usage) -> float | None:
        """US dollars for an answer; None where its price is not known."""
        tariff = self.settings.tariff
        return None if tariff is None else tariff.cost(usage)

    def _paid_in_vain(self, error: StepError) -> float | None:
        """US dollars for what a failed answer says it used; None where the price is not known."""
        return 0.0 if error.usage is None else self._cost(error.usage)

    def _may_cost_all(self, request: ChatRequest, visit: Visit, spending: Spending) -> None:
        """Nobody says what a request came to: it counts against the cap with what it could cost at worst."""
        spending.all()
        visit.may_have_cost(self.at_worst(request, self.settings.tariff))

    def _failed(
        self,
        span: Span,
        visit: Visit,
        error: StepError,
        request: ChatRequest,
        spending: Spending,
        status: str = "error",
    ) -> StepError:
        cost = self._paid_in_vain(error)
        visit.count(error.usage or _ONE_REQUEST, cost)
        if error.usage is not None:
            describe_usage(span, error.usage, cost)
        span.attributes["http_status"] = error.http_status
        if error.request_id:
            span.attributes["request_id"] = error.request_id
            note_request(visit, error.request_id)
        if _may_be_billed(error):
            span.attributes["possibly_billed"] = True
            if error.usage is None:
                self._may_cost_all(request, visit, spending)
        if status == "cancelled":
            visit.tracer.end(span, "cancelled")
        else:
            visit.tracer.end(span, "timeout" if error.type == "timeout" else "error", error.type, error.message)
        return error

    def _note_success(self, sent: Sent, sent_at: float, now: float) -> None:
        self._retry_budget.on_answer()
        self.health.on_success(sent, now - sent_at)
        if not self._opening:
            self._opening = True
            self._open_wider()
        self._learnt.on_taken(now, answered_s=now - sent_at)
        self._fit_window()

    def worst_cost(self, request: ChatRequest, tariff: Pricing | None) -> float:
        """What a request can cost at most at these prices; 0 where there is no cap to keep."""
        return self.at_worst(request, tariff) if self.budget.caps else 0.0

    def at_worst(self, request: ChatRequest, tariff: Pricing | None) -> float:
        """US dollars that a request can cost at most at these prices."""
        return self._worst(request, self.estimate.of(request).usage, tariff)

    def _worst(self, request: ChatRequest, expected: Usage, tariff: Pricing | None) -> float:
        """What a request can cost at most, as far as its price is known."""
        if tariff is None:
            return 0.0
        output = output_cap(request) or max(_LONG_ANSWER, expected.output_tokens)
        return tariff.most(Usage(expected.input_tokens, output)) or 0.0

    def _judge(self, error: StepError, sent: Sent, attempt: int) -> Verdict:
        """Let the endpoint's health learn from a failure, and do what it says."""
        now = asyncio.get_running_loop().time()
        cuts = self.health.window.first_cuts
        verdict = self.health.on_failure(error, sent, first_attempt=attempt == 1, now=now)
        if self.health.window.first_cuts > cuts:
            self._learnt.on_opened_too_far()
        elif isinstance(error, RateLimited):
            self._learnt.on_refusal(now)
        elif not (isinstance(error, ConnectionFault) and error.unreachable):
            self._learnt.on_taken(now)
        self._fit_window()
        if verdict.pause_s:
            self.rest_until(now + verdict.pause_s)
        if verdict.stop is not None and self.settings.replaceable:
            self.dead = verdict.stop
            self.on_trouble(self)
        elif verdict.stop is not None:
            self.control.stop(verdict.stop)
            raise RunStopped(verdict.stop)
        elif verdict.pause_s:
            self.on_trouble(self)
        if not self.settings.pooled and self._goes_elsewhere(error, inf if verdict.give_up else verdict.pause_s):
            self.limiter.turn_away(error)
        return verdict

    def set_concurrency(self, limit: int) -> None:
        """Allow so many requests at once from now on.

        Raises:
            ValueError: how many there may be is found out by itself, or no more files may be open.
        """
        if self.settings.auto:
            raise ValueError(f"model {self.settings.name} has max_concurrency: auto, which finds its limit by itself")
        more = limit - self.health.window.limit
        if more > 0 and more > connections_left():
            raise ValueError(f"{counted(limit, 'request')} at once would take too many open files: see `ulimit -n`")
        self.health.window.resize(limit)
        self._fit_window()

    def rest_until(self, when: float) -> None:
        """Let nobody in before `when` (loop time, seconds)."""
        self.resting_until = max(self.resting_until, when)
        self._permits.hold(when)

    def _open_wider(self) -> None:
        """Every few milliseconds from the first good answer on, until all is open or something was refused."""
        more = self.health.open_wider()
        self._fit_window()
        if more and not self.control.stopping:
            asyncio.get_running_loop().call_later(_OPENING_STEP_S, self._open_wider)

    def _fit_window(self) -> None:
        size = self.health.size
        if self._permits.limit != size:
            self._permits.resize(size)

    async def _rest(self, delay: float, visit: Visit) -> None:
        """Sleep before a retry, holding nothing. In a run that is stopping there are no retries."""
        visit.span.events.append((time.time_ns(), "retry", {"delay_s": round(delay, 3)}))
        self.sleeping += 1
        try:
            await self.control.sleep(delay)
        finally:
            self.sleeping -= 1

    @property
    def owner(self) -> str:
        """Who limits and times of this endpoint are said to belong to: `model fast`."""
        return self.limiter.owner

    @property
    def in_flight(self) -> int:
        """Requests that have a permit."""
        return self._permits.in_use

    @property
    def is_full(self) -> bool:
        """Whether no further request would get a permit."""
        return self._permits.full

    @property
    def place_bound(self) -> Bound:
        """What bounds the number of its requests in flight: the config, or what the server was seen to take."""
        size = self.health.size
        narrowed = self._permits.limit >= size < self.health.window.limit  # else the config's number, or a loan of it
        return Bound("window" if narrowed else "concurrency", self.owner)

    def held_by(self, now: float) -> tuple[Bound | None, int]:
        """What requests to this endpoint wait for at `now` (loop time), and how many do."""
        waiting = self.limiter.waiting
        if self.resting_until > now:
            resting = waiting + self.sleeping
            return (Bound("cool_down", self.owner), resting) if resting else (None, 0)
        bound, _ = self.limiter.rate_held_by()
        if bound is None and waiting:
            bound = self.place_bound
        return bound, waiting


@asynccontextmanager
async def _share_of_item(purse: Budget, usd: float) -> AsyncGenerator[Spending]:
    """Waits where only other requests of the item stand in the way, as `Budget.reserved` does."""
    try:
        share = await purse.reserved(usd).__aenter__()
    except RunStopped:
        raise ItemCost(
            f"item_max_cost ${purse.cap:g} is reached: ${purse.spent:.4f} spent on the item, and the next request could"
            f" cost ${usd:.4f}"
        ) from None
    try:
        yield share
    finally:
        await share.__aexit__()


def _nothing(endpoint: Endpoint) -> None:
    """Nobody wants to know."""


def _may_be_billed(error: StepError) -> bool:
    """Whether the provider may have done, and billed, the work: it neither declined nor was out of reach."""
    unreachable = isinstance(error, ConnectionFault) and error.unreachable
    declined = error.http_status is not None and error.http_status >= 300
    return error.retryable and not declined and not unreachable
