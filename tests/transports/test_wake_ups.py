"""However many answers come at once, the event loop gets its turns between those who go on because of them."""

from __future__ import annotations

import asyncio
from collections import Counter

from agentbatch.transports.wake_ups import WakeUps


async def woken(count: int, gone: frozenset[int] = frozenset()) -> list[tuple[int, int]]:
    """All that waited are woken at once, but for those that were cancelled meanwhile: in which turn, and who."""
    loop = asyncio.get_running_loop()
    turn = 0
    went_on: list[tuple[int, int]] = []

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        loop.call_soon(next_turn)

    async def wait(number: int) -> None:
        await waiters[number]
        went_on.append((turn, number))

    waiters = [loop.create_future() for _ in range(count)]
    tasks = [asyncio.create_task(wait(number)) for number in range(count)]
    await asyncio.sleep(0)
    wake_ups = WakeUps(loop)
    next_turn()
    for waiter in waiters:
        wake_ups.wake(waiter)
    for number in gone:
        tasks[number].cancel()
    async with asyncio.timeout(30):
        await asyncio.gather(*tasks, return_exceptions=True)
    return went_on


async def test_a_few_go_on_at_once() -> None:
    turns = {turn for turn, _ in await woken(20)}
    assert len(turns) == 1


async def test_thousands_go_on_in_their_order_some_in_each_turn() -> None:
    went_on = await woken(2_000)
    assert [number for _, number in went_on] == list(range(2_000))
    assert max(Counter(turn for turn, _ in went_on).values()) <= 50


async def test_who_was_cancelled_meanwhile_holds_nobody_up() -> None:
    gone = frozenset(range(100, 900))
    went_on = await woken(1_000, gone)
    assert [number for _, number in went_on] == [*range(100), *range(900, 1_000)]
