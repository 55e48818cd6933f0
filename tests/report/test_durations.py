import math

import pytest

from agentbatch.report.durations import BINS_PER_DECADE, Durations, Spread


def durations(*seconds: float) -> Spread:
    book = Durations()
    for one in seconds:
        book.add(one)
    return book.spread()


def test_nothing_has_no_figures() -> None:
    assert durations() == Spread()


def test_percentiles_are_the_nearest_rank() -> None:
    spread = durations(*(number / 100 for number in range(100, 0, -1)))
    assert (spread.count, spread.longest) == (100, 1.0)
    assert spread.p50 == pytest.approx(0.5)
    assert spread.p90 == pytest.approx(0.9)
    assert spread.p95 == pytest.approx(0.95)
    assert spread.p99 == pytest.approx(0.99)
    assert spread.mean == pytest.approx(0.505)


def test_one_duration_is_every_percentile() -> None:
    spread = durations(0.25)
    assert {spread.p50, spread.p90, spread.p95, spread.p99, spread.longest, spread.mean} == {0.25}
    assert list(spread.bins) == [1]


def test_every_duration_lies_in_its_bin() -> None:
    seconds = [0.011, 0.012, 0.5, 0.5, 3.0, 80.0]
    spread = durations(*seconds)
    expected = [0] * len(spread.bins)
    for one in seconds:
        expected[math.floor(math.log10(one) * BINS_PER_DECADE) - spread.first_bin] += 1
    assert list(spread.bins) == expected


def test_zero_and_less_count_as_the_shortest() -> None:
    spread = durations(0.0, -1.0, 1e-9)
    assert spread.p50 == 0.0
    assert (spread.first_bin, list(spread.bins)) == (-6 * BINS_PER_DECADE, [3])
