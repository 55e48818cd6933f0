"""Time limits of one length for thousands of pieces of work, on one timer."""

from __future__ import annotations

import asyncio
from typing import Any


class Deadlines:
    """Limits work to `seconds` each. Use as `with deadlines.next():`, in a task, around what may be cancelled.

    All are equally long, so they fall due in the order they began, and one timer for the first of them does for all. A
    timer for each, as `asyncio.timeout` sets and takes back, costs five times as much, and more the more there are.

    Raises:
        TimeoutError: from a `with` whose time is over; a task cancelled by somebody else stays cancelled.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._under_way: dict[_Deadline, None] = {}
        """In the order they began."""
        self._timed = False

    def next(self) -> _Deadline:
        """A limit that begins with its `with`."""
        return _Deadline(self)

    def begin(self, deadline: _Deadline) -> float:
        """It begins now; returns when it falls due, as loop time."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        due = loop.time() + self.seconds
        self._under_way[deadline] = None
        if not self._timed:
            self._timed = True
            loop.call_at(due, self._look)
        return due

    def end(self, deadline: _Deadline) -> None:
        """It is over, one way or the other."""
        self._under_way.pop(deadline, None)

    def _look(self) -> None:
        """Cancel what is due, and come back when the next one is."""
        assert self._loop is not None
        while self._under_way:
            first = next(iter(self._under_way))
            if first.due > self._loop.time():
                self._loop.call_at(first.due, self._look)
                return
            del self._under_way[first]
            first.expire()
        self._timed = False


class _Deadline:
    """One of them."""

    __slots__ = ("_all", "_cancelling", "_task", "due", "expired")

    def __init__(self, all_: Deadlines) -> None:
        self._all = all_

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self.expired = False
        self.due = self._all.begin(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._all.end(self)
        if self.expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error  # as asyncio.Timeout does

    def expire(self) -> None:
        """Its time is over."""
        self.expired = True
        self._task.cancel()
