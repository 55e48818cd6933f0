"""Whoever leaves gives everything back, however it leaves."""

from __future__ import annotations

import asyncio

import pytest
from fake_time import run_in_fake_time

from agentbatch.errors import RunStopped
from agentbatch.limits import Admission, Limiter


def test_an_admission_gives_everything_back_on_every_exit() -> None:
    async def main() -> None:
        agent = Limiter("agent a", max_concurrency=1, tpm=1000)
        model = Limiter("model m", max_concurrency=2, rpm=1)
        with pytest.raises(ZeroDivisionError):
            async with Admission((agent, model), 0, 500):
                raise ZeroDivisionError
        assert agent.permits and model.permits
        assert agent.permits.in_use == model.permits.in_use == 0
        waiting = asyncio.ensure_future(_enter(agent, model))
        await asyncio.sleep(0.1)  # it holds both permits and waits for the minute to pass
        assert agent.permits.in_use == model.permits.in_use == 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert agent.permits.in_use == model.permits.in_use == 0
        assert not model.rpm or model.rpm.waiting <= 1

    run_in_fake_time(main())


async def _enter(*limiters: Limiter) -> None:
    async with Admission(limiters, 0, 100):
        pass


def test_a_stopped_run_turns_everybody_away() -> None:
    async def main() -> None:
        limiter = Limiter("model m", max_concurrency=1, rpm=60)
        assert limiter.permits
        await limiter.permits.acquire(0)
        waiting = [asyncio.ensure_future(_enter(limiter)) for _ in range(3)]
        await asyncio.sleep(0)
        limiter.turn_away(RunStopped("enough"))
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ended] == [RunStopped] * 3
        limiter.permits.release()
        assert limiter.permits.in_use == 0

    run_in_fake_time(main())
