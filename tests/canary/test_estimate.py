"""Intervals around sums: known quantiles, and how often they hold what they are about."""

import math
import random

import pytest

from agentbatch.canary.draw import spread
from agentbatch.canary.estimate import mean_of, student_t, sum_of_others


@pytest.mark.parametrize(
    ("freedom", "value"), [(1, 6.314), (2, 2.920), (3, 2.353), (4, 2.132), (9, 1.833), (19, 1.729), (99, 1.660)]
)
def test_quantiles_are_those_of_the_tables(freedom: int, value: float) -> None:
    assert student_t(0.95, freedom) == pytest.approx(value, abs=0.004)


def test_equal_items_leave_no_doubt() -> None:
    assert sum_of_others([2.0] * 5, 10) == (20.0, 20.0, 20.0)


def test_nothing_left_costs_nothing() -> None:
    assert sum_of_others([1.0, 3.0], 0) == (0.0, 0.0, 0.0)


def test_one_item_says_nothing_of_the_upper_bound() -> None:
    assert sum_of_others([2.0], 10) == (20.0, 0.0, math.inf)
    assert mean_of([2.0]) == (2.0, 0.0, math.inf)


def test_a_sum_by_hand() -> None:
    """Of 1, 2, 3: mean 2, deviation 1; ten more: 20 +- 2.92 * sqrt(100 / 3 + 10)."""
    found = sum_of_others([1.0, 2.0, 3.0], 10)
    assert found.expected == 20.0
    assert found.high - 20.0 == pytest.approx(2.92 * math.sqrt(100 / 3 + 10), rel=1e-3)


@pytest.mark.parametrize("spread_of", [0.3, 0.7])
def test_nine_of_ten_intervals_hold_the_sum_of_skewed_costs(spread_of: float) -> None:
    chance = random.Random(7)
    held = 0
    for _ in range(400):
        costs = [chance.lognormvariate(0, spread_of) for _ in range(320)]
        found = sum_of_others(costs[:20], 300)
        held += found.low <= sum(costs[20:]) <= found.high
    assert 0.84 < held / 400 < 0.96


def test_the_sample_has_one_item_of_every_stretch_and_is_the_same_for_a_seed() -> None:
    places = sorted(spread(1000, 10, 3))
    assert [place // 100 for place in places] == list(range(10))
    assert spread(1000, 10, 3) == spread(1000, 10, 3) != spread(1000, 10, 4)


def test_a_sample_of_more_than_there_is_takes_all() -> None:
    assert spread(3, 10, 0) == {0, 1, 2}
    assert spread(0, 10, 0) == frozenset()
