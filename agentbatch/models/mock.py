"""The provider `mock`: answers without a network, the same answers every time, as slow and as faulty as one likes."""

from __future__ import annotations

import asyncio
from typing import Literal

from agentbatch.messages import ChatRequest, ChatResponse
from agentbatch.models.base import ModelConfig, Price
from agentbatch.models.mock_answer import Answers, MockKnobs
from agentbatch.models.mock_draws import AskCount
from agentbatch.models.mock_faults import FaultDraw, FaultKind, fault_error


class MockConfig(ModelConfig, MockKnobs):
    """A model that is not there. Free, deterministic, and able to fail in every way a real one does."""

    provider: Literal["mock"]
    model: str = "mock"
    """The name it goes by."""
    price: Price | None = Price(input=0, output=0)
    """Default: nothing. Give a price to rehearse the cost of a run."""


class MockModel:
    """The `Model` of a `MockConfig`.

    An answer depends on the messages, the config's `seed`, the request's `seed` and a `seed` among its params. A fault
    and a drawn latency depend on how often the very request was asked before as well: a retry may succeed, and a run
    done again goes the same way.
    """

    def __init__(self, config: MockConfig) -> None:
        self._name = config.model
        self._answers = Answers(config, config.model)
        self._pace = Pace(config)

    @property
    def name(self) -> str:
        return self._name

    @property
    def provider(self) -> str:
        return "mock"

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Answer, after the latency, or raise the drawn fault."""
        question = self._answers.read(request)
        seconds, fault = self._pace.next(question.key)
        if seconds > 0:
            await asyncio.sleep(seconds)
        if fault is not None:
            raise fault_error(fault, self._pace.retry_after, "mock-" + question.key.hex())
        return self._answers.answer(question)


class Pace:
    """How long each request takes, and how it fails if it does."""

    def __init__(self, knobs: MockKnobs) -> None:
        self._latency = knobs.latency
        self._faults = FaultDraw(knobs.errors)
        self._asked = AskCount()
        self._fixed = isinstance(knobs.latency, float | int) and self._faults.never
        self.retry_after = knobs.errors.retry_after

    def next(self, key: bytes) -> tuple[float, FaultKind | None]:
        """Seconds and fault of the request with this key; asked again, it has others."""
        latency = self._latency
        if not self._fixed:
            key += self._asked.next(key).to_bytes(4, "big")
        seconds = latency if isinstance(latency, float | int) else latency.seconds(key)
        return seconds, self._faults.draw(key)
