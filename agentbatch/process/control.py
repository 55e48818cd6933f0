"""The run's stop switch, which everything that could start new work looks at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agentbatch.errors import RunStopped


class Control:
    """Whether the run goes on. Once `stop` is called, no request is sent for work that has not begun.

    Attributes:
        reason: why the run stops, None while it goes on. The first reason stands.
        at_once: whether what is in flight is cut as well.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.at_once = False
        self.paused = False
        """Nothing new begins until it is resumed; what is in flight goes on."""
        self.on_pause: Callable[[bool], None] = _not_heard
        """Told when the run pauses (True) and goes on."""
        self._pausing: set[asyncio.Future[None]] = set()
        self.resting = 0
        """Items that sleep before a retry: they hold a worker, and nothing else."""
        self.on_rest: Callable[[], None] = _nothing
        self._listeners: list[Callable[[], None]] = []
        self._sleeping: set[asyncio.Future[None]] = set()

    @property
    def stopping(self) -> bool:
        return self.reason is not None

    def on_stop(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the run is told to stop, and again when it is told to stop at once."""
        self._listeners.append(listener)

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """Take no new work; with `at_once`, cut what is in flight too."""
        news = self.reason is None or (at_once and not self.at_once)
        self.reason = self.reason or reason
        self.at_once = self.at_once or at_once
        for sleeper in self._sleeping:
            if not sleeper.done():
                sleeper.set_exception(RunStopped(self.reason))
        self._wake_pausing()
        if news:
            for listener in self._listeners:
                listener()

    def pause(self) -> None:
        """Begin nothing new. A second call does nothing."""
        if not self.paused:
            self.paused = True
            self.on_pause(True)

    def resume(self) -> None:
        """Go on."""
        if self.paused:
            self.paused = False
            self.on_pause(False)
            self._wake_pausing()

    async def unpaused(self) -> None:
        """Wait while the run pauses; a run that is told to stop does not pause."""
        while self.paused and not self.stopping:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._pausing.add(woken)
            try:
                await woken
            finally:
                self._pausing.discard(woken)

    def _wake_pausing(self) -> None:
        for woken in self._pausing:
            _wake(woken)

    async def sleep(self, seconds: float) -> None:
        """Sleep, unless the run stops.

        Raises:
            RunStopped: it does, or did.
        """
        self.check()
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = woken.get_loop().call_later(seconds, _wake, woken)
        self._sleeping.add(woken)
        self.resting += 1
        self.on_rest()
        try:
            await woken
        finally:
            self.resting -= 1
            timer.cancel()
            self._sleeping.discard(woken)

    def check(self) -> None:
        """Refuse to begin new work in a run that is stopping.

        Raises:
            RunStopped: it is.
        """
        if self.reason is not None:
            raise RunStopped(self.reason)


def _nothing() -> None:
    """Nobody wants to know."""


def _not_heard(pausing: bool) -> None:
    """Nobody wants to know."""


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
