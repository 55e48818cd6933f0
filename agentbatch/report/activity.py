"""What went on when: how much was in flight, what ended, what failed, per slice of time.

Built in one pass, in whatever order things are told, in memory that does not grow with the run: slices get twice as
wide whenever there would be too many. Time in which nothing happened has no slices, so that a run that was
continued a week later is as sharp as one that was not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from agentbatch.record import record

Track = Literal["items", "calls", "waits"]
"""What takes time: an item, an attempt of a call, and a sleep before the next attempt."""

_PLACES: dict[Track, int] = {"items": 0, "calls": 4, "waits": 8}
_WIDTH = 12
_NARROWEST = 20
"""Slices begin 2 ** 20 ns wide: about a millisecond."""

_MOST_KEPT = 8192
_MOST_SHOWN = 240
_FEWEST_SHOWN = 24
_EVENTS_A_SLICE = 4
"""Of few events only wide slices make a rate."""

_IDLE_SHARE = 0.05
_IDLE_S = 10.0


@record
class Stretch:
    """A time without a long pause in it. Each list has one number per slice, the first of which begins at `start_s`.

    Attributes:
        start_s: Unix time.
        items, calls: how many ended per second.
        items_in_flight, calls_in_flight, waiting: how many at once, on average.
        failures: how many there were, by type.
    """

    start_s: float
    items: Sequence[float]
    calls: Sequence[float]
    items_in_flight: Sequence[float]
    calls_in_flight: Sequence[float]
    waiting: Sequence[float]
    failures: Mapping[str, Sequence[int]]


@record
class Course:
    """A whole run over time: its stretches, in slices of `slice_s` seconds."""

    slice_s: float = 0.0
    stretches: Sequence[Stretch] = ()
    start_s: float | None = None
    end_s: float | None = None

    @property
    def active_s(self) -> float:
        """Seconds from the first start to the last end, without the pauses in between."""
        if self.start_s is None or self.end_s is None:
            return 0.0
        pauses = 0.0
        for one, after in zip(self.stretches, self.stretches[1:], strict=False):
            pauses += after.start_s - (one.start_s + len(one.items) * self.slice_s)
        return max(0.0, self.end_s - self.start_s - pauses)


class Activity:
    """Collects what happened when. Times are Unix nanoseconds."""

    def __init__(self, origin: int | None = None) -> None:
        """`origin` is what times are counted from; by default the first that is told."""
        self._shift = _NARROWEST
        self._origin = origin
        self._first: int | None = None
        self._last = 0
        self._slices: dict[int, list[int]] = {}
        """Per slice and track: starts, the sum of their times, ends, the sum of their times. Sums over slices stay
        true when slices are joined, and give the exact average in flight."""
        self._failures: dict[str, dict[int, int]] = {}

    def took(self, track: Track, start_ns: int, end_ns: int) -> None:
        """Something ran from one time to the other."""
        if self._origin is None:
            self._origin = start_ns
        if self._first is None or start_ns < self._first:
            self._first = start_ns
        end_ns = max(start_ns, end_ns)
        if end_ns > self._last:
            self._last = end_ns
        place = _PLACES[track]
        self._note(start_ns - self._origin, place)
        self._note(end_ns - self._origin, place + 2)

    def failed(self, error_type: str, at_ns: int) -> None:
        """Something that was told with `took` failed at this time."""
        if self._origin is None:
            self._origin = at_ns
        slices = self._failures.setdefault(error_type, {})
        at = (at_ns - self._origin) >> self._shift
        slices[at] = slices.get(at, 0) + 1

    @property
    def origin(self) -> int | None:
        """What times are counted from; None while nothing was told."""
        return self._origin

    def include(self, other: Activity) -> None:
        """All that another one was told, whose times are counted from the same origin. The other is used up."""
        while self._shift < other._shift:
            self._widen()
        while other._shift < self._shift:
            other._widen()
        for index, numbers in other._slices.items():
            into = self._slices.get(index)
            self._slices[index] = numbers if into is None else [a + b for a, b in zip(into, numbers, strict=True)]
        for error_type, slices in other._failures.items():
            into = self._failures.setdefault(error_type, {})
            for index, number in slices.items():
                into[index] = into.get(index, 0) + number
        while len(self._slices) > _MOST_KEPT:
            self._widen()
        self._origin = other._origin if self._origin is None else self._origin
        firsts = [first for first in (self._first, other._first) if first is not None]
        self._first, self._last = min(firsts, default=None), max(self._last, other._last)

    def _note(self, at: int, place: int) -> None:
        slices = self._slices
        index = at >> self._shift
        found = slices.get(index)
        if found is None:
            if len(slices) >= _MOST_KEPT:
                self._widen()
                index = at >> self._shift
                slices = self._slices
            found = slices.setdefault(index, [0] * _WIDTH)
        found[place] += 1
        found[place + 1] += at

    def _widen(self) -> None:
        """Join each two neighbours."""
        joined: dict[int, list[int]] = {}
        for index, numbers in self._slices.items():
            into = joined.get(index >> 1)
            joined[index >> 1] = numbers if into is None else [a + b for a, b in zip(into, numbers, strict=True)]
        self._slices = joined
        for error_type, slices in self._failures.items():
            halved: dict[int, int] = {}
            for index, number in slices.items():
                halved[index >> 1] = halved.get(index >> 1, 0) + number
            self._failures[error_type] = halved
        self._shift += 1

    def course(self) -> Course:
        """All of it, in as many slices as a chart can show."""
        if self._origin is None or not self._slices:
            return Course()
        events = sum(numbers[2] + numbers[6] for numbers in self._slices.values())
        most = max(_FEWEST_SHOWN, min(_MOST_SHOWN, events // _EVENTS_A_SLICE))
        while len(self._slices) > most or self._length(self._spans()) > most:
            self._widen()
        slice_s = (1 << self._shift) / 1e9
        stretches = [self._stretch(first, last) for first, last in self._spans()]
        return Course(slice_s, stretches, (self._first or 0) / 1e9, self._last / 1e9)

    def _length(self, spans: Sequence[tuple[int, int]]) -> int:
        return sum(last - first + 1 for first, last in spans)

    def _spans(self) -> list[tuple[int, int]]:
        """First and last slice of every stretch."""
        busy = list(self._busy())
        idle = max(_IDLE_S * 1e9 / (1 << self._shift), self._length(busy) * _IDLE_SHARE)
        spans: list[tuple[int, int]] = []
        for first, last in busy:
            if spans and first - spans[-1][1] - 1 <= idle:
                spans[-1] = (spans[-1][0], last)
            else:
                spans.append((first, last))
        return spans

    def _busy(self) -> Iterator[tuple[int, int]]:
        """First and last slice of every time in which something was always in flight."""
        in_flight, first = 0, None
        for index, numbers in sorted(self._slices.items()):
            if first is None:
                first = index
            in_flight += sum(numbers[place] - numbers[place + 2] for place in _PLACES.values())
            if in_flight <= 0:
                yield first, index
                first = None

    def _stretch(self, first: int, last: int) -> Stretch:
        indexes = range(first, last + 1)
        empty = [0] * _WIDTH
        slices = [self._slices.get(index, empty) for index in indexes]
        per_s = 1e9 / (1 << self._shift)
        return Stretch(
            start_s=((self._origin or 0) + (first << self._shift)) / 1e9,
            items=[numbers[2] * per_s for numbers in slices],
            calls=[numbers[6] * per_s for numbers in slices],
            items_in_flight=self._levels(first, slices, "items"),
            calls_in_flight=self._levels(first, slices, "calls"),
            waiting=self._levels(first, slices, "waits"),
            failures={
                error_type: [slices.get(index, 0) for index in indexes] for error_type, slices in self._failures.items()
            },
        )

    def _levels(self, first: int, slices: Sequence[list[int]], track: Track) -> list[float]:
        """How many were in flight on average in each slice; none is, where a stretch begins."""
        place, width = _PLACES[track], 1 << self._shift
        levels: list[float] = []
        before = 0
        for index, numbers in enumerate(slices, first):
            starts, start_sum, ends, end_sum = numbers[place : place + 4]
            end = (index + 1) << self._shift
            here = starts * end - start_sum - (ends * end - end_sum)
            levels.append(before + here / width)
            before += starts - ends
        return levels
