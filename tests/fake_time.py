"""An event loop whose time passes only when everybody waits: three simulated hours take a second."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class _InstantSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Instead of waiting, says how long it would have waited."""

    waited = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout is None:
            return ready or super().select(timeout)
        self.waited += max(0.0, timeout)
        return ready


class FakeTimeLoop(asyncio.SelectorEventLoop):
    """`loop.time()` starts at 1,000 s and jumps to the next timer whenever nothing else is ready."""

    def __init__(self) -> None:
        self._instant = _InstantSelector()
        super().__init__(self._instant)

    def time(self) -> float:
        return 1000.0 + self._instant.waited


def run_in_fake_time(main: Coroutine[Any, Any, _T]) -> _T:
    """Run `main` to its end, without waiting for anything."""
    with asyncio.Runner(loop_factory=FakeTimeLoop) as runner:
        return runner.run(main)
