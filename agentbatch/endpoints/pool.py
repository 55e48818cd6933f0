"""One model behind several servers or keys: each request goes to the one that has least to do for its weight.

Each of them keeps its own limits, pauses and breaker. There is one retry layer all the same: an attempt that failed at
one of them is tried at another, at once where there is one that has not been tried yet, and what waits for one that
goes out of service is sent to the others.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from agentbatch.endpoints.endpoint import Endpoint, EndpointSettings, Kept
from agentbatch.endpoints.health import Verdict
from agentbatch.errors import AuthFault, QuotaFault, RunStopped, StepError
from agentbatch.kept.begun_calls import BegunCall
from agentbatch.limits import Limiter
from agentbatch.messages import ChatRequest, ChatResponse
from agentbatch.models.base import Model
from agentbatch.step import Visit


class _SentAway(Exception):
    """The endpoint in whose queue a request stood went out of service."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One of the endpoints, and its share of the work compared to the others'."""

    endpoint: Endpoint
    weight: float


class EndpointPool:
    """Several endpoints of one model, which agents and fallbacks meet as if it were one.

    Raises:
        StepError: from `ask`, the last attempt's, when no further attempt is due.
        RunStopped: from `ask`, when the run must end or is ending: all are out of service for good, for instance.
    """

    def __init__(self, name: str, lanes: tuple[Lane, ...], *, replaceable: bool) -> None:
        self.name = name
        self._lanes = lanes
        self._replaceable = replaceable
        self._first = lanes[0].endpoint
        for lane in lanes:
            lane.endpoint.on_trouble = self._send_away

    @property
    def settings(self) -> EndpointSettings:
        """Of the first one: those that are the same for all."""
        return self._first.settings

    @property
    def model(self) -> Model:
        """Of the first one: it says what the provider calls the model."""
        return self._first.model

    @property
    def out_of_service(self) -> bool:
        """Whether none of them is of any use now."""
        return all(lane.endpoint.out_of_service for lane in self._lanes)

    def speaks_as(self, answer: ChatResponse) -> bool:
        """Whether an answer that was kept looks like this model's."""
        return self._first.speaks_as(answer)

    def enter_kept(self, answer: ChatResponse, visit: Visit, how: Kept) -> None:
        """An answer that was not asked for now."""
        self._first.enter_kept(answer, visit, how)

    def waiting(self, visit: Visit) -> AbstractContextManager[None]:
        """Whoever waits for an answer that another has asked for is in flight like that one."""
        return nullcontext()

    async def ask(
        self, request: ChatRequest, visit: Visit, agent: Limiter | None = None, call: BegunCall | None = None
    ) -> ChatResponse:
        """Ask one after the other until there is an answer, or no further attempt is due."""
        request = self._first.prepared(request)
        attempt = failures = 0
        tried: set[Endpoint] = set()
        try:
            while True:
                endpoint = self._choose(tried)
                try:
                    answer = await endpoint.attempt(request, visit, agent, attempt + 1, call)
                except _SentAway:
                    continue
                attempt += 1
                if isinstance(answer, ChatResponse):
                    visit.extra["endpoint"] = endpoint.settings.name
                    return answer
                error, verdict = answer
                tried.add(endpoint)
                failures += not verdict.excused
                if self._is_another_worth_it(error, verdict, failures, tried):
                    continue
                tried.clear()
                await endpoint.rest_before_retry(error, verdict, failures, visit)
        finally:
            if attempt and visit.at_work:
                visit.end_work()

    def _choose(self, tried: set[Endpoint]) -> Endpoint:
        """The least loaded of those in service, those not tried before the others."""
        alive = [lane for lane in self._lanes if lane.endpoint.dead is None] or list(self._lanes)
        well = [lane for lane in alive if _is_well(lane.endpoint)] or alive
        fresh = [lane for lane in well if lane.endpoint not in tried] or well
        return min(fresh, key=_load).endpoint

    def _is_another_worth_it(self, error: StepError, verdict: Verdict, failures: int, tried: set[Endpoint]) -> bool:
        """Whether to go on at once, at an endpoint that this request has not met since it last rested."""
        others = [lane.endpoint for lane in self._lanes if lane.endpoint not in tried]
        if all(other.out_of_service for other in others):
            return False
        if isinstance(error, AuthFault | QuotaFault):  # about that key, not about the request
            return True
        return error.retryable and (verdict.excused or failures <= self.settings.retry.retries)

    def _send_away(self, endpoint: Endpoint) -> None:
        """It is of no use now: whoever waits for it had better ask another. All are dead: the run ends."""
        dead = [lane.endpoint.dead for lane in self._lanes]
        if all(dead) and not self._replaceable:
            reason = f"every endpoint of model {self.name} is out of service: {'; '.join(why for why in dead if why)}"
            endpoint.control.stop(reason)
            raise RunStopped(reason)
        if not self.out_of_service:
            endpoint.limiter.turn_away(_SentAway())


def _is_well(endpoint: Endpoint) -> bool:
    """Whether it works, or is to show by this request that it does."""
    on_trial = endpoint.health.on_trial and bool(endpoint.in_flight or endpoint.limiter.waiting)
    return not endpoint.out_of_service and not on_trial


def _load(lane: Lane) -> float:
    endpoint = lane.endpoint
    return (endpoint.in_flight + endpoint.limiter.waiting + 1) / lane.weight
