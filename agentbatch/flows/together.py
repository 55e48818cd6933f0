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
    tasks = [asyncio.create_task(invocation) for invocation in invocations]
    places = {task: place for place, task in enumerate(tasks)}
    results: list[Result | None] = [None] * len(tasks)
    pending = set(tasks)
    stopped: RunStopped | None = None
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=places.__getitem__):
                try:
                    result = results[places[task]] = task.result()
                except RunStopped as error:
                    stopped = error
                    continue
                if enough is not None and enough(places[task], result):
                    return results
        if stopped is not None:
            raise stopped
        return results
    finally:
        await _cancel(pending)


async def _cancel(tasks: set[asyncio.Task[Result]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # asked for, so that a stopped run is not reported a second time
