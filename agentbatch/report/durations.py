"""Durations of one kind of work: exact percentiles, and how they are spread."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from math import ceil, floor, log10

from agentbatch.record import record

BINS_PER_DECADE = 12
"""Bins of the distribution are as wide as their neighbour times 10 ** (1/12): 21 %."""

_SMALLEST_S = 1e-6


@record
class Spread:
    """How long something took, over `count` times. All in seconds; None where there was nothing.

    Attributes:
        first_bin: the first bin's exponent: bin `b` begins at `10 ** (b / BINS_PER_DECADE)` seconds.
        bins: how many durations fell into each bin, from `first_bin` on.
    """

    count: int = 0
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    longest: float | None = None
    first_bin: int = 0
    bins: Sequence[int] = ()


class Durations:
    """Collects durations in four bytes each."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds = array("f")

    def add(self, seconds: float) -> None:
        """Count one duration; what a clock that was set back made negative counts as zero."""
        self._seconds.append(seconds if seconds > 0 else 0.0)

    def include(self, other: Durations) -> None:
        """All that another one counted."""
        self._seconds.extend(other._seconds)

    def spread(self) -> Spread:
        """The figures of all that were added."""
        ordered = sorted(self._seconds)
        if not ordered:
            return Spread()
        first_bin, bins = _bins(ordered)
        return Spread(
            count=len(ordered),
            mean=sum(ordered) / len(ordered),
            p50=_percentile(ordered, 0.5),
            p90=_percentile(ordered, 0.9),
            p95=_percentile(ordered, 0.95),
            p99=_percentile(ordered, 0.99),
            longest=ordered[-1],
            first_bin=first_bin,
            bins=bins,
        )


def _percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest rank: the least value that this share of all stays at or under."""
    return ordered[max(1, ceil(len(ordered) * share)) - 1]


def _bins(ordered: Sequence[float]) -> tuple[int, list[int]]:
    first, last = _bin_of(ordered[0]), _bin_of(ordered[-1])
    ends = [bisect_left(ordered, 10 ** (after / BINS_PER_DECADE)) for after in range(first + 1, last + 1)]
    starts = [0, *ends]
    return first, [end - start for start, end in zip(starts, [*ends, len(ordered)], strict=True)]


def _bin_of(seconds: float) -> int:
    return floor(log10(max(seconds, _SMALLEST_S)) * BINS_PER_DECADE)
