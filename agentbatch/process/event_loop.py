"""The event loop of a run: uvloop where it installs, and a garbage collector set for very many short-lived objects."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

from agentbatch.process import pydantic_plugins
from agentbatch.process.descriptors import raise_limit

_T = TypeVar("_T")

_GC_THRESHOLDS = (100_000, 25, 1000)
"""A request in flight holds some 60 objects: a thousand of them fit below the first, so that nobody looks through them.
Measured: with the default thresholds that cost more than a third of the CPU per call, with 50,000 a twenty-fifth."""

_GC_SMALL_STEPS = (10_000, 1000, 1000)
"""With thousands in flight all are looked through once, whatever the thresholds: then a little at a time. Measured at
10,000 in flight: at most 20 to 60 ms at a time, where it was 100 to 140."""

_MANY_IN_FLIGHT = 1000


def run_loop(main: Coroutine[Any, Any, _T]) -> _T:
    """Run `main` to its end, as `asyncio.run` does, with this process tuned for it."""
    raise_limit()
    pydantic_plugins.let_in()
    gc.freeze()  # what was imported stays: no need to look at it again, nor now (60 ms, for a little rubbish)
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        from uvloop import new_event_loop  # late: only a run needs it; absent on Windows
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def expect_in_flight(items: int) -> None:
    """Set the garbage collector for so many items at once; not in a program whose event loop is its own."""
    if items > _MANY_IN_FLIGHT and gc.get_threshold() == _GC_THRESHOLDS:
        gc.set_threshold(*_GC_SMALL_STEPS)
