"""What a sum over many items will be, judged by some of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple

CONFIDENCE = 0.9
"""How often such an interval holds what it is about, where items are alike and none is far dearer than the rest."""


class Estimate(NamedTuple):
    """What is expected, and the bounds of a 90% interval. `high` is infinite where one item has to stand for all."""

    expected: float = 0.0
    low: float = 0.0
    high: float = 0.0


def sum_of_others(seen: Sequence[float], others: int) -> Estimate:
    """The sum over `others` more items like those `seen`: a prediction interval.

    Its width has two parts: that the mean is known from a few items only, and that the others differ among themselves.
    Source: https://en.wikipedia.org/wiki/Prediction_interval#Unknown_mean,_unknown_variance, for a sum instead of one.
    """
    if not others or not seen:
        return Estimate(0.0, 0.0, math.inf if others else 0.0)
    expected = fmean(seen) * others
    if len(seen) < 2:
        return Estimate(expected, 0.0, math.inf)
    error = stdev(seen) * math.sqrt(others * others / len(seen) + others)
    return _around(expected, error, len(seen) - 1)


def mean_of(seen: Sequence[float]) -> Estimate:
    """The mean that many items like those `seen` have: a confidence interval."""
    if len(seen) < 2:
        return Estimate(fmean(seen), 0.0, math.inf) if seen else Estimate()
    return _around(fmean(seen), stdev(seen) / math.sqrt(len(seen)), len(seen) - 1)


def _around(expected: float, error: float, freedom: int) -> Estimate:
    half = student_t((1 + CONFIDENCE) / 2, freedom) * error
    return Estimate(expected, max(0.0, expected - half), expected + half)


def student_t(probability: float, freedom: int) -> float:
    """The quantile of Student's t distribution for a probability above 1/2, to three figures.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5; exact for one and two degrees of freedom.
    """
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:
        return (2 * probability - 1) * math.sqrt(2 / (4 * probability * (1 - probability)))
    z = NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / freedom**power for power, term in enumerate(terms))
