"""Where a request of an agent is answered: from what an earlier run paid for, from the cache, or by a model.

The models are a chain: where the first one can't answer (it is overloaded, down, refuses its key, or finds the request
too long or unfit), the next is asked. The journal stands outermost, so that a call has the same place in a run whoever
answered it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import orjson

from agentbatch.endpoints.endpoint import EndpointSettings, Kept
from agentbatch.endpoints.pool import EndpointPool
from agentbatch.errors import (
    AuthFault,
    BadResponse,
    ConnectionFault,
    ContentFilter,
    ContextLength,
    Overloaded,
    QuotaFault,
    RateLimited,
    ServerFault,
    StepError,
    StepTimeout,
)
from agentbatch.kept.begun_calls import BegunCall
from agentbatch.kept.cache import ResponseCache
from agentbatch.kept.chat_codec import decode_answer, encode_answer, request_bytes
from agentbatch.kept.journal import Entry, Journal, Place, digest, next_place
from agentbatch.kept.tape import Tape, TapedCall, is_lasting
from agentbatch.limits import Limiter
from agentbatch.messages import ChatRequest, ChatResponse
from agentbatch.models.base import Model
from agentbatch.step import Visit


class Door(Protocol):
    """How a model is asked: at its endpoint, or through its provider's batches."""

    @property
    def model(self) -> Model: ...

    @property
    def settings(self) -> EndpointSettings: ...

    @property
    def out_of_service(self) -> bool: ...

    def speaks_as(self, answer: ChatResponse) -> bool: ...

    def enter_kept(self, answer: ChatResponse, visit: Visit, how: Kept) -> None: ...

    def waiting(self, visit: Visit) -> AbstractContextManager[None]:
        """While this lasts, the item waits for an answer that somebody else has asked for."""
        ...

    async def ask(
        self, request: ChatRequest, visit: Visit, agent: Limiter | None = None, call: BegunCall | None = None
    ) -> ChatResponse: ...


@dataclass(frozen=True, slots=True)
class Link:
    """One model of a chain. `on` are the types of errors of the one before it that it is asked for; None: all that
    another model may not have."""

    endpoint: Door
    on: frozenset[str] | None = None

    def follows(self, error: StepError | None) -> bool:
        """Whether it is asked after that error; None: the model before it is out of service."""
        if error is None:
            return self.on is None or bool(self.on & OUT_OF_SERVICE)
        return isinstance(error, _ANOTHER_MAY_DO_BETTER) if self.on is None else error.type in self.on


OUT_OF_SERVICE = frozenset({"auth", "connection", "overloaded", "quota", "rate_limited", "server", "timeout"})
"""Types of errors that are about a model's endpoint, not about a request."""

_ANOTHER_MAY_DO_BETTER = (
    AuthFault,
    BadResponse,
    ConnectionFault,
    ContentFilter,
    ContextLength,
    Overloaded,
    QuotaFault,
    RateLimited,
    ServerFault,
    StepTimeout,
)


class Answering:
    """One model of the config as agents meet it: the model, and its `fallbacks` in order.

    Raises:
        StepError: from `ask`, the last model's, when none could answer.
        RunStopped: from `ask`, when the run must end or is ending.
    """

    def __init__(
        self,
        chain: Sequence[Link | Door],
        journal: Journal | None,
        cache: ResponseCache | None,
        tape: Tape | None = None,
    ) -> None:
        self._tape = tape
        self._links = [each if isinstance(each, Link) else Link(each) for each in chain]
        self._chain = [link.endpoint for link in self._links]
        self._journal = journal
        self._cache = cache
        self._identity = self._chain[0].settings.identity

    @property
    def name(self) -> str:
        """The first model's name in the config."""
        return _name(self._chain[0])

    @property
    def provider(self) -> str:
        """Of the first model in the chain."""
        return self._chain[0].model.provider

    async def ask(self, request: ChatRequest, visit: Visit, agent: Limiter | None = None) -> ChatResponse:
        """An answer to the request. `agent` are the asking agent's own limits."""
        if self._journal is None and self._tape is None:
            return await self._from_cache(request, visit, agent, None)
        place = next_place(visit)
        if self._tape is None:
            return await self._from_journal(place, request, visit, agent)
        call = TapedCall.of(visit, place, request_bytes(self._chain[0].settings.speaker, request))
        found = self._tape.find(call)
        if self._tape.replays:
            visit.extra["replayed"] = True
            return self._take(orjson.dumps(found), visit, "replayed")
        try:
            answer = await self._from_journal(place, request, visit, agent)
        except StepError as error:
            if is_lasting(error):
                self._tape.keep_failure(call, error)
            raise
        self._tape.keep(call, orjson.loads(encode_answer(answer)))
        return answer

    async def _from_journal(
        self, place: Place, request: ChatRequest, visit: Visit, agent: Limiter | None
    ) -> ChatResponse:
        if self._journal is None:
            return await self._from_cache(request, visit, agent, None)
        paid = self._journal.recall(place, self._asked(request))
        if paid is not None:
            return self._take(paid, visit, "recalled")
        await self._journal.settle(place.item)
        before = visit.cost_usd or 0.0
        answer = await self._from_cache(request, visit, agent, self._journal.begin(place))
        cost = max(0.0, (visit.cost_usd or 0.0) - before)
        self._journal.record(Entry(place, lambda: (digest(self._asked(request)()), encode_answer(answer)), cost))
        return answer

    async def _from_cache(
        self, request: ChatRequest, visit: Visit, agent: Limiter | None, call: BegunCall | None
    ) -> ChatResponse:
        cache = self._cache
        if cache is None:
            return await self._from_models(request, visit, agent, call)
        key = cache.key(self._asked(request)())
        with self._chain[0].waiting(visit) if cache.is_asked(key) else nullcontext():
            found = await cache.find(key)
        if found is not None:
            visit.extra["cached"] = True
            return self._take(found, visit, "cached")
        with cache.asking(key) as asking:
            answer = await self._from_models(request, visit, agent, call)
            if "model" not in visit.extra:  # what a fallback says is not what this model would say
                asking.answered(encode_answer(answer))
        return answer

    async def _from_models(
        self, request: ChatRequest, visit: Visit, agent: Limiter | None, call: BegunCall | None
    ) -> ChatResponse:
        place = 0
        while True:
            endpoint = self._chain[place]
            then = self._next(place, None)
            if then is not None and endpoint.out_of_service:
                place = then
                continue
            try:
                answer = await endpoint.ask(request, visit, agent, call)
            except StepError as error:
                then = self._next(place, error)
                if then is None:
                    raise
                visit.extra["fell_back"] = f"{_name(endpoint)}: {error.type}"
                place = then
                continue
            return self._said_by(endpoint, answer, visit)

    def _next(self, place: int, error: StepError | None) -> int | None:
        """Where in the chain to go on after that error at `place`; None: nowhere."""
        rest = range(place + 1, len(self._links))
        return next((later for later in rest if self._links[later].follows(error)), None)

    def _said_by(self, endpoint: Door, answer: ChatResponse, visit: Visit) -> ChatResponse:
        if endpoint is not self._chain[0]:
            visit.extra["model"] = _name(endpoint)
        return answer

    def _asked(self, request: ChatRequest) -> Callable[[], bytes]:
        return lambda: request_bytes(self._identity, request)

    def _take(self, kept: bytes, visit: Visit, how: Kept) -> ChatResponse:
        """An answer that was kept."""
        answer = decode_answer(kept)
        speaks = [each for each in self._chain if each.speaks_as(answer)]  # `gpt-4o` and `gpt-4o-mini` may both seem to
        endpoint = max(speaks, key=lambda each: len(each.model.name), default=self._chain[0])
        endpoint.enter_kept(answer, visit, how)
        return answer


def _name(endpoint: Door) -> str:
    return endpoint.name if isinstance(endpoint, EndpointPool) else endpoint.settings.name
