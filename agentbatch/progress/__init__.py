"""What a person sees while a run goes: a live table, plain lines, or JSON. Always on stderr, never in the run's way."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final, Literal, Protocol, TextIO

from agentbatch.progress.jsonlines import JsonProgress
from agentbatch.progress.log import SpokenLog
from agentbatch.progress.outlet import Outlet, tell
from agentbatch.progress.plain import PlainProgress
from agentbatch.progress.tally import Tally
from agentbatch.progress.view import Pressure, Watch, no_pressure
from agentbatch.text.redact import visible

__all__ = [
    "Pressure",
    "Progress",
    "ProgressMode",
    "Silent",
    "SpokenLog",
    "Tally",
    "choose_mode",
    "open_progress",
    "tell",
    "use_color",
]

ProgressMode = Literal["auto", "live", "plain", "json", "none"]

_INTERVALS: Final = {"live": 0.5, "plain": 10.0, "json": 1.0}


class Progress(Protocol):
    """A display: it looks at the tally by itself, from a thread of its own."""

    def start(self) -> None:
        """Begin to show."""
        ...

    def say(self, text: str) -> None:
        """Print lines for a person without breaking the display."""
        ...

    def stop(self) -> None:
        """Show the last state and leave the terminal as it was. May be called twice, and waits two seconds at most."""
        ...


class Silent:
    """The display of `--progress none` and `-q`."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def say(self, text: str) -> None:
        """Print it: what is said on purpose is no progress."""
        tell("".join(f"{visible(line, 2000)}\n" for line in text.splitlines()), self._stream)

    def start(self) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Nothing was shown."""


def choose_mode(
    mode: ProgressMode, outlet: Outlet, environ: Mapping[str, str] = os.environ
) -> Literal["live", "plain", "json", "none"]:
    """What `auto` means here: live only for a person at a terminal that can move its cursor, and not in CI.

    NO_COLOR asks for output without escape sequences, and a table drawn in place needs some.
    """
    if mode != "auto":
        return mode
    plain = _is_dumb(environ) or environ.get("CI") or environ.get("NO_COLOR")
    return "live" if outlet.is_tty and not plain else "plain"


def _is_dumb(environ: Mapping[str, str]) -> bool:
    return environ.get("TERM", "dumb") in ("dumb", "unknown", "")


def use_color(outlet: Outlet, no_color: bool = False, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether text for this outlet may be coloured: https://no-color.org, a real terminal, and no --no-color."""
    return outlet.is_tty and not (_is_dumb(environ) or no_color or environ.get("NO_COLOR"))


def open_progress(
    mode: ProgressMode,
    tally: Tally,
    total: int | Callable[[], int | None] | None = None,
    pressure: Callable[[], Pressure] = no_pressure,
    stream: TextIO | None = None,
    interval: float | None = None,
    *,
    before: int = 0,
    no_color: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Progress:
    """Make the display; `start()` it when the run begins and `stop()` it however the run ends.

    Args:
        total: items this run will do, or what to ask for it; None while unknown: then no percentage and no time left.
        pressure: asked once per picture, from the display's thread, for what the engine is doing now.
        stream: where to; default stderr.
        interval: seconds between pictures; default 0.5 live, 10 plain, 1 JSON.
        before: items that earlier runs finished.
    """
    outlet = Outlet(stream)
    chosen = choose_mode(mode, outlet, environ)
    if chosen == "none" or not outlet.alive:
        outlet.close()
        return Silent(stream)
    watch = Watch(tally, total, pressure, before)
    pause = _INTERVALS[chosen] if interval is None else interval
    if chosen == "json":
        return JsonProgress(watch, outlet, pause)
    if chosen == "plain":
        return PlainProgress(watch, outlet, pause)
    from agentbatch.progress.live import LiveProgress  # late: rich is only needed at a terminal

    return LiveProgress(watch, outlet, pause, color=use_color(outlet, no_color, environ))
