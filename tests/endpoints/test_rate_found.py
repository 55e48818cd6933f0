"""A server's limit per minute is kept, whether the server announces it or leaves it to be found out."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest
from endpoints.limited_servers import (
    Bucket,
    CalendarMinute,
    LimitedServer,
    SlidingMinute,
    anthropic_headers,
    no_headers,
    openai_headers,
)
from fake_time import run_in_fake_time
from scripted import ScriptedModel, endpoint_of, visit_of

from agentbatch.errors import RateLimited, ServerFault
from agentbatch.limits import Limiter
from agentbatch.messages import ChatRequest, ChatResponse, Message

REQUEST = ChatRequest((Message("user", "hello"),))


def keep_busy(
    server: LimitedServer | ScriptedModel, seconds: float, *, told: int = 64, rpm: int | None = None, auto: bool = False
) -> float:
    """Ask it without a pause for so long; returns when that began."""

    async def main() -> float:
        began = asyncio.get_running_loop().time()
        endpoint = endpoint_of(server, limiter=Limiter("model m", max_concurrency=told, rpm=rpm), auto=auto)
        numbers = itertools.count()

        async def worker() -> None:
            while asyncio.get_running_loop().time() - began < seconds:
                await endpoint.ask(REQUEST, visit_of(next(numbers)))

        await asyncio.gather(*(worker() for _ in range(min(told, 200))))
        return began

    return run_in_fake_time(main())


class Use:
    """How much of what a server allows was used between two moments, and which share of the requests was refused."""

    def __init__(self, server: LimitedServer, began: float, start: float, end: float) -> None:
        taken = sum(start <= at - began < end for at in server.answered)
        refused = sum(start <= at - began < end for at in server.refused)
        self.share = taken / (server.rule.limit * (end - start) / 60)
        self.refused = refused / max(1, taken + refused)


RULES = {"sliding": SlidingMinute, "calendar": CalendarMinute, "bucket": Bucket}


@pytest.mark.parametrize("told", [64, "auto"])
@pytest.mark.parametrize("headers", [openai_headers, anthropic_headers])
@pytest.mark.parametrize("rule", RULES)
def test_an_announced_limit_is_kept_before_the_first_refusal(rule: str, headers: object, told: int | str) -> None:
    for limit in (60, 600):
        server = LimitedServer(RULES[rule](limit), headers)
        began = keep_busy(server, 300, told=1000 if told == "auto" else 64, auto=told == "auto")
        # what went out before the first answer came may be too much; after it next to nothing is
        assert len(server.refused) <= max(0, 64 - limit)
        later = Use(server, began, 60, 300)
        assert later.share >= 0.95, (limit, later.share)
        assert later.refused == 0


def test_where_others_use_the_same_key_less_is_asked() -> None:
    server = LimitedServer(SlidingMinute(600), openai_headers, others_every_s=0.2)
    began = keep_busy(server, 400)
    later = Use(server, began, 120, 400)
    assert later.share >= 0.4, "the others take half"
    assert later.refused <= 0.1


def test_an_announced_limit_never_raises_the_configured_one() -> None:
    server = LimitedServer(SlidingMinute(600), openai_headers)
    began = keep_busy(server, 120, rpm=120)
    assert Use(server, began, 0, 120).share <= 0.2
    tighter = LimitedServer(SlidingMinute(120), openai_headers)
    keep_busy(tighter, 120, rpm=600)
    assert tighter.refused == []


def test_a_limit_that_nobody_comes_near_slows_nobody_down() -> None:
    server = LimitedServer(SlidingMinute(100_000), openai_headers, latency=0.5)
    began = keep_busy(server, 60)
    assert len([at for at in server.answered if at - began < 60]) >= 0.98 * 64 / 0.5 * 60


def test_a_limit_per_day_is_not_taken_for_one_per_minute() -> None:
    def per_day(limit: int, left: int, reset_s: float) -> dict[str, str]:
        return {**openai_headers(limit, left, (limit - left) * 86400 / limit)}

    server = LimitedServer(Bucket(2000, 2000), per_day, latency=1.0)
    began = keep_busy(server, 25, told=60)
    assert len([at for at in server.answered if at - began < 25]) >= 0.9 * 60 * 25


@pytest.mark.parametrize("limit", [60, 600, pytest.param(6000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("auto", [False, True])
def test_an_even_limit_that_nobody_states_is_found_within_20_s(limit: int, auto: bool) -> None:
    server = LimitedServer(Bucket(limit, max(1, limit / 60)), no_headers)
    began = keep_busy(server, 240, told=200 if auto else 64, auto=auto)
    after = Use(server, began, 20, 240)
    assert after.share >= 0.9
    assert after.refused <= 0.025  # 0.0 to 0.02, with some luck in the jitter


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("limit", [60, 600])
def test_a_limit_per_minute_that_nobody_states_is_found_in_its_second_minute(rule: str, limit: int) -> None:
    server = LimitedServer(RULES[rule](limit), no_headers)
    began = keep_busy(server, 420, told=200, auto=True)
    after = Use(server, began, 120, 420)
    assert after.share >= 0.9
    assert after.refused <= 0.025  # 0.0 to 0.02, with some luck in the jitter


@pytest.mark.slow
def test_refusals_at_random_are_not_taken_for_a_rate() -> None:
    draw = random.Random(5)

    def script(*_: object) -> RateLimited | str:
        return RateLimited("429", http_status=429) if draw.random() < 0.05 else "ok"

    server = ScriptedModel(script, latency=0.5)
    began = keep_busy(server, 300)
    assert len([at for at in server.times if at - began < 300]) >= 0.9 * 64 / 0.5 * 300 * 0.92


def test_an_outage_of_30_s_is_over_10_s_after_it_with_auto_too() -> None:
    class Down(LimitedServer):
        """Refuses everything for a while."""

        async def chat(self, request: ChatRequest):
            since = asyncio.get_running_loop().time() - 1000
            if 40 <= since < 70:
                self.refused.append(since + 1000)
                raise RateLimited("429", http_status=429)
            return await super().chat(request)

    server = Down(Bucket(60_000, 60_000), latency=0.1)
    began = keep_busy(server, 100, told=20, auto=True)
    assert sum(40 <= at - began < 70 for at in server.refused) <= 60
    assert sum(80 <= at - began < 81 for at in server.answered) >= 0.9 * 20 / 0.1


@pytest.mark.parametrize("auto", [False, True])
def test_a_server_that_fails_for_30_s_is_hardly_asked_and_used_again_10_s_later(auto: bool) -> None:
    draw = random.Random(4)

    class Failing(ScriptedModel):
        """Takes 50 at once, and about 2 s for an answer; fails at once for half a minute."""

        failed = 0

        async def chat(self, request: ChatRequest) -> ChatResponse:
            if 30 <= asyncio.get_running_loop().time() - 1000 < 60:
                self.failed += 1
                raise ServerFault("503", http_status=503)
            if self.in_flight >= 50:
                raise RateLimited("429", http_status=429)
            self.latency = 2 * draw.lognormvariate(-0.125, 0.5)
            return await super().chat(request)

    server = Failing(lambda *_: "ok")
    began = keep_busy(server, 90, told=1000 if auto else 50, auto=auto)
    assert server.failed <= 60
    assert sum(70 <= at - began < 80 for at in server.times) >= 0.8 * 10 * 50 / 2
