"""Several steps at once: started in order, watched as they end, and never left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from agentbatch.errors import RunStopped
from agentbatch.items import Result

Invocation = Coroutine[Any, Any, Result]


async def together(
    invocations: Sequence[Invocation], enough: Callable[[int, Result], bool] | None = None
) -> list[Result | None]:
    """Run all at once; their results in the given order, None for those cancelled.

    `enough(position, result)` is asked as each ends; once it says yes, the others are cancelled. In a run that is told
    to stop, what they have in flight is paid for, so it may end. Whatever ends this call, no task outlives it.

    Raises:
        RunStopped: the run was told to stop before all had ended.
    """
    watch = _Watch(len(invocations), enough)
    tasks = [asyncio.create_task(invocation) for invocation in invocations]
    for place, task in enumerate(tasks):
        task.add_done_callback(lambda task, place=place: watch.see(place, task))
    try:
        await watch.over
    finally:
        watch.closed = True
        await _cancel([task for task in tasks if not task.done()])
    return watch.results


class _Watch:
    """Collects results by place; `over` is done when all have ended, or enough have, or one raised what it must not."""

    def __init__(self, size: int, enough: Callable[[int, Result], bool] | None) -> None:
        self.results: list[Result | None] = [None] * size
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed = False
        self._left = size
        self._enough = enough
        self._stopped: RunStopped | None = None

    def see(self, place: int, task: asyncio.Task[Result]) -> None:
        """A task has ended: with a result, with the run, or because we cancelled it."""
        fault = None if task.cancelled() else task.exception()  # asked for, so that it is not reported a second time
        if task.cancelled() or self.closed:
            return
        self._left -= 1
        enough = False
        if isinstance(fault, RunStopped):
            self._stopped = fault
        elif fault is not None:
            self._end(fault)
        else:
            result = self.results[place] = task.result()
            enough = self._enough is not None and self._enough(place, result)
        if enough:
            self._end(None)
        elif not self._left:
            self._end(self._stopped)

    def _end(self, fault: BaseException | None) -> None:
        if self.over.done():
            return
        if fault is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(fault)


async def _cancel(tasks: list[asyncio.Task[Result]]) -> None:
    """Cancel and wait until all have gone, however often this is cancelled itself."""
    cancelled: asyncio.CancelledError | None = None
    for task in tasks:
        task.cancel()
    while any(not task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
