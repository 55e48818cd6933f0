"""The run's stop switch, which everything that could start new work looks at."""

from __future__ import annotations

from collections.abc import Callable

from agentbatch.errors import RunStopped


class Control:
    """Whether the run goes on. Once `stop` is called no request is sent for work that has not begun."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._listeners: list[Callable[[str], None]] = []

    @property
    def stopping(self) -> bool:
        return self.reason is not None

    def on_stop(self, listener: Callable[[str], None]) -> None:
        """Call `listener(reason)` when the run is told to stop."""
        self._listeners.append(listener)

    def stop(self, reason: str) -> None:
        """Take no new work. The first reason stands."""
        if self.reason is not None:
            return
        self.reason = reason
        for listener in self._listeners:
            listener(reason)

    def check(self) -> None:
        """Refuse to begin new work in a run that is stopping.

        Raises:
            RunStopped: it is.
        """
        if self.reason is not None:
            raise RunStopped(self.reason)
