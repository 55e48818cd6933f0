"""A clock for what writes to disk in threads, and waits for hours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fake_time import FakeTimeLoop

_T = TypeVar("_T")


class Loop(FakeTimeLoop):
    """What belongs into a thread is done at once: no time passes meanwhile."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        done = self.create_future()
        done.set_result(func(*args))
        return done


def run(main: Coroutine[Any, Any, _T]) -> _T:
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main)
