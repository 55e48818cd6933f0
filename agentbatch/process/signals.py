"""Signals: the first drains the run, the second ends it now."""

from __future__ import annotations

import asyncio
import signal
from types import TracebackType
from typing import Final

from agentbatch.errors import ExitCode
from agentbatch.process.control import Control

_EXIT_CODES: Final = {
    signal.SIGINT: ExitCode.SIGINT,
    signal.SIGTERM: ExitCode.SIGTERM,
    signal.SIGHUP: ExitCode.SIGHUP,
}


class SignalWatch:
    """Turns SIGINT, SIGTERM and SIGHUP into a drain, and any second one into an end. Use as `async with`.

    A signal that was ignored when the process began (`nohup`, a background job) stays ignored.

    Attributes:
        exit_code: what the first signal asks the process to return, None while there was none.
    """

    def __init__(self, control: Control) -> None:
        self.exit_code: ExitCode | None = None
        self._control = control
        self._watched: list[signal.Signals] = []

    async def __aenter__(self) -> SignalWatch:
        loop = asyncio.get_running_loop()
        for number in _EXIT_CODES:
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._receive, number)
                self._watched.append(number)
        return self

    def renew(self) -> None:
        """Set the handlers again, after a library has set its own."""
        loop = asyncio.get_running_loop()
        for number in self._watched:
            loop.remove_signal_handler(number)
            loop.add_signal_handler(number, self._receive, number)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in self._watched:
            loop.remove_signal_handler(number)
            if self.exit_code is not None:
                signal.signal(number, signal.SIG_IGN)  # more of them must not break into what is told at the end

    def stop(self, reason: str, exit_code: ExitCode = ExitCode.SIGINT) -> None:
        """End the run as a signal does: the first time it drains, then it ends now."""
        again = self.exit_code is not None
        self.exit_code = self.exit_code or exit_code
        self._control.stop(reason, at_once=again)

    def _receive(self, number: signal.Signals) -> None:
        self.stop(f"{number.name} received", _EXIT_CODES[number])
