"""A model whose requests go through batches, as agents meet it. What no batch answers goes to its ordinary endpoint.

A request in a batch takes no permit and no rate of the model: providers have other limits for batches. It counts as
queueing, so that no timeout of an agent or an item runs meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from time import perf_counter

from agentbatch.batches.base import LostInBatch, NotInBatch, QueueFull
from agentbatch.batches.config import ProviderBatchConfig
from agentbatch.batches.desk import BatchDesk, checked
from agentbatch.batches.waiting import WaitingRoom
from agentbatch.endpoints.chat_span import describe_usage, end_answered
from agentbatch.endpoints.endpoint import Endpoint, EndpointSettings, Kept
from agentbatch.endpoints.prices import BatchPrice, Pricing
from agentbatch.errors import StepError
from agentbatch.kept.begun_calls import BegunCall
from agentbatch.kept.chat_codec import request_bytes
from agentbatch.limits import Limiter
from agentbatch.messages import ChatRequest, ChatResponse, Usage
from agentbatch.models.base import Model
from agentbatch.step import Visit
from agentbatch.trace import Span

_SECONDS_A_CALL = 5.0
"""An ordinary answer takes about so long; it is not known before the first."""


class BatchedEndpoint:
    """One model behind its provider's batch API.

    Args:
        online: the same model, asked the ordinary way.
        desk: where requests are gathered.
        room: where items wait.
        encode: gives a request's body.
        config: `provider_batch`.
        askers: how many agents ask this model.

    Attributes:
        answered: requests that batches had an answer to.
        sent_online: requests that went the ordinary way in the end.
    """

    def __init__(
        self,
        online: Endpoint,
        desk: BatchDesk,
        room: WaitingRoom,
        encode: Callable[[ChatRequest], Awaitable[bytes]],
        config: ProviderBatchConfig,
        askers: int = 1,
    ) -> None:
        self.online = online
        self.desk = desk
        self.answered = self.sent_online = 0
        self._askers = askers
        self._asked, self._tokens = 0, 0.0
        """How many requests there were, and the tokens of one of them, in the mean."""
        self._room = room
        self._encode = encode
        self._config = config
        tariff = online.settings.tariff
        self._tariff: Pricing | None = None if tariff is None else BatchPrice(tariff, online.settings.batch_share)

    @property
    def seconds_an_item(self) -> float:
        """What one item adds to the time of many the ordinary way, by the model's limits."""
        limiter = self.online.limiter
        at_once = limiter.permits.limit if limiter.permits is not None else 1
        by_rate = 0.0 if limiter.rpm is None else 60.0 / limiter.rpm.limit
        by_tokens = 0.0 if limiter.tpm is None else 60.0 * self._tokens / limiter.tpm.limit
        return self._askers * max(_SECONDS_A_CALL / at_once, by_rate, by_tokens)

    @property
    def model(self) -> Model:
        return self.online.model

    @property
    def settings(self) -> EndpointSettings:
        return self.online.settings

    @property
    def out_of_service(self) -> bool:
        """Whether there is no use in asking it now."""
        return self.online.dead is not None

    def speaks_as(self, answer: ChatResponse) -> bool:
        """Whether an answer that was kept looks like this model's."""
        return self.online.speaks_as(answer)

    def enter_kept(self, answer: ChatResponse, visit: Visit, how: Kept) -> None:
        """An answer that was not asked for now."""
        self.online.enter_kept(answer, visit, how)

    def waiting(self, visit: Visit) -> AbstractContextManager[None]:
        """Whoever waits for an answer that another has asked for waits for a batch like that one."""
        return self._room.waiting(visit.item.index)

    async def ask(
        self, request: ChatRequest, visit: Visit, agent: Limiter | None = None, call: BegunCall | None = None
    ) -> ChatResponse:
        """Wait for a batch's answer, or for one given the ordinary way.

        Raises:
            StepError: the last one, when no further attempt is due. RunStopped: the run stops.
        """
        prepared = request.with_params({**self.settings.params, **request.params})
        key = _key(self.settings.identity, prepared, visit)
        self._note_size(prepared)
        tries = self.settings.retry.retries + 1
        attempt = 1
        again = self._has_failed(key, prepared)
        while self.desk.open or (attempt == 1 and not again and self.desk.known(key) is not None):
            try:
                return await self._from_batch(prepared, key, visit, attempt, again)
            except StepError as error:
                if not error.retryable:
                    raise
                if self.desk.open and self._config.on_expired == "retry" and attempt == tries:
                    raise
                attempt += not isinstance(error, QueueFull)
                again = True
                if self._config.on_expired == "online" and not isinstance(error, QueueFull):
                    break
        self.sent_online += 1
        visit.extra["batch"] = "online"
        return await self.online.ask(request, visit, agent, call)

    def _note_size(self, request: ChatRequest) -> None:
        if self.online.limiter.tpm is not None:
            self._asked += 1
            self._tokens += (self.online.estimate.of(request).total - self._tokens) / self._asked

    def _has_failed(self, key: str, request: ChatRequest) -> bool:
        """Whether a batch of an earlier run had no answer to this request, and another batch is to have one now."""
        known = self.desk.known(key)
        if known is None or known.answer is None:
            return False
        try:
            self.desk.api.read(checked(known.answer), request)
        except StepError as error:
            return self._config.on_expired == "retry" or not error.retryable
        return False

    async def _from_batch(
        self, request: ChatRequest, key: str, visit: Visit, attempt: int, again: bool
    ) -> ChatResponse:
        """One request's stay in one batch, in its own span."""
        online, tracer = self.online, visit.tracer
        facts = {"model": self.model.name, "provider": self.model.provider, "attempt": attempt, "batched": True}
        span = tracer.start(self.model.name, "chat", visit.span, facts)
        began = perf_counter()
        try:
            with self._room.waiting(visit.item.index):
                most = online.worst_cost(request, self._tariff)
                async with online.of_item(visit, most) as share, online.budget.reserved(most) as spending:
                    try:
                        line = await self.desk.answer(key, await self._encode(request), again=again)
                        response = self.desk.api.read(line, request)
                    except LostInBatch:
                        spending.all()
                        share.usd = spending.usd
                        visit.may_have_cost(online.at_worst(request, self._tariff))
                        raise
                    except StepError as error:
                        spending.usd = share.usd = self._paid_in_vain(span, visit, error)
                        raise
                    cost = self._cost(response.usage)
                    spending.usd = cost or 0.0
                    if cost is None:
                        spending.all()
                        visit.may_have_cost(online.at_worst(request, self._tariff))
                    share.usd = spending.usd
        except StepError as error:
            self._failed(span, visit, error)
            raise
        except BaseException:
            tracer.end(span, "cancelled")
            raise
        self.answered += 1
        span.attributes["queued_s"] = perf_counter() - began
        end_answered(span, visit, request, response, cost)
        return replace(response, batched=True)

    def _cost(self, usage: Usage) -> float | None:
        return None if self._tariff is None else self._tariff.cost(usage)

    def _paid_in_vain(self, span: Span, visit: Visit, error: StepError) -> float:
        """US dollars for an answer that is none; what it says it used is counted."""
        if error.usage is None:
            return 0.0
        cost = self._cost(error.usage)
        visit.count(error.usage, cost)
        describe_usage(span, error.usage, cost)
        return cost or 0.0

    def _failed(self, span: Span, visit: Visit, error: StepError) -> None:
        span.attributes["http_status"] = error.http_status
        if isinstance(error, LostInBatch):
            span.attributes["possibly_billed"] = True
        if isinstance(error, NotInBatch):
            visit.span.events.append((span.start_ns, "batch_expired", {}))
        visit.tracer.end(span, "error", error.type, error.message)


def _key(identity: str, request: ChatRequest, visit: Visit) -> str:
    """The custom id of a call: the same in every run of the output, and another's for every other call.

    Anthropic takes letters, digits, `-` and `_`, at most 64.
    """
    place = f"{visit.item.index}\0{visit.path}\0{visit.calls}\0".encode()
    return "ab-" + hashlib.blake2b(place + request_bytes(identity, request), digest_size=20).hexdigest()
