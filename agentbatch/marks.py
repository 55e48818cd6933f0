"""What a chart of a run should show beside its curves: cool-downs, and limits that changed while it went."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

from agentbatch.record import record
from agentbatch.text import figures

MOST_MARKS: Final = 200
"""Kept of one sitting, the first ones: beyond that a chart shows nothing more."""

_PERIOD_S: Final = 0.2
_NARROWER, _WIDER = 0.8, 1.5
"""How far what a server takes must have changed since it was last marked: it is found out by trying all the time."""


@record
class Mark:
    """From `at_s` (Unix time) on for so many `seconds`, or in one moment (0): in `words`, such as
    `cool-down of model fast` or `models.fast.rpm 600 -> 300`."""

    at_s: float
    seconds: float
    words: str


Levels = Mapping[str, float | None]
"""Limits by name, None where there is none."""


class MarkBook:
    """Looks five times a second from `start` to `stop`, by timers of the running event loop.

    Args:
        rests: the endpoints that let nobody in for a while, and for how many seconds more.
        limits: those that somebody sets, each change of which is marked.
        found: what servers were found to take, of which great changes are, and no growth before the first cut.
    """

    def __init__(
        self,
        rests: Callable[[], Mapping[str, float]],
        limits: Callable[[], Levels],
        found: Callable[[], Levels],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rests, self._limits, self._found, self._clock = rests, limits, found, clock
        self._moments: list[Mark] = []
        self._cool_downs: list[tuple[str, float, float]] = []
        """Who rested, and from when to when."""
        self._last: dict[str, int] = {}
        """The place of each one's last cool-down."""
        self._known: dict[str, float | None] = {}
        self._told: dict[str, float] = {}
        self._cut: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def marks(self) -> tuple[Mark, ...]:
        """All of them, in the order of time."""
        rests = [Mark(began, round(ended - began, 3), f"cool-down of {who}") for who, began, ended in self._cool_downs]
        return tuple(sorted((*rests, *self._moments), key=lambda mark: mark.at_s))[:MOST_MARKS]

    def start(self) -> None:
        """Begin."""
        self._known = dict(self._limits())
        self._told = {name: level for name, level in self._found().items() if level is not None}
        self._wait()

    def stop(self) -> None:
        """End. May be called twice, and without a start."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self.look()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_PERIOD_S, self._look_again)

    def _look_again(self) -> None:
        self.look()
        self._wait()

    def look(self) -> None:
        """Enter what has changed since the last look."""
        if len(self._moments) + len(self._cool_downs) >= MOST_MARKS:
            return
        now = self._clock()
        self._look_at_rests(now)
        for name, limit in self._limits().items():
            before = self._known.get(name)
            if limit != before:
                self._mark(now, name, before, limit)
            self._known[name] = limit
        for name, level in self._found().items():
            self._look_at_found(now, name, level)

    def _look_at_rests(self, now: float) -> None:
        for who, left_s in self._rests().items():
            place = self._last.get(who)
            if place is None or self._cool_downs[place][2] < now:
                self._last[who] = len(self._cool_downs)
                self._cool_downs.append((who, now, now + left_s))
            else:
                _, began, ended = self._cool_downs[place]
                self._cool_downs[place] = who, began, max(ended, now + left_s)

    def _look_at_found(self, now: float, name: str, level: float | None) -> None:
        if level is None:
            return
        told = self._told.setdefault(name, level)
        if level <= told * _NARROWER:
            self._cut.add(name)
        elif name not in self._cut:
            self._told[name] = max(told, level)
            return
        elif level < told * _WIDER:
            return
        self._mark(now, name, told, level)
        self._told[name] = level

    def _mark(self, now: float, name: str, before: float | None, after: float | None) -> None:
        self._moments.append(Mark(now, 0.0, f"{name} {_level(before)} -> {_level(after)}"))


def _level(level: float | None) -> str:
    if level is None:
        return "none"
    return figures.count(int(level)) if level == int(level) else f"{level:g}"
