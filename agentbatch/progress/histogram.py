"""Latency percentiles in constant memory: a histogram whose buckets grow by a fixed factor."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log
from typing import Final

_SMALLEST_S: Final = 1e-6
_GROWTH: Final = 1.08
"""A bucket is 8 % wide and answers with its middle, so a percentile is within 4 % of a measured value."""

_PER_LOG: Final = 1 / log(_GROWTH)
_BUCKETS: Final = ceil(log(7 * 86400 / _SMALLEST_S) * _PER_LOG)


class LatencyHistogram:
    """Counts durations from a microsecond to a week."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS

    def add(self, seconds: float) -> None:
        """Count one duration."""
        bucket = int(log(seconds / _SMALLEST_S) * _PER_LOG) if seconds > _SMALLEST_S else 0
        self._counts[bucket if bucket < _BUCKETS else -1] += 1

    def include(self, other: LatencyHistogram) -> None:
        """Count all that another histogram counted."""
        self._counts = [ours + theirs for ours, theirs in zip(self._counts, other._counts, strict=True)]

    def percentiles(self, *shares: float) -> Sequence[float | None]:
        """The durations that these shares (0..1, ascending) of all stay at or under; None where nothing was counted."""
        counts = self._counts.copy()
        total = sum(counts)
        if not total:
            return [None] * len(shares)
        answers: list[float | None] = []
        bucket, seen = 0, counts[0]
        for share in shares:
            while seen < max(1, ceil(total * share)):
                bucket += 1
                seen += counts[bucket]
            answers.append(_SMALLEST_S * _GROWTH ** (bucket + 0.5))
        return answers
