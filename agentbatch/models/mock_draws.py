"""Chance that repeats itself: numbers drawn from a key, the same ones in every process and on every machine."""

from __future__ import annotations

import math
from hashlib import blake2b

_REMEMBERED = 1 << 17
_FRACTION = 1.0 / (1 << 53)


def number(key: bytes, purpose: bytes) -> int:
    """A whole number in [0, 2**64) for this key and purpose."""
    return int.from_bytes(blake2b(key, digest_size=8, person=purpose).digest(), "big")


def fraction(key: bytes, purpose: bytes) -> float:
    """A number spread evenly over [0, 1) for this key and purpose. A purpose has at most 16 bytes."""
    return (number(key, purpose) >> 11) * _FRACTION


def gauss(key: bytes, purpose: bytes) -> float:
    """A number of the standard normal distribution (Box and Muller's method)."""
    radius = math.sqrt(-2.0 * math.log(1.0 - fraction(key, purpose)))
    return radius * math.cos(2.0 * math.pi * fraction(key, purpose + b"'"))


class AskCount:
    """How often each request was asked before.

    Its memory is bounded: of more than 131,072 requests the oldest are forgotten, and begin at 0 again. A retry comes
    long before that.
    """

    def __init__(self) -> None:
        self._young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}

    def next(self, key: bytes) -> int:
        """0 for the first time, 1 for the second, ..."""
        seen = self._young.get(key)
        if seen is None:
            seen = self._old.get(key, 0)
            if len(self._young) >= _REMEMBERED:
                self._old, self._young = self._young, {}
        self._young[key] = seen + 1
        return seen
