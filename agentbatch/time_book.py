"""Where the time of a run goes: what it is bound by, looked at some ten times a second while it goes.

A look asks what the items in flight wait for, and gives the time since the last look to that, in shares. A limit with a
queue before it comes first: if it were higher, more would go on at once. Where there is no queue, what is on its way is
what the run waits for: the providers' answers, tools and commands, the disk. When the event loop has no time to spare,
none of these is the reason, but our own CPU.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

from agentbatch.record import record

Cause = Literal[
    "tpm",
    "rpm",
    "concurrency",
    "window",
    "cool_down",
    "budget",
    "paused",
    "batch",
    "back_off",
    "provider",
    "work",
    "cpu",
    "disk",
    "inputs",
    "other",
]
"""What time can go to; the summary's JSON has these words, and they stay."""

_WORDS: Final[Mapping[Cause, str]] = {
    "tpm": "tpm of {who}",
    "rpm": "rpm of {who}",
    "concurrency": "max_concurrency of {who}",
    "window": "what {who} accepts at once",
    "cool_down": "cool-down of {who}",
    "budget": "max_cost",
    "paused": "a pause that somebody asked for",
    "batch": "provider batches",
    "back_off": "waits before retries of {who}",
    "provider": "answers of {who}",
    "work": "tools, commands and functions",
    "cpu": "CPU of agentbatch",
    "disk": "writing results",
    "inputs": "reading inputs",
    "other": "starting and ending",
}

_LIMITS: Final = frozenset[Cause](("tpm", "rpm", "concurrency", "window", "cool_down", "budget", "paused"))

_LONGEST_PERIOD_S: Final = 0.1
_SHORTEST_PERIOD_S: Final = 0.01
_LOOKS_A_RUN: Final = 20
"""Until the longest period is reached: a short run is looked at about so often, too."""

_BUSY_PROCESS: Final = 0.9
_BUSY_LOOP: Final = 0.6
"""Shares of a core that say that the loop has no time to spare: threads that take the interpreter from it count too."""


@record
class Bound:
    """What a run waits for: `what`, and `who` it belongs to, such as `model fast`; empty for the run itself."""

    what: Cause
    who: str = ""

    @property
    def is_limit(self) -> bool:
        """Whether somebody set it, so that it could be set higher."""
        return self.what in _LIMITS

    @property
    def words(self) -> str:
        """In words for a person."""
        return _WORDS[self.what].format(who=self.who or "the run")


@record
class BoundTime:
    """So many seconds of a run went to this: `share` of its wall time, 0..1."""

    what: Cause
    who: str
    seconds: float
    share: float

    @property
    def words(self) -> str:
        """What it went to, in words for a person."""
        return Bound(self.what, self.who).words


Waits = Mapping[Bound, float]
"""What is waited for at one moment, each with its weight: how many wait for it."""


class TimeBook:
    """Keeps the books from `start` to `stop`, by timers of the running event loop.

    Args:
        waits: what is waited for now; asked on the event loop.
        cpu: seconds of CPU that the process, and this thread of it, have used.
    """

    def __init__(
        self,
        waits: Callable[[], Waits],
        cpu: Callable[[], tuple[float, float]] = lambda: (time.process_time(), time.thread_time()),
    ) -> None:
        self.seconds: dict[Bound, float] = {}
        self._waits = waits
        self._cpu = cpu
        self._last: Waits = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        self._loop = asyncio.get_running_loop()
        self._began = self._looked = self._loop.time()
        self._cpu_then = self._cpu()
        self._wait(_SHORTEST_PERIOD_S)

    def stop(self) -> None:
        """End; the time since the last look goes to what was waited for then. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._enter(self._loop.time(), self._last)

    def _wait(self, period: float) -> None:
        self._timer = self._loop.call_later(period, self._look, period)

    def _look(self, period: float) -> None:
        now = self._loop.time()
        self._last = {Bound("cpu"): 1.0} if self._is_busy(now, period) else self._waits()
        self._enter(now, self._last)
        self._wait(min(_LONGEST_PERIOD_S, max(_SHORTEST_PERIOD_S, (now - self._began) / _LOOKS_A_RUN)))

    def _is_busy(self, now: float, period: float) -> bool:
        """Whether the loop was at work all the time since the last look, or came to this one late for want of time."""
        passed = now - self._looked
        (process_then, thread_then), self._cpu_then = self._cpu_then, self._cpu()
        process, thread = self._cpu_then[0] - process_then, self._cpu_then[1] - thread_then
        at_work = process >= _BUSY_PROCESS * passed and thread >= _BUSY_LOOP * passed
        return at_work or passed >= 1.5 * period

    def _enter(self, now: float, waits: Waits) -> None:
        passed, self._looked = now - self._looked, now
        whole = sum(waits.values())
        if not whole:
            waits, whole = {Bound("other"): 1.0}, 1.0
        for bound, weight in waits.items():
            self.seconds[bound] = self.seconds.get(bound, 0.0) + passed * weight / whole


def shared_out(seconds: Mapping[Bound, float], wall_s: float) -> tuple[BoundTime, ...]:
    """The books as shares of a run's wall time, the largest first. What nobody looked at is starting and ending."""
    whole = dict(seconds)
    unseen = wall_s - sum(whole.values())
    if unseen > 0:
        whole[Bound("other")] = whole.get(Bound("other"), 0.0) + unseen
    total = sum(whole.values()) or 1.0
    times = [
        BoundTime(one.what, one.who, round(spent, 3), round(spent / total, 4))
        for one, spent in whole.items()
        if spent > 0
    ]
    return tuple(sorted(times, key=lambda one: -one.seconds))


def strongest_limit(waits: Waits) -> Bound | None:
    """The limit that most wait for now; None where nobody waits for any."""
    limits = [bound for bound, weight in waits.items() if bound.is_limit and weight]
    return max(limits, key=lambda bound: waits[bound], default=None)


def in_words(times: Iterable[BoundTime], most: int = 3, least: float = 0.05) -> list[tuple[str, float]]:
    """The largest shares in words: at most so many, each at least `least` of the whole, but always one."""
    largest = list(times)[:most]
    return [(one.words, one.share) for at, one in enumerate(largest) if not at or one.share >= least]
