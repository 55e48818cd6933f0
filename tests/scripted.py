"""A model that does what a test tells it, and the visit of one item: real implementations of the same contracts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agentbatch.endpoints.endpoint import Endpoint, EndpointSettings
from agentbatch.endpoints.prices import Tariff
from agentbatch.errors import StepError
from agentbatch.items import Item
from agentbatch.limits import Budget, Limiter
from agentbatch.messages import ChatRequest, ChatResponse, Usage
from agentbatch.process.control import Control
from agentbatch.retry import RetryPolicy
from agentbatch.step import Visit
from agentbatch.trace import Span, Tracer

Reply = StepError | str | ChatResponse


@dataclass
class ScriptedModel:
    """Answers each request by `script(request, number)`; keeps who asked when, and how many were in flight at most."""

    script: Callable[[ChatRequest, int], Reply]
    latency: float = 0.1
    name: str = "scripted"
    provider: str = "test"
    asked: list[ChatRequest] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    in_flight: int = 0
    peak: int = 0

    async def chat(self, request: ChatRequest) -> ChatResponse:
        number = len(self.asked)
        self.asked.append(request)
        self.times.append(asyncio.get_running_loop().time())
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await asyncio.sleep(self.latency)
        finally:
            self.in_flight -= 1
        reply = self.script(request, number)
        if isinstance(reply, StepError):
            raise reply
        if isinstance(reply, str):
            return ChatResponse(reply, usage=Usage(10, 5, 1), model=self.name)
        return reply


def in_turn(replies: Sequence[Reply], then: Reply = "ok") -> Callable[[ChatRequest, int], Reply]:
    """The replies one after the other, and `then` from there on."""
    return lambda _, number: replies[number] if number < len(replies) else then


class SpanList:
    """Keeps every ended span."""

    def __init__(self) -> None:
        self.ended: list[Span] = []

    def on_start(self, span: Span) -> None: ...

    def on_work(self, span: Span) -> None: ...

    def on_end(self, span: Span) -> None:
        self.ended.append(span)


def endpoint_of(
    model: ScriptedModel,
    *,
    limiter: Limiter | None = None,
    timeout: float = 60.0,
    retries: int = 4,
    tariff: Tariff | None = None,
    control: Control | None = None,
    budget: Budget | None = None,
    auto: bool = False,
    name: str = "m",
    replaceable: bool = False,
    pooled: bool = False,
    elsewhere_on: frozenset[str] = frozenset(),
) -> Endpoint:
    """An endpoint around a scripted model."""
    settings = EndpointSettings(
        name=name,
        limiter=limiter or Limiter("model m", max_concurrency=64),
        timeout=timeout,
        retry=RetryPolicy(retries=retries),
        tariff=tariff,
        params={},
        auto=auto,
        identity=name,
        replaceable=replaceable,
        pooled=pooled,
        elsewhere_on=elsewhere_on,
    )
    return Endpoint(model, settings, control or Control(), budget or Budget(None))


def visit_of(index: int = 0, *observers: SpanList) -> Visit:
    """One item's visit, under its own span."""
    tracer = Tracer(observers)
    item = Item(str(index + 1), index, {})
    return Visit(item, tracer, "agent", "agent", tracer.start("item", "item"))
