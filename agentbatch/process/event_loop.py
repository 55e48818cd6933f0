"""The event loop of a run: uvloop where it installs, and a garbage collector set for very many short-lived objects."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

from agentbatch.process import pydantic_plugins
from agentbatch.process.descriptors import raise_limit

_T = TypeVar("_T")

_GC_THRESHOLDS = (50_000, 50, 1000)
"""Measured: with a thousand requests in flight the default thresholds cost more than a third of the CPU per call."""


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
