"""A display's heartbeat: a thread of its own that draws at an interval, so that the run never waits for a screen."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable


class Ticker:
    """Calls `draw(False)` after `first` seconds, then every `interval()` seconds, and `draw(True)` once at the end."""

    def __init__(self, draw: Callable[[bool], None], interval: Callable[[], float], first: float) -> None:
        self._draw = draw
        self._interval = interval
        self._first = first
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

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
                self._draw(False)
                wait = self._interval()
            self._draw(True)
        except Exception:  # a display is never worth a run
            logging.getLogger(__name__).exception("the progress display failed")
