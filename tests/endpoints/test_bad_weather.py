"""Failures at random, however many kinds of them at once, cost what they cost, and never the pace of all the rest."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest
from fake_time import run_in_fake_time
from scripted import ScriptedModel, endpoint_of, visit_of

from agentbatch.errors import (
    BadContent,
    BadResponse,
    ConnectionFault,
    Overloaded,
    RateLimited,
    ServerFault,
    StepError,
)
from agentbatch.limits import Limiter
from agentbatch.messages import ChatRequest, ChatResponse, Message, Usage

REQUEST = ChatRequest((Message("user", "hello"),))
SHORTEST_S, LONGEST_S = 0.2, 1.7
"""A good answer takes some time; what fails, fails at once. So after a burst the failures are heard first."""


class Weather(ScriptedModel):
    """Fails at random, in a share of all requests."""

    def __init__(self, share: float, seed: int) -> None:
        super().__init__(lambda *_: "ok")
        self._share = share
        self._draw = random.Random(seed)
        self.good: list[float] = []

    async def chat(self, request: ChatRequest) -> ChatResponse:
        loop = asyncio.get_running_loop()
        self.times.append(loop.time())
        if self._draw.random() < self._share:
            await asyncio.sleep(0.005)
            raise self._fault()
        await asyncio.sleep(self._draw.uniform(SHORTEST_S, LONGEST_S))
        self.good.append(loop.time())
        return ChatResponse("ok", usage=Usage(10, 5, 1))

    def _fault(self) -> StepError:
        kinds = (
            ServerFault("500", http_status=500),
            ConnectionFault("reset"),
            BadResponse("<html>"),
            BadContent("too large"),
            Overloaded("529", http_status=529),
            RateLimited("429", http_status=429, retry_after=self._draw.choice((None, 0.2, 1.0, 2.0))),
        )
        return self._draw.choices(kinds, (8, 8, 8, 4, 1, 4))[0]


def good_answers_a_second(weather: Weather, told: int, seconds: float, *, auto: bool = False, after: float) -> float:
    """Over the time from `after` to `seconds`, with more requests waiting than may be in flight."""

    async def main() -> float:
        began = asyncio.get_running_loop().time()
        limiter = Limiter("model m", max_concurrency=told)
        endpoint = endpoint_of(weather, limiter=limiter, auto=auto, retries=20)
        numbers = itertools.count()

        async def worker() -> None:
            while asyncio.get_running_loop().time() - began < seconds:
                await endpoint.ask(REQUEST, visit_of(next(numbers)))

        await asyncio.gather(*(worker() for _ in range(2 * told + 64)))
        return began

    began = run_in_fake_time(main())
    return sum(after <= at - began < seconds for at in weather.good) / (seconds - after)


def at_best(told: int, share: float) -> float:
    """Good answers a second where so many are always in flight."""
    return told * (1 - share) / ((1 - share) * (SHORTEST_S + LONGEST_S) / 2 + share * 0.005)


@pytest.mark.parametrize(("told", "share"), [(8, 0.2), (100, 0.05), (100, 0.2), (100, 0.4)])
def test_a_share_of_failures_leaves_the_pace_of_the_others(told: int, share: float) -> None:
    rate = good_answers_a_second(Weather(share, seed=told), told, 60, after=10)
    assert rate >= 0.85 * at_best(told, share)


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_auto_grows_in_any_weather(share: float) -> None:
    """Answers of very different lengths are no sign of a queue, nor refusals at random one of a limit."""
    rate = good_answers_a_second(Weather(share, seed=3), 100, 90, auto=True, after=20)
    assert rate >= 0.85 * at_best(100, share)


@pytest.mark.slow
@pytest.mark.parametrize("auto", [False, True])
def test_half_an_hour_of_it_wears_nothing_down(auto: bool) -> None:
    weather = Weather(0.2, seed=11)
    rate = good_answers_a_second(weather, 60, 1800, auto=auto, after=1500)
    assert rate >= 0.85 * at_best(60, 0.2)


def test_where_half_of_all_fails_it_goes_on_at_a_good_part_of_the_pace() -> None:
    rate = good_answers_a_second(Weather(0.5, seed=5), 200, 90, after=10)
    assert rate >= 0.6 * at_best(200, 0.5)


def test_a_storm_that_is_over_slows_nobody_down() -> None:
    class Storm(Weather):
        async def chat(self, request: ChatRequest) -> ChatResponse:
            since = asyncio.get_running_loop().time() - 1000
            self._share = 0.9 if since < 60 else 0.0
            return await super().chat(request)

    rate = good_answers_a_second(Storm(0.9, seed=5), 200, 150, after=100)
    assert rate >= 0.95 * at_best(200, 0.0)
