"""Places go to the earliest item first, and are all given back."""

from __future__ import annotations

import asyncio

import pytest
from fake_time import run_in_fake_time
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbatch.limits import Permits


def test_permits_serve_the_earliest_item_first() -> None:
    async def main() -> list[int]:
        permits = Permits(1)
        order: list[int] = []

        async def one(number: int) -> None:
            await permits.acquire(number)
            order.append(number)
            await asyncio.sleep(1)
            permits.release()

        await permits.acquire(0)
        waiting = [asyncio.ensure_future(one(number)) for number in (5, 3, 9, 1)]
        await asyncio.sleep(0)
        permits.release()
        await asyncio.gather(*waiting)
        return order

    assert run_in_fake_time(main()) == [1, 3, 5, 9]


@given(
    limit=st.integers(1, 5),
    visits=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5), st.one_of(st.none(), st.floats(0, 6))), max_size=40),
    sizes=st.lists(st.tuples(st.floats(0, 10), st.integers(1, 6)), max_size=5),
)
@settings(max_examples=100)
def test_permits_hold_under_cancellation_and_resizing(limit, visits, sizes) -> None:
    async def main() -> None:
        permits = Permits(limit)
        largest = max([limit, *(size for _, size in sizes)])
        inside = 0

        async def visit(number: int, arrive: float, stay: float) -> None:
            nonlocal inside
            await asyncio.sleep(arrive)
            async with permits.held(number):
                inside += 1
                assert inside <= largest
                try:
                    await asyncio.sleep(stay)
                finally:
                    inside -= 1

        tasks = []
        loop = asyncio.get_running_loop()
        for number, (arrive, stay, cancel) in enumerate(visits):
            task = asyncio.ensure_future(visit(number, arrive, stay))
            tasks.append(task)
            if cancel is not None:
                loop.call_later(cancel, task.cancel)
        for at, size in sizes:
            loop.call_later(at, permits.resize, size)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ended)
        assert permits.in_use == 0

    run_in_fake_time(main())


def test_a_hold_lets_nobody_in_before_its_end() -> None:
    async def main() -> float:
        permits = Permits(2)
        began = asyncio.get_running_loop().time()
        permits.hold(began + 5)
        permits.hold(began + 1)
        await permits.acquire(0)
        return asyncio.get_running_loop().time() - began

    assert run_in_fake_time(main()) == pytest.approx(5)
