"""Blocking calls in daemon threads, so that a call that never returns keeps neither the loop nor the process."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from agentbatch.errors import FunctionFault
from agentbatch.record import record
from agentbatch.text.figures import counted

MOST_THREADS = 1_000
"""Calls that were given up run on; so many of them and something is wrong with what is called."""


@record
class _Job:
    call: Callable[[], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    context: contextvars.Context


class Threads:
    """Threads that are made when none is idle, and used again.

    A cancelled `run` returns at once; its call goes on in its thread until it returns, and nobody hears of it.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0

    async def run(self, call: Callable[[], Any]) -> Any:
        """What `call` returns. A `BaseException` that it raises arrives wrapped in a `Raised`.

        Raises:
            Raised: the call raised.
            FunctionFault: too many calls that were given up still run.
        """
        loop = asyncio.get_running_loop()
        job = _Job(call, loop.create_future(), loop, contextvars.copy_context())
        if not self._idle.acquire(blocking=False):
            self._start_thread()
        self._jobs.put(job)
        return await job.future

    def close(self) -> None:
        """Let the threads go as they become idle."""
        for _ in range(self._count):
            self._jobs.put(None)
        self._count = 0

    def _start_thread(self) -> None:
        if self._count >= MOST_THREADS:
            raise FunctionFault(
                f"{counted(self._count, 'call')} of Python functions still running, most given up at their timeout: "
                "`executor: process` ends a call at its timeout"
            )
        try:
            threading.Thread(target=self._work, name="function", daemon=True).start()
        except RuntimeError as error:  # the system has no more of them
            raise FunctionFault(f"no thread to call the function in: {error}") from None
        self._count += 1

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            _do(job)
            del job  # an idle thread keeps nothing alive
            self._idle.release()


class Raised(Exception):
    """What a call raised, whatever it was: `SystemExit` in the user's code must not end the run."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(type(error).__name__)  # not its text: a foreign __str__ may raise
        self.error = error


def _do(job: _Job) -> None:
    result, raised = None, None
    try:
        result = job.context.run(job.call)
    except BaseException as error:  # the border to the user's code, which may raise anything
        raised = Raised(error)
    try:
        job.loop.call_soon_threadsafe(_tell, job.future, result, raised)
    except RuntimeError:
        pass  # the loop is gone, and everybody with it


def _tell(future: asyncio.Future[Any], result: Any, raised: Raised | None) -> None:
    if future.done():
        return
    if raised is None:
        future.set_result(result)
    else:
        future.set_exception(raised)
