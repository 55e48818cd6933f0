"""The limits hold in every window, serve the earliest first, and give everything back."""

from __future__ import annotations

import asyncio

import pytest
from fake_time import run_in_fake_time
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbatch.errors import BadRequest, RunStopped
from agentbatch.limits import Admission, Budget, Limiter, Permits, Rate


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


def test_budget_is_set_aside_before_and_settled_after() -> None:
    async def main() -> None:
        budget = Budget(1.0, spent=0.5)

        async def spend(worst: float, really: float, seconds: float) -> float:
            async with budget.reserved(worst) as spending:
                entered = asyncio.get_running_loop().time()
                await asyncio.sleep(seconds)
                spending.usd = really
            return entered - began

        began = asyncio.get_running_loop().time()
        entered = await asyncio.gather(spend(0.4, 0.1, 5.0), spend(0.3, 0.1, 1.0), spend(0.1, 0.1, 1.0))
        assert entered == [0.0, 5.0, 0.0], "the second waits: together with the first it could pass the cap"
        assert budget.spent == pytest.approx(0.8)
        assert budget.set_aside == pytest.approx(0)
        with pytest.raises(RunStopped, match=r"max_cost \$1 is reached: \$0.8000 spent.*could cost \$0.3000"):
            await spend(0.3, 0.0, 0.0)

    run_in_fake_time(main())


async def test_a_cap_that_comes_late_counts_what_is_set_aside_by_then() -> None:
    """With a cap for items alone, requests set money aside, too."""
    budget = Budget(None)
    budget.item_cap = 1.0
    async with budget.reserved(0.4) as spending:
        budget.set_cap(5.0)
        assert budget.set_aside == pytest.approx(0.4)
        spending.usd = 0.1
    assert budget.set_aside == pytest.approx(0.0)
    assert budget.spent == pytest.approx(0.1)
