"""The provider `mock`: answers without a network, the same answers every time, as slow and as faulty as one likes."""

from __future__ import annotations

import asyncio
from typing import Literal

from agentbatch.errors import BadResponse, ConnectionFault
from agentbatch.messages import ChatRequest, ChatResponse
from agentbatch.models.base import ModelConfig, Price
from agentbatch.models.mock_answer import Answers, MockKnobs
from agentbatch.models.mock_faults import fault_error
from agentbatch.models.mock_mishaps import Mishap, mishap_of, without_mishaps
from agentbatch.models.mock_pace import Pace


class MockConfig(ModelConfig, MockKnobs):
    """A model that is not there. Free, deterministic, and able to fail in every way a real one does."""

    provider: Literal["mock"]
    model: str = "mock"
    """The name it goes by."""
    price: Price | None = Price(input=0, output=0)
    """Default: nothing. Give a price to rehearse the cost of a run."""


class MockModel:
    """The `Model` of a `MockConfig`.

    An answer depends on the messages, the model's name, the config's `seed`, the request's `seed`, and a `seed` among
    its params. A fault and a drawn latency depend on how often the very request was asked before as well: a retry may
    succeed, and a run done again goes the same way.
    """

    def __init__(self, config: MockConfig) -> None:
        self._name = config.model
        self._answers = Answers(config)
        self._knobs = None if without_mishaps(config) else config
        self._pace = Pace(config, counting=self._knobs is not None)
        self._retry_after = config.errors.retry_after

    @property
    def name(self) -> str:
        return self._name

    @property
    def provider(self) -> str:
        return "mock"

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Answer, after the latency, or raise the drawn fault. One that hangs waits until it is cancelled."""
        question = self._answers.read(request, self._name)
        turn = self._pace.next(question.key)
        if turn.seconds > 0:
            await asyncio.sleep(turn.seconds)
        if turn.fault is not None:
            raise fault_error(turn.fault, self._retry_after, "mock-" + question.key.hex())
        if self._knobs is not None:
            await _suffer(mishap_of(self._knobs, turn.key))
        return self._answers.answer(question)


async def _suffer(mishap: Mishap | None) -> None:
    match mishap:
        case None:
            return
        case "hang":
            await asyncio.get_running_loop().create_future()
        case "disconnect":
            raise ConnectionFault("the mock closed the connection on purpose (disconnect)")
        case "truncate":
            raise BadResponse("the mock's answer breaks off on purpose (truncate)")
