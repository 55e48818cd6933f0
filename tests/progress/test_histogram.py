import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbatch.progress.histogram import LatencyHistogram


def exact(values: list[float], share: float) -> float:
    return sorted(values)[max(1, math.ceil(len(values) * share)) - 1]


@given(st.lists(st.floats(2e-6, 6 * 86400), min_size=1, max_size=200))
def test_percentiles_are_within_five_percent(values: list[float]) -> None:
    histogram = LatencyHistogram()
    for value in values:
        histogram.add(value)
    for share, found in zip((0.5, 0.95), histogram.percentiles(0.5, 0.95), strict=True):
        assert found == pytest.approx(exact(values, share), rel=0.05)


def test_nothing_counted_has_no_percentile() -> None:
    assert list(LatencyHistogram().percentiles(0.5, 0.95)) == [None, None]


@pytest.mark.parametrize("extreme", [-1.0, 0.0, 1e-9, 1e9, float("inf")])
def test_extremes_are_counted(extreme: float) -> None:
    histogram = LatencyHistogram()
    histogram.add(min(extreme, 1e300))
    (found,) = histogram.percentiles(0.5)
    assert found is not None
    assert found > 0
