"""Where the time goes: who is given it, and what a run of each kind is found to be bound by."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_time import run_in_fake_time
from workflow import config_of

from agentbatch.engines.local import LocalEngine
from agentbatch.engines.waits import work_under_way
from agentbatch.items import Item
from agentbatch.limits import Budget
from agentbatch.process.control import Control
from agentbatch.time_book import Bound, BoundTime, TimeBook, Waits, in_words, shared_out, strongest_limit
from agentbatch.trace import Tracer

RPM, ANSWERS, CPU, OTHER = Bound("rpm", "model m"), Bound("provider", "model m"), Bound("cpu"), Bound("other")


def idle() -> tuple[float, float]:
    return 0.0, 0.0


def kept(waits: Waits, seconds: float, cpu: Any = idle) -> dict[Bound, float]:
    """The books of so many seconds in which this was waited for."""

    async def main() -> dict[Bound, float]:
        book = TimeBook(lambda: waits, cpu)
        book.start()
        await asyncio.sleep(seconds)
        book.stop()
        book.stop()
        return book.seconds

    return run_in_fake_time(main())


def test_time_is_given_to_what_is_waited_for_by_weight() -> None:
    assert kept({RPM: 30, ANSWERS: 10}, 60) == {RPM: pytest.approx(45), ANSWERS: pytest.approx(15)}


def test_time_in_which_nothing_is_waited_for_is_other() -> None:
    assert kept({}, 2) == {OTHER: pytest.approx(2)}


def test_a_busy_process_is_waited_for_whatever_else_seems_so() -> None:
    def busy() -> Iterator[tuple[float, float]]:
        now = asyncio.get_running_loop().time
        while True:
            yield now(), now() * 0.7

    clock = busy()
    assert kept({RPM: 1}, 5, lambda: next(clock)) == {CPU: pytest.approx(5)}


def test_a_loop_that_comes_late_had_no_time() -> None:
    async def main() -> dict[Bound, float]:
        loop = asyncio.get_running_loop()
        book = TimeBook(lambda: {RPM: 1}, idle)
        book.start()
        await asyncio.sleep(10)
        loop._instant.waited += 3  # type: ignore[attr-defined]  # as long as a callback that blocks the loop
        await asyncio.sleep(7)
        book.stop()
        return book.seconds

    assert run_in_fake_time(main()) == {RPM: pytest.approx(17, abs=0.2), CPU: pytest.approx(3, abs=0.2)}


def test_a_run_shorter_than_a_look_is_other() -> None:
    assert kept({RPM: 1}, 0.001) == {OTHER: pytest.approx(0.001)}


def test_shares_add_up_to_the_wall_time() -> None:
    times = shared_out({ANSWERS: 2.0, RPM: 6.0}, 10.0)
    assert times == (
        BoundTime("rpm", "model m", 6.0, 0.6),
        BoundTime("provider", "model m", 2.0, 0.2),
        BoundTime("other", "", 2.0, 0.2),
    )
    assert shared_out({}, 0.0) == ()


def test_the_strongest_limit_is_the_one_most_wait_for() -> None:
    tpm = Bound("tpm", "model m")
    assert strongest_limit({ANSWERS: 100, RPM: 2, tpm: 3}) == tpm
    assert strongest_limit({ANSWERS: 100}) is None
    assert strongest_limit({RPM: 0}) is None


def test_words_name_the_largest() -> None:
    times = shared_out({ANSWERS: 1.0, RPM: 96.0, CPU: 3.0}, 100.0)
    assert in_words(times) == [("rpm of model m", 0.96)]
    assert in_words(times, least=0.02) == [("rpm of model m", 0.96), ("CPU of agentbatch", 0.03)]
    assert in_words(shared_out({ANSWERS: 1.0}, 50.0)[1:]) == [("answers of model m", 0.02)]


# what a run of each kind is found to be bound by


def bound_by(folder: Path, items: int, **sections: Any) -> dict[Bound, float]:
    """The books of a run in simulated time, as shares."""
    agents = sections.pop("agents", {"x": {"model": "m"}})
    config = config_of(folder, agents, **sections)

    async def main() -> dict[Bound, float]:
        left = iter([Item(str(index + 1), index, {}) for index in range(items)])
        engine = LocalEngine(config, tracer=Tracer(), control=Control(), budget=Budget(config.limits.max_cost))
        async with engine:
            book = TimeBook(engine.waits, idle)
            book.start()
            await engine.run(lambda: next(left, None), lambda ended: None)
            book.stop()
        return book.seconds

    seconds = run_in_fake_time(main())
    return {bound: spent / sum(seconds.values()) for bound, spent in seconds.items()}


def one_model(**settings: Any) -> dict[str, Any]:
    return {"m": {"provider": "mock", "latency": "1s", "output_tokens": 100, **settings}}


@pytest.mark.parametrize(
    ("expected", "items", "sections"),
    [
        (Bound("rpm", "model m"), 300, {"models": one_model(rpm=60)}),
        (Bound("tpm", "model m"), 300, {"models": one_model(tpm=6000)}),
        (Bound("rpm", "agent x"), 300, {"models": one_model(), "agents": {"x": {"model": "m", "rpm": 60}}}),
        (Bound("concurrency", "model m"), 300, {"models": one_model(max_concurrency=4)}),
        (
            Bound("concurrency", "agent x"),
            300,
            {"models": one_model(), "agents": {"x": {"model": "m", "max_concurrency": 4}}},
        ),
        (
            Bound("concurrency", "group g"),
            300,
            {"models": one_model(), "groups": {"g": {"sequence": ["x"], "max_concurrency": 4}}, "workflow": "g"},
        ),
        (Bound("concurrency"), 300, {"models": one_model(), "limits": {"max_concurrency": 4}}),
        (Bound("provider", "model m"), 1, {"models": one_model(latency="100s")}),
        (
            Bound("back_off", "model m"),
            1,
            {"models": one_model(latency="10ms", errors={"server": 1.0}, retries=3)},
        ),
        (
            Bound("cool_down", "model m"),
            50,
            {"models": one_model(latency="10ms", errors={"rate_limited": 0.2, "retry_after": "20s"})},
        ),
    ],
    ids=lambda value: value.words if isinstance(value, Bound) else "",
)
def test_what_binds_a_run_is_found(tmp_path: Path, expected: Bound, items: int, sections: dict[str, Any]) -> None:
    shares = bound_by(tmp_path, items, **sections)
    assert max(shares, key=lambda bound: shares[bound]) == expected, shares
    assert shares[expected] > 0.6, shares


def test_tools_and_programs_are_the_work_that_is_no_request() -> None:
    assert work_under_way([], 3) == {Bound("work"): 3}
    assert work_under_way([], 0) == {}


def test_two_models_share_the_time_by_who_waits_for_them(tmp_path: Path) -> None:
    models = {"m": {"provider": "mock", "latency": "1s"}, "n": {"provider": "mock", "latency": "3s"}}
    agents = {"x": {"model": "m"}, "y": {"model": "n", "needs": ["x"]}}
    shares = bound_by(tmp_path, 1, models=models, agents=agents)
    assert shares[Bound("provider", "model m")] == pytest.approx(0.25, abs=0.05)
    assert shares[Bound("provider", "model n")] == pytest.approx(0.75, abs=0.05)
