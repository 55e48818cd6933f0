"""What a display shows, worked out from two looks at the tally: speeds, time left, and what holds the run back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter

from agentbatch.progress.tally import Counts, Tally
from agentbatch.record import record

_WINDOW_S = 10.0


@record
class NodePressure:
    """One machine of a run on many: its workers, those that were lost, and its items."""

    name: str
    workers: int = 0
    lost: int = 0
    in_flight: int = 0
    done: int = 0


@record
class Pressure:
    """What the engine says of itself. `held_by` is a phrase such as `rate limit rpm of model fast`, or empty."""

    items_in_flight: int = 0
    items_limit: int | None = None
    requests_in_flight: int = 0
    requests_limit: int | None = None
    held_by: str = ""
    known: bool = True
    """Whether it says anything: of a run in another process only what has ended is known."""
    nodes: tuple[NodePressure, ...] = ()
    """A row for each machine, where there are several or workers on one."""


def no_pressure() -> Pressure:
    """For a run whose engine does not say."""
    return Pressure()


def unknown_pressure() -> Pressure:
    """For a run in another process."""
    return Pressure(known=False)


@record
class View:
    """One moment of the run. Rates are per second over the last ten seconds or so; `eta_s` is None while unknown."""

    counts: Counts
    pressure: Pressure
    total: int | None
    before: int
    items_per_s: float
    calls_per_s: tuple[float, ...]
    """By agent, in the order of `counts.agents`."""
    eta_s: float | None

    @property
    def share(self) -> float | None:
        """How much of this run's items have ended, 0..1; None while their number is unknown."""
        if self.total is None:
            return None
        return min(1.0, self.counts.items_ended / self.total) if self.total else 1.0


class Watch:
    """Looks at a tally from time to time and remembers enough to know how fast it moves."""

    def __init__(
        self,
        tally: Tally,
        total: int | Callable[[], int | None] | None = None,
        pressure: Callable[[], Pressure] = no_pressure,
        before: int = 0,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._tally = tally
        self._total = total
        self._pressure = pressure
        self._before = before
        self._clock = clock
        counts = tally.counts()  # nothing yet, but of a run that is looked at from its middle on
        self._looks: deque[tuple[float, int, dict[str, int]]] = deque([(clock(), counts.items_ended, _calls(counts))])

    def look(self) -> View:
        """The run as it stands now."""
        now, counts = self._clock(), self._tally.counts()
        ended, calls = counts.items_ended, _calls(counts)
        while len(self._looks) > 1 and self._looks[1][0] <= now - _WINDOW_S:
            self._looks.popleft()
        then, ended_then, calls_then = self._looks[0]
        passed = max(now - then, 1e-3)
        self._looks.append((now, ended, calls))
        items_per_s = (ended - ended_then) / passed
        total = self._total() if callable(self._total) else self._total
        return View(
            counts=counts,
            pressure=self._pressure(),
            total=total,
            before=self._before,
            items_per_s=items_per_s,
            calls_per_s=tuple((number - calls_then.get(name, 0)) / passed for name, number in calls.items()),
            eta_s=_time_left(total, ended, items_per_s, counts.elapsed_s),
        )


def _time_left(total: int | None, ended: int, items_per_s: float, elapsed_s: float) -> float | None:
    """By the run's mean speed blended with the latest, so that the answer neither lags nor jumps."""
    if total is None or not ended or not elapsed_s:
        return None
    speed = (items_per_s + ended / elapsed_s) / 2
    return max(0, total - ended) / speed


def _calls(counts: Counts) -> dict[str, int]:
    return {agent.name: _events(agent.calls, agent.done) for agent in counts.agents}


def _events(calls: int, done: int) -> int:
    """An agent without model calls (a command, a function) is as fast as it ends."""
    return calls or done
