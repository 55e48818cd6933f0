"""Many time limits on one timer: each ends its own task, at its own time, and nobody else's."""

from __future__ import annotations

import asyncio

import pytest
from fake_time import run_in_fake_time

from agentbatch.process.deadlines import Deadlines


def now() -> float:
    return asyncio.get_running_loop().time()


def test_each_ends_after_its_own_time() -> None:
    async def main() -> list[float]:
        deadlines, ended, began = Deadlines(10.0), list[float](), now()

        async def work(start: float) -> None:
            await asyncio.sleep(start)
            with pytest.raises(TimeoutError), deadlines.next():
                await asyncio.sleep(1000)
            ended.append(now() - began)

        await asyncio.gather(*(work(start) for start in (0.0, 3.0, 4.0, 25.0)))
        return ended

    assert run_in_fake_time(main()) == pytest.approx([10.0, 13.0, 14.0, 35.0], abs=0.01)


def test_work_that_ends_in_time_is_left_alone_however_often() -> None:
    async def main() -> float:
        deadlines, began = Deadlines(10.0), now()
        for _ in range(8):
            with deadlines.next():
                await asyncio.sleep(9)
        await asyncio.sleep(100)
        return now() - began

    assert run_in_fake_time(main()) == pytest.approx(172.0, abs=0.1)


def test_a_short_one_behind_a_hanging_one_is_not_held_up() -> None:
    async def main() -> list[str]:
        deadlines, seen = Deadlines(10.0), list[str]()

        async def hang() -> None:
            with pytest.raises(TimeoutError), deadlines.next():
                await asyncio.Event().wait()
            seen.append("hung")

        async def quick() -> None:
            for _ in range(3):
                with deadlines.next():
                    await asyncio.sleep(1)
            seen.append("quick")

        await asyncio.gather(hang(), quick())
        return seen

    assert run_in_fake_time(main()) == ["quick", "hung"]


def test_who_is_cancelled_by_somebody_else_stays_cancelled() -> None:
    async def main() -> tuple[bool, int]:
        deadlines = Deadlines(10.0)

        async def work() -> None:
            with deadlines.next():
                await asyncio.sleep(1000)

        task = asyncio.create_task(work())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled(), task.cancelling()

    assert run_in_fake_time(main()) == (True, 1)


def test_a_cancellation_in_the_moment_it_expires_wins() -> None:
    async def main() -> bool:
        deadlines = Deadlines(10.0)

        async def work() -> None:
            with deadlines.next():
                await asyncio.sleep(1000)

        task = asyncio.create_task(work())
        asyncio.get_running_loop().call_later(10.0, task.cancel)
        await asyncio.wait([task])
        return task.cancelled()

    assert run_in_fake_time(main())


def test_after_it_expired_the_task_goes_on_as_if_never_cancelled() -> None:
    async def main() -> int:
        deadlines = Deadlines(10.0)
        for _ in range(2):
            with pytest.raises(TimeoutError), deadlines.next():
                await asyncio.sleep(1000)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert run_in_fake_time(main()) == 0


def test_an_own_error_passes_through() -> None:
    async def main() -> None:
        with Deadlines(10.0).next():
            raise KeyError("mine")

    with pytest.raises(KeyError):
        run_in_fake_time(main())
