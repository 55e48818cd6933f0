"""Three simulated hours of a busy endpoint in bad weather: no limit is passed in any window, hardly any left unused.

Requests are refused, fail, break off, are cancelled, and their answers are shorter than what was set aside for them.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import dataclass

import pytest
from fake_time import run_in_fake_time
from scripted import ScriptedModel, endpoint_of, visit_of

from agentbatch.errors import ConnectionFault, RateLimited, ServerFault
from agentbatch.limits import Limiter
from agentbatch.messages import ChatRequest, ChatResponse, Message, Usage

HOURS_S = 3 * 3600.0
MOST_OUTPUT = 400


@dataclass(frozen=True)
class Limits:
    """Per minute: requests and tokens of the model, and the same of each of its two agents."""

    rpm: int | None = None
    tpm: int | None = None
    agent_rpm: int | None = None
    agent_tpm: int | None = None


def busiest_minute(sent: list[tuple[float, float]]) -> float:
    """The most in any 60 s that begin with a request."""
    most = total = 0.0
    first = 0
    for at, amount in sent:
        total += amount
        while sent[first][0] <= at - 60:
            total -= sent[first][1]
            first += 1
        most = max(most, total)
    return most


class Weather(ScriptedModel):
    """Counts requests and tokens as providers do: what is refused counts as a request, what breaks off as both."""

    def __init__(self, shortest_output: int) -> None:
        super().__init__(lambda *_: "ok")
        self._draw = random.Random(7)
        self._shortest_output = shortest_output
        self.requests: dict[str, list[tuple[float, float]]] = {"a": [], "b": []}
        self.tokens: dict[str, list[tuple[float, float]]] = {"a": [], "b": []}

    async def chat(self, request: ChatRequest) -> ChatResponse:
        now, agent, chance = asyncio.get_running_loop().time(), str(request.params["agent"]), self._draw.random()
        output = self._draw.randrange(self._shortest_output, MOST_OUTPUT)
        self.requests[agent].append((now, 1.0))
        if chance < 0.03:
            raise ServerFault("500", http_status=500)
        if chance < 0.05:
            raise RateLimited("429", http_status=429, retry_after=0.5)
        self.tokens[agent].append((now, 150.0 + output))
        await asyncio.sleep(self._draw.choice((0.05, 0.3, 1.0, 4.0)))
        if chance < 0.06:
            raise ConnectionFault("reset in the body")
        return ChatResponse("ok", usage=Usage(150, output, 1))


def keep_busy(model: Weather, limits: Limits) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        began, numbers, draw = loop.time(), itertools.count(), random.Random(3)
        limiter = Limiter("model m", max_concurrency=40, rpm=limits.rpm, tpm=limits.tpm)
        endpoint = endpoint_of(model, limiter=limiter, retries=20)
        agents = {name: Limiter(f"agent {name}", rpm=limits.agent_rpm, tpm=limits.agent_tpm) for name in "ab"}

        async def worker(agent: str) -> None:
            request = ChatRequest((Message("user", "hello " * 100),), {"max_tokens": MOST_OUTPUT, "agent": agent})
            while loop.time() - began < HOURS_S:
                asking = asyncio.create_task(endpoint.ask(request, visit_of(next(numbers)), agents[agent]))
                if draw.random() < 0.02:
                    loop.call_later(draw.uniform(0, 30), asking.cancel)
                await asyncio.wait([asking])
                assert asking.cancelled() or asking.exception() is None

        await asyncio.gather(*(worker(agent) for agent in "ab" * 20))

    run_in_fake_time(main())


def share_of(sent: list[tuple[float, float]], limit: int) -> float:
    return sum(amount for _, amount in sent) / (limit * HOURS_S / 60)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "shortest_output", "at_least"),
    [
        (Limits(rpm=120), 0, 0.97),
        (Limits(tpm=40_000), 250, 0.97),
        (Limits(tpm=40_000), 0, 0.97),  # half of what is set aside is not used, and nobody else can while it is
        (Limits(rpm=100, tpm=40_000), 0, 0.97),
        (Limits(rpm=120, tpm=40_000), 250, 0.97),
        (Limits(agent_rpm=60), 0, 0.97),
        (Limits(rpm=200, agent_tpm=20_000), 250, 0.97),
    ],
    ids=["rpm", "tpm", "tpm, short answers", "rpm before tpm", "tpm before rpm", "agents' rpm", "agents' tpm"],
)
def test_no_window_is_too_full_and_nearly_all_is_used(limits: Limits, shortest_output: int, at_least: float) -> None:
    model = Weather(shortest_output)
    keep_busy(model, limits)
    shares = [0.0]
    for counted, whole, each in (
        (model.requests, limits.rpm, limits.agent_rpm),
        (model.tokens, limits.tpm, limits.agent_tpm),
    ):
        for limit, sent in ((whole, sorted(counted["a"] + counted["b"])), (each, counted["a"]), (each, counted["b"])):
            if limit is not None:
                assert busiest_minute(sent) <= limit
                shares.append(share_of(sent, limit))
    assert max(shares) >= at_least, "of the limit that binds"
