"""The one writer of results: a thread of its own, outside the event loop, that commits lines in groups.

A line is committed when it is on disk. Syncing each alone would allow some 500 lines a second; synced in groups, the
same disk takes tens of thousands (PostgreSQL calls it group commit).
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Protocol

from agentbatch.errors import ExitCode, LockedError, OutputError
from agentbatch.files.durable import sync_folder
from agentbatch.files.lock import close_after_fork, hold_output

GATHER_S = 0.005
"""How long the writer waits for company after the first line of a group."""

GATHERED_LINES = 64
"""With this many lines at hand it does not wait."""

STARVED_S = 0.03
"""A writer that has committed nothing for so long, though lines wait, may be starved by a busy loop."""

YIELD_S = 0.01
"""How long the loop then stands aside, at most."""

_GROUP_BYTES = 4 * 1024 * 1024

CROWDED_BYTES = 64 * 1024 * 1024
"""With so much uncommitted the loop stands aside longer: answers of megabytes come faster than a disk takes them."""

_CROWDED_YIELD_S = 0.1
_HUNG_S = 2.0
"""A disk that has taken nothing for so long is not waited for."""


class ReaderGone(OutputError):
    """Whoever read our stdout has left, as `head` does: end quietly."""

    exit_code = ExitCode.SIGPIPE


class Sink(Protocol):
    """Where lines are kept. Its methods block, and are called by one thread only."""

    def append(self, data: bytes) -> None:
        """Keep whole lines. When this returns they are committed; when it raises, none of them is.

        Raises:
            OutputError: they can't be kept, and nothing more may be appended.
        """
        ...

    def close(self) -> None:
        """Let go of the descriptor.

        Raises:
            OutputError: what was appended is no longer where it belongs.
        """
        ...


class ResultsFile:
    """A results file, opened once for appending, and watched: what is not as it was left is an error.

    Raises:
        OutputError: it can't be opened, or ends in an unfinished line (see `scan_results`).
        LockedError: another run writes to it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed = False
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise self._error("cannot be opened", error) from error
        try:
            self._size = os.fstat(self._fd).st_size
            if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
                raise OutputError(f"{path}: ends in an unfinished line; nothing may be written behind it")
            hold_output(self._fd, path)
            sync_folder(path)
        except OSError as error:
            os.close(self._fd)
            raise self._error("cannot be opened", error) from error
        except (OutputError, LockedError):
            os.close(self._fd)
            raise
        close_after_fork(self)

    def append(self, data: bytes) -> None:
        """Write and sync. On failure the file is cut back to its last committed line, and never written again."""
        self._check_still_ours()
        try:
            _write_all(self._fd, data)
            os.fdatasync(self._fd)
        except OSError as error:
            # also after a failed sync: the lines may be in the cache only, and must not pass for committed
            self._cut_back()
            raise self._error("cannot be written", error) from error
        self._size += len(data)

    def close(self) -> None:
        """Look a last time, and close. A second call does nothing."""
        if self._fd < 0:
            return
        try:
            if not self._failed:
                self._check_still_ours()
        finally:
            os.close(self._fd)
            self._fd = -1

    def forget(self) -> None:
        """In a forked child: close the descriptor. The parent goes on writing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _check_still_ours(self) -> None:
        try:
            ours = os.fstat(self._fd)
            theirs = self._path.stat()
        except FileNotFoundError:
            raise self._changed("was deleted") from None
        except OSError as error:
            raise self._error("cannot be looked at", error) from error
        if not os.path.samestat(ours, theirs):
            raise self._changed("was replaced by another file")
        if ours.st_size < self._size:
            raise self._changed("was truncated")
        if ours.st_size > self._size:
            raise self._changed("was written to by somebody else")

    def _changed(self, what: str) -> OutputError:
        self._failed = True
        return OutputError(
            f"{self._path}: {what} during the run, so results would be lost; leave it alone while a run writes it"
        )

    def _error(self, what: str, error: OSError) -> OutputError:
        self._failed = True
        code = errno.errorcode.get(error.errno or 0, "")
        return OutputError(f"{self._path}: {what}: {error.strerror} ({code}). {_mend(error.errno)}")

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            pass  # the next run heals a torn end


class StreamOut:
    """Stdout, or another descriptor that only takes bytes. A line is committed when the kernel has it."""

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd

    def append(self, data: bytes) -> None:
        """Write all of it, waiting for a slow reader."""
        try:
            _write_all(self._fd, data)
        except BrokenPipeError as error:
            raise ReaderGone("stdout: its reader has gone") from error
        except OSError as error:
            raise OutputError(f"stdout: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Nothing to do: the descriptor is the process's own."""


class LineWriter:
    """Takes lines from the event loop without ever blocking it, and commits them in groups from a thread.

    Made and used on a running event loop; `close` may be called from anywhere.

    Args:
        sink: where lines go, such as a `ResultsFile`; belongs to this writer from now on.
        on_failure: called once, on the loop, when lines can no longer be kept: no further call may be paid.
        on_commit: called on the loop after each group, with the number of lines committed so far.
    """

    def __init__(
        self,
        sink: Sink,
        on_failure: Callable[[OutputError], None],
        on_commit: Callable[[int], None] | None = None,
    ) -> None:
        self._sink = sink
        self._on_failure = on_failure
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._lines: SimpleQueue[bytes | None] = SimpleQueue()
        self._closing = threading.Event()
        self._put = 0
        self._committed = 0
        self._put_bytes = self._committed_bytes = 0
        self._failure: OutputError | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._progress = threading.Event()
        self._progress_at = 0.0
        self._patience = STARVED_S
        self._thread = threading.Thread(target=self._write_groups, name="result writer", daemon=True)
        self._thread.start()

    @property
    def committed(self) -> int:
        """Lines that are kept for good."""
        return self._committed

    @property
    def backlog(self) -> int:
        """Lines put and not yet committed."""
        return self._put - self._committed

    @property
    def backlog_bytes(self) -> int:
        """How large those are."""
        return self._put_bytes - self._committed_bytes

    @property
    def failure(self) -> OutputError | None:
        """Why nothing is written any more; None while all is well."""
        return self._failure

    def put(self, line: bytes) -> None:
        """Hand over one whole line. After a failure it is dropped, and its item stays to do.

        Doesn't wait for the disk. But where the loop is so busy that the thread never gets the interpreter's lock, it
        stands aside for `YIELD_S` at most, and more rarely each time that does not help; and for 0.1 s at most where
        `CROWDED_BYTES` wait for a disk that goes on.
        """
        if self._failure is not None:
            return
        if self._put == self._committed:
            self._progress_at = perf_counter()
        self._put += 1
        self._put_bytes += len(line)
        self._lines.put(line)
        quiet_s = perf_counter() - self._progress_at
        if self.backlog_bytes > CROWDED_BYTES and quiet_s < _HUNG_S:
            self._progress.clear()
            self._progress.wait(_CROWDED_YIELD_S)
        elif quiet_s > self._patience:
            self._stand_aside()

    async def drained(self, limit: int = 1) -> None:
        """Wait until fewer than `limit` lines are uncommitted: 1 waits for all of them.

        Raises:
            OutputError: they will never be.
        """
        if self._failure is not None:
            raise self._failure
        if self.backlog < limit:
            return
        waiter = (limit, self._loop.create_future())
        self._waiting.append(waiter)
        try:
            await waiter[1]
        finally:
            self._waiting.remove(waiter)

    def close(self, timeout: float | None = None) -> OutputError | None:
        """Commit what was put, and end the thread. Blocks; a second call only repeats the answer.

        Args:
            timeout: seconds to wait at most, for a disk or a reader that has stopped.

        Returns:
            Why lines are missing from the output; None where every line that was put is committed.
        """
        if not self._closing.is_set():
            self._closing.set()
            self._lines.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            return OutputError(f"{self.backlog} result lines could not be written within {timeout} s")
        return self._failure

    def _stand_aside(self) -> None:
        """Let the thread run.

        CPython hands its lock over only when somebody has waited for 5 ms in a row, and begins to count anew whenever
        the loop lets go of it for a moment in a system call: a loop that never idles keeps the thread out for seconds.
        """
        self._progress.clear()
        if self._progress.wait(YIELD_S):
            self._patience = STARVED_S
        else:  # then it is the disk that is slow, and waiting for it is not the loop's business
            self._patience = min(2 * self._patience, 1.0)
        self._progress_at = perf_counter()

    def _write_groups(self) -> None:
        try:
            while group := self._next_group():
                self._sink.append(b"".join(group))
                self._committed += len(group)
                self._committed_bytes += sum(map(len, group))
                self._progress_at = perf_counter()
                self._progress.set()
                self._tell(self._announce_commit)
            self._sink.close()
        except OutputError as error:
            self._fail(error)
        except Exception as error:  # a bug here must stop the run, not leave it waiting for ever
            self._fail(OutputError(f"the result writer broke: {type(error).__name__}: {error}"))

    def _next_group(self) -> list[bytes]:
        """The lines waiting, one at least; none when closing."""
        first = self._lines.get()
        if first is None:
            return []
        if self.backlog < GATHERED_LINES:
            self._closing.wait(GATHER_S)
        group = [first]
        size = len(first)
        while size < _GROUP_BYTES:
            try:
                line = self._lines.get_nowait()
            except Empty:
                break
            if line is None:
                self._lines.put(None)
                break
            group.append(line)
            size += len(line)
        return group

    def _fail(self, error: OutputError) -> None:
        self._failure = error
        try:
            self._sink.close()
        except (OutputError, OSError):
            pass
        self._tell(self._announce_failure)

    def _tell(self, announce: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(announce)
        except RuntimeError:
            pass  # the loop is closed: nobody listens any more, and `close` returns the failure

    def _announce_commit(self) -> None:
        self._wake_waiters()
        if self._on_commit is not None:
            self._on_commit(self._committed)

    def _announce_failure(self) -> None:
        self._wake_waiters()
        if self._failure is not None:
            self._on_failure(self._failure)

    def _wake_waiters(self) -> None:
        for limit, future in self._waiting:
            if future.done():
                continue
            if self._failure is not None:
                future.set_exception(self._failure)
            elif self.backlog < limit:
                future.set_result(None)


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:  # a pipe that somebody else made non-blocking
            select.select([], [fd], [])


def _mend(code: int | None) -> str:
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "Make room, then run the same command again: it continues"
    if code == errno.EIO:
        return "The disk may be failing; once it is sound, run the same command again: it continues"
    return "Once that is mended, run the same command again: it continues"
