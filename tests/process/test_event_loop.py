"""The garbage collector of a run: set for what is in flight, and only where the process is a run's own."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from agentbatch.process.event_loop import expect_in_flight, run_loop


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """As it was, for the tests that follow."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


async def threshold_with(items: int) -> int:
    expect_in_flight(items)
    return gc.get_threshold()[0]


def test_a_thousand_in_flight_are_not_looked_through_and_of_ten_thousand_a_few_at_a_time() -> None:
    few, many = run_loop(threshold_with(1000)), run_loop(threshold_with(10_000))
    assert few >= 60 * 1000, "some 60 objects each"
    assert many <= few / 4


async def test_a_program_that_runs_a_batch_on_its_own_loop_keeps_its_setting() -> None:
    gc.set_threshold(1234, 5, 6)
    expect_in_flight(10_000)
    assert gc.get_threshold() == (1234, 5, 6)
