"""The watch over a cluster's head, on a clock of its own."""

from __future__ import annotations

import asyncio

from fake_time import run_in_fake_time

from agentbatch.engines.ray.head_watch import watch_head


def test_a_head_that_answers_now_and_then_is_there_and_a_silent_one_is_lost():
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def listens() -> bool:
            since = loop.time() - began
            return since < 10 or 30 < since < 60  # away for 20 s, and for good after a minute

        silent_s = await watch_head(listens, 25.0)
        return silent_s, loop.time() - began

    silent_s, passed = run_in_fake_time(main())
    assert 25 < silent_s < 28
    assert 84 < passed < 88
