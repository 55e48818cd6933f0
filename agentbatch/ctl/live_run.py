"""What a run says of itself and lets be done to it while it goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from agentbatch.process.control import Control
from agentbatch.progress import Tally
from agentbatch.progress.view import Pressure
from agentbatch.record import record

COMMANDS = ("status", "pause", "resume", "set", "stop")


@record
class Told:
    """What a run tells of itself; `total` is None where nobody knows."""

    tally: Tally
    total: int | None
    before: int
    pressure: Callable[[], Pressure]
    redact: Callable[[str], str]


class RunLimits(Protocol):
    """The limits of a run, by the keys they have in the config."""

    @property
    def spent_usd(self) -> float:
        """What all runs of the output have cost, as far as prices are known."""
        ...

    def values(self) -> dict[str, float | None]:
        """Those that there are, as they are now."""
        ...

    def set(self, key: str, value: object) -> None:
        """Change one.

        Raises:
            ValueError: it can't be changed, or it can't be that.
        """
        ...


class LiveRun:
    """Answers the requests of `agentbatch ctl`. Everything in it is done at once, on the event loop.

    Args:
        stop: lets the run end as SIGINT does; a second call ends it at once.
    """

    def __init__(self, told: Told, control: Control, limits: RunLimits, stop: Callable[[], None]) -> None:
        self._told = told
        self._control = control
        self._limits = limits
        self._stop = stop

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do what is asked for, and say how things stand.

        Raises:
            ValueError: it can't be done.
        """
        match request.get("do"):
            case "status":
                pass
            case "pause":
                self._control.pause()
            case "resume":
                self._control.resume()
            case "stop":
                self._stop()
            case "set":
                self._limits.set(str(request.get("key")), request.get("value"))
            case other:
                raise ValueError(f"{other!r} is no command; these are: {', '.join(COMMANDS)}")
        return self._status()

    def _status(self) -> dict[str, Any]:
        told, counts, pressure = self._told, self._told.tally.counts(), self._told.pressure()
        return {
            "state": self._state(),
            "reason": None if self._control.reason is None else told.redact(self._control.reason),
            "pid": os.getpid(),
            "elapsed_s": round(counts.elapsed_s, 3),
            "items": {
                "total": told.total,
                "before": told.before,
                "ended": counts.items_ended,
                "failed": counts.items_failed,
                "in_flight": pressure.items_in_flight,
            },
            "requests": {"in_flight": pressure.requests_in_flight, "sent": counts.total("calls")},
            "held_by": "paused" if self._control.paused else pressure.held_by or None,
            "tokens": {"input": counts.total("input_tokens"), "output": counts.total("output_tokens")},
            "cost_usd": counts.cost_usd if counts.cost_known else None,
            "spent_usd": self._limits.spent_usd,
            "limits": self._limits.values(),
        }

    def _state(self) -> str:
        if self._control.stopping:
            return "stopping"
        return "paused" if self._control.paused else "running"
