"""Several steps at once: started in order, watched as they end, and never left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
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
    results: list[Result | None] = [None] * len(invocations)
    crew = Crew()

    async def one(place: int) -> None:
        result = results[place] = await invocations[place]
        if enough is not None and enough(place, result):
            crew.dismiss()

    begun = 0 if enough is not None else 1  # the first needs no task of its own, unless it may have to be cancelled
    for place in range(begun, len(invocations)):
        crew.start(one(place))
    await crew.join(one(0) if begun and invocations else None)
    return results


class Crew:
    """Tasks that a flow starts as it goes; `join` waits for them. None outlives it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._over: asyncio.Future[None] | None = None
        self._dismissed = False
        self._stopped: RunStopped | None = None
        self._fault: BaseException | None = None

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin some work beside the rest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._see)

    def dismiss(self) -> None:
        """Wait for nobody any more."""
        self._dismissed = True
        self._wake()

    async def join(self, own: Awaitable[None] | None = None) -> None:
        """Do `own` work here, and wait for all the rest.

        Raises:
            RunStopped: the run was told to stop; what was in flight has ended.
        """
        try:
            if own is not None:
                try:
                    await own
                except RunStopped as stopped:
                    self._stopped = stopped
            while self._tasks and not self._dismissed and self._fault is None:
                self._over = asyncio.get_running_loop().create_future()
                await self._over
        finally:
            await _cancel([task for task in self._tasks if not task.done()])
        if self._fault is not None:
            raise self._fault
        if self._stopped is not None and not self._dismissed:
            raise self._stopped

    def _see(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        fault = None if task.cancelled() else task.exception()  # asked for, so that it is not reported a second time
        if isinstance(fault, RunStopped):
            self._stopped = fault
        elif fault is not None:
            self._fault = fault
        if fault is not None or not self._tasks:
            self._wake()

    def _wake(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
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
