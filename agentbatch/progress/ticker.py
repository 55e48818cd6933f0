"""A display's heartbeat: a thread of its own that draws at an interval, so that the run never waits for a screen."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

Draw = Callable[[Sequence[str], bool], None]
"""Draws once. Given the lines to print for a person, and whether this is the last time."""

_MOST_LINES = 1000


class Ticker:
    """Calls `draw` after `first` seconds, then every `interval()` seconds, and once more at the end."""

    def __init__(self, draw: Draw, interval: Callable[[], float], first: float) -> None:
        self._draw = draw
        self._interval = interval
        self._first = first
        self._said: deque[str] = deque(maxlen=_MOST_LINES)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def say(self, text: str) -> None:
        """Have lines printed at the next beat. Of a flood only the latest survive."""
        self._said.extend(text.splitlines())

    def stop(self, patience: float = 2.0) -> None:
        """Draw the last picture and end. A second call does nothing; a screen that hangs is left behind."""
        self._stop.set()
        if self._thread.is_alive():
            with contextlib.suppress(KeyboardInterrupt):
                self._thread.join(patience)

    def _run(self) -> None:
        wait = self._first
        try:
            while not self._stop.wait(wait):
                self._draw(self._take_said(), False)
                wait = self._interval()
            self._draw(self._take_said(), True)
        except Exception:  # a display is never worth a run
            logging.getLogger(__name__).exception("the progress display failed")

    def _take_said(self) -> Sequence[str]:
        return [self._said.popleft() for _ in range(len(self._said))]
