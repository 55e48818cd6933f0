"""The batches of a worker, one by one, on a clock of its own."""

from __future__ import annotations

import asyncio

from fake_time import run_in_fake_time

from agentbatch.engines.ray.outbox import MOST_BYTES, Outbox
from agentbatch.engines.ray.parcels import Batch, FinishedRow, unpacked


def row(index: int, size: int = 10) -> FinishedRow:
    return (str(index), index, "ok", None, 1, False, {}, (), b"x" * size, None)


def outbox() -> Outbox:
    def make(number: int, most: int) -> Batch:
        finished = box.take(most)
        if box.empty:
            box.rest()
        return Batch(number, finished, [], [], 0, [], [])

    box = Outbox(make)
    return box


def told(data: bytes) -> tuple[int, list[int]]:
    """The number of a batch, and the items in it."""
    batch: Batch = unpacked(data)
    return batch.number, [row[1] for row in batch.finished]


def test_a_batch_is_said_again_until_it_is_acknowledged():
    async def main() -> list[tuple[int, list[int]]]:
        box = outbox()
        box.put(row(0))
        first = await box.drain(0, 1.0, 10)
        box.put(row(1))
        return [told(each) for each in (first, await box.drain(0, 1.0, 10), await box.drain(1, 1.0, 10))]

    assert run_in_fake_time(main()) == [(1, [0]), (1, [0]), (2, [1])]


def test_two_questions_for_one_batch_have_one_answer():
    async def main() -> list[tuple[int, list[int]]]:
        box = outbox()
        asked = [asyncio.create_task(box.drain(0, 1.0, 10)) for _ in range(2)]
        await asyncio.sleep(0.5)
        box.put(row(0))
        answers = [told(await each) for each in asked]
        return [*answers, told(await box.drain(1, 1.0, 10))]

    assert run_in_fake_time(main()) == [(1, [0]), (1, [0]), (2, [])]


def test_who_has_nothing_to_say_says_so_when_the_time_is_over_and_who_has_much_at_once():
    async def main() -> list[float]:
        box, loop, seconds = outbox(), asyncio.get_running_loop(), list[float]()
        for number, rows in enumerate([[], [row(0)], [row(1, MOST_BYTES), row(2)]]):
            began = loop.time()
            for each in rows:
                box.put(each)
            await box.drain(number, 1.0, 10)
            seconds.append(loop.time() - began)
        return seconds

    nothing, one, many = run_in_fake_time(main())
    assert nothing == 1.0
    assert many < one < nothing


def test_what_is_too_much_for_one_batch_comes_with_the_next():
    async def main() -> list[tuple[int, list[int]]]:
        box = outbox()
        for index in range(3):
            box.put(row(index, MOST_BYTES // 2))
        return [told(await box.drain(number, 1.0, 10)) for number in range(2)]

    assert run_in_fake_time(main()) == [(1, [0, 1]), (2, [2])]
