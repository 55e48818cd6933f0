"""Rates hold in every window, and use nearly all of it."""

from __future__ import annotations

import asyncio

import pytest
from fake_time import run_in_fake_time
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbatch.errors import BadRequest
from agentbatch.limits import Rate


def most_in_any_window(events: list[tuple[float, float]], window: float = 60.0) -> float:
    """The largest sum of amounts in any half-open window that begins at an event."""
    most = total = 0.0
    first = 0
    for at, amount in events:
        total += amount
        while events[first][0] <= at - window:
            total -= events[first][1]
            first += 1
        most = max(most, total)
    return most


@pytest.mark.parametrize("limit", [1, 7, 60, 143, 600, 10_000])
def test_rate_never_passes_its_limit_and_uses_97_percent_of_it(limit: int) -> None:
    hours = 3 * 3600.0 if limit <= 600 else 600.0

    async def main() -> list[tuple[float, float]]:
        rate = Rate(limit, "requests", "model m")
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), []
        while loop.time() - began < hours:
            await rate.take(0, 1)
            sent.append((loop.time() - began, 1.0))
        return sent

    sent = run_in_fake_time(main())
    assert most_in_any_window(sent) <= limit
    assert len(sent) >= 0.97 * limit * hours / 60


@given(
    limit=st.integers(1_000, 100_000),
    requests=st.lists(
        st.tuples(st.floats(0.001, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 30.0)), min_size=2, max_size=60
    ),
)
@settings(max_examples=60)
def test_tokens_settled_later_never_pass_the_limit(limit: int, requests: list[tuple[float, float, float]]) -> None:
    async def main() -> list[tuple[float, float]]:
        rate = Rate(limit, "tokens", "model m")
        loop = asyncio.get_running_loop()
        used: list[tuple[float, float]] = []

        async def one(number: int, share: float, really: float, seconds: float) -> None:
            grant = await rate.take(number, share * limit)
            began = loop.time()
            await asyncio.sleep(seconds)
            rate.settle(grant, share * limit * really)
            used.append((began, share * limit * really))

        await asyncio.gather(*(one(number, *request) for number, request in enumerate(requests)))
        return sorted(used)

    assert most_in_any_window(run_in_fake_time(main())) <= limit * (1 + 1e-9)


def test_token_rate_uses_97_percent_although_reservations_are_generous() -> None:
    limit, minutes = 60_000, 30

    async def main() -> float:
        rate = Rate(limit, "tokens", "model m")
        loop = asyncio.get_running_loop()
        end = loop.time() + minutes * 60
        used = 0.0

        async def worker() -> None:
            nonlocal used
            while loop.time() < end:
                grant = await rate.take(0, 1000)
                await asyncio.sleep(0.2)  # what is reserved and not settled can't be used: 2 % of the minute here
                rate.settle(grant, 300)
                used += 300

        await asyncio.gather(*(worker() for _ in range(30)))
        return used

    assert run_in_fake_time(main()) >= 0.97 * limit * minutes


def test_an_absurd_count_of_tokens_holds_others_up_for_a_window_at_most() -> None:
    async def main() -> float:
        rate = Rate(1_000, "tokens", "model m")
        rate.settle(await rate.take(0, 10), 50_000_000)
        began = asyncio.get_running_loop().time()
        await rate.take(1, 10)
        return asyncio.get_running_loop().time() - began

    assert run_in_fake_time(main()) <= 61


def test_no_burst_after_idling() -> None:
    async def main() -> list[tuple[float, float]]:
        rate = Rate(600, "requests", "model m")
        sent = []
        for _ in range(3):
            await asyncio.sleep(600)
            for _ in range(700):
                await rate.take(0, 1)
                sent.append((asyncio.get_running_loop().time(), 1.0))
        return sent

    sent = run_in_fake_time(main())
    assert most_in_any_window(sent) <= 600
    assert most_in_any_window(sent, 1.0) <= 600 / 60 + 600 * 0.007 + 1


def test_one_request_larger_than_the_minute_fails_at_once() -> None:
    async def main() -> float:
        rate = Rate(1000, "tokens", "model fast")
        before = asyncio.get_running_loop().time()
        with pytest.raises(BadRequest, match=r"1,001 tokens.*model fast.*1,000"):
            await rate.take(0, 1001)
        return asyncio.get_running_loop().time() - before

    assert run_in_fake_time(main()) == 0


def test_large_request_is_not_starved_by_small_ones() -> None:
    async def main() -> list[int]:
        rate = Rate(1000, "tokens", "model m")
        order: list[int] = []

        async def one(number: int, amount: int) -> None:
            await rate.take(number, amount)
            order.append(number)

        await asyncio.gather(*(one(number, 900 if number == 3 else 100) for number in range(20)))
        return order

    assert run_in_fake_time(main()) == list(range(20))
