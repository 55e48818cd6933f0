"""Events on their way to whoever follows the run: a bounded queue, and a thread that empties it into a file or pipe."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from agentbatch.errors import OutputError
from agentbatch.events.lines import SpanEvent
from agentbatch.files.append_lines import append, open_for_append

_AT_ONCE = 500
_NO_READER = -1


class EventWriter:
    """Never blocks whoever puts, and never fails them: what can't be written is dropped and counted.

    Args:
        path: a file, a named pipe, or `-` for stdout.
        encode: makes the lines of some events; called in the thread.

    Attributes:
        name: of the place, for messages.
        error: why events were lost; None while none was.

    Raises:
        OutputError: the place can't be opened for writing.
    """

    def __init__(
        self,
        path: str,
        *,
        fresh: bool,
        encode: Callable[[list[SpanEvent | bytes]], bytes],
        max_waiting: int,
        period: float,
    ) -> None:
        self.name = "stdout" if path == "-" else path
        self.error: str | None = None
        self._path = path
        self._encode = encode
        self._period = period
        self._max_waiting = max_waiting
        self._waiting: deque[SpanEvent | bytes] = deque()
        self._refused = self._lost = self._in_hand = 0
        self._gone = False
        self._closing = False
        self._wake = threading.Event()
        self._looked = threading.Event()
        self._fd = self._opened(fresh)
        self._thread = threading.Thread(target=self._write_until_closed, name="event stream", daemon=True)
        self._thread.start()

    @property
    def missing(self) -> int:
        """Events that are not in the stream (yet)."""
        return self._refused + self._lost + self._in_hand + len(self._waiting)

    def put(self, event: SpanEvent | bytes) -> None:
        """Have an event written soon. A whole line in bytes is taken even where the queue is full."""
        if self._gone or self._closing or (len(self._waiting) >= self._max_waiting and isinstance(event, SpanEvent)):
            self._refused += 1
        else:
            self._waiting.append(event)

    def drain(self, timeout: float) -> None:
        """Wait until what was put is written, but no longer than `timeout` seconds."""
        self._looked.clear()
        self._wake.set()
        self._looked.wait(timeout)

    def close(self, timeout: float) -> None:
        """Write what waits and close the place, or give up after `timeout` seconds."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout)
        if self.missing:
            self.error = self.error or "its reader does not read"

    def _opened(self, fresh: bool) -> int:
        try:
            if self._path == "-":
                return os.dup(1)
            path = Path(self._path)
            if path.exists() and stat.S_ISFIFO(path.stat().st_mode):
                return self._opened_pipe()
            return open_for_append(path, fresh=fresh)
        except OSError as error:
            raise OutputError(
                f"{self.name}: events can't be written: {error.strerror}; name another --events"
            ) from error

    def _opened_pipe(self) -> int:
        """A pipe without a reader can't be opened without waiting: try again later."""
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return _NO_READER
            raise
        os.set_blocking(fd, True)  # only this thread waits for it
        return fd

    def _write_until_closed(self) -> None:
        """Looked at by the clock, not woken per event: that would fight the event loop for the interpreter."""
        ending = False
        while not ending:
            woken = self._wake.wait(self._period)
            self._wake.clear()
            ending = self._closing
            self._write_waiting()
            if woken:
                self._looked.set()
        if self._fd != _NO_READER:
            os.close(self._fd)

    def _write_waiting(self) -> None:
        if self._waiting and self._fd == _NO_READER and not self._gone:
            self._await_reader()
        while self._waiting and self._fd != _NO_READER:
            self._in_hand = min(len(self._waiting), _AT_ONCE)
            self._write([self._waiting.popleft() for _ in range(self._in_hand)])
            self._in_hand = 0

    def _await_reader(self) -> None:
        try:
            self._fd = self._opened_pipe()
            self.error = "nobody reads it" if self._fd == _NO_READER else None
        except OSError as error:
            self._gone, self.error = True, error.strerror

    def _write(self, events: list[SpanEvent | bytes]) -> None:
        try:
            if self._gone:
                raise BrokenPipeError
            append(self._fd, self._encode(events))
        except BrokenPipeError:
            self._gone, self._lost = True, self._lost + len(events)
            self.error = self.error or "its reader has gone"
        except OSError as error:  # a full disk may have room again later
            self._lost += len(events)
            self.error = error.strerror or str(error)
