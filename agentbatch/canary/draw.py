"""Which items a canary takes."""

from __future__ import annotations

from itertools import pairwise
from random import Random


def spread(count: int, wanted: int, seed: int) -> frozenset[int]:
    """`wanted` of the places from 0 to `count`, one by chance from each of as many equal stretches.

    Inputs are often sorted: by length, by customer, by day. Their first ones would say little of the rest.
    """
    if wanted >= count:
        return frozenset(range(count))
    bounds = [count * stretch // wanted for stretch in range(wanted + 1)]
    chance = Random(seed)
    return frozenset(chance.randrange(low, high) for low, high in pairwise(bounds))
