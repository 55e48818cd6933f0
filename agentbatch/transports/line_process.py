"""A program that is spoken to in lines for as long as a run needs it; its tree of processes ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import AsyncIterator
from typing import IO

from agentbatch.errors import CommandFault
from agentbatch.text.redact import visible
from agentbatch.transports.command import Command, start_fault
from agentbatch.transports.process_tree import kill_tree, marked, new_mark, open_pidfd

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is not held: whoever writes it is cut off."""

_LAST_WORDS = 2000
_CHUNK = 65536
_LEAVING_S = 1.0


class LineProcess:
    """A running program. Its input and output are one socket, which programs use as they do pipes.

    `start` makes one; `close` ends it, and everything that it started.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], mark: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._mark = mark
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._complaints = _LastWords(self._loop, process.stderr)
        self._exited = asyncio.Event()
        self._pidfd = open_pidfd(process.pid)
        if self._pidfd is None:
            threading.Thread(target=self._wait, daemon=True).start()
        else:
            self._loop.add_reader(self._pidfd, self._see_exit)

    @classmethod
    async def start(cls, command: Command, max_line: int = MAX_LINE_BYTES) -> LineProcess:
        """Start a program.

        Raises:
            CommandFault: it can't be started.
        """
        mark = new_mark()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = _start(command, mark, theirs.fileno())
            except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
                ours.close()
                raise CommandFault(start_fault(command, error)) from None
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=max_line)
        except BaseException:
            kill_tree(process.pid, mark)
            process.wait()
            raise
        return cls(process, mark, reader, writer)

    @property
    def last_words(self) -> str:
        """The end of what it wrote to stderr, and how it ended where it did."""
        code = self._process.poll()
        how = "" if code is None else f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
        return ": ".join(part for part in (how, self._complaints.text) if part)

    async def lines(self) -> AsyncIterator[bytes]:
        """What it writes, until it ends, or writes a line that is too long."""
        while True:
            try:
                line = await self._reader.readline()
            except (ConnectionError, ValueError):  # ValueError: the line is longer than the limit
                return
            if not line:
                await self._be_seen_out()
                return
            yield line

    async def _be_seen_out(self) -> None:
        """Its output ends a moment before itself: with its exit code it can be said why."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVING_S):
                await self._exited.wait()

    async def write(self, line: bytes) -> None:
        """Give it a line.

        Raises:
            ConnectionError: it reads no more.
        """
        self._writer.write(line)
        await self._writer.drain()

    async def close(self, patience: float) -> None:
        """Let it see the end of its input, and so many seconds later, or when this is cancelled, kill what is left."""
        try:
            if not self._exited.is_set():
                self._writer.write_eof()
                async with asyncio.timeout(patience):
                    await self._exited.wait()
        except (TimeoutError, OSError, RuntimeError):  # RuntimeError: the socket is closed already
            pass
        finally:
            self.kill()
            self._release()

    def kill(self) -> None:
        """End the whole tree now."""
        kill_tree(self._process.pid, self._mark, reaped=self._process.returncode is not None)

    def _release(self) -> None:
        self._writer.close()
        self._complaints.close()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        if self._process.poll() is None:  # it dies within a moment, which nobody here waits for
            threading.Thread(target=self._process.wait, daemon=True).start()

    def _see_exit(self) -> None:
        """The program ended: what it left behind must not keep its output open."""
        assert self._pidfd is not None
        self._loop.remove_reader(self._pidfd)
        self.kill()
        self._exited.set()

    def _wait(self) -> None:
        """Where the system has no descriptors for processes, a thread waits."""
        self._process.wait()
        try:
            self._loop.call_soon_threadsafe(self._exited.set)
        except RuntimeError:
            pass  # the loop is gone, and everybody with it


def _start(command: Command, mark: str, stdio: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command.argv,
        stdin=stdio,
        stdout=stdio,
        stderr=subprocess.PIPE,
        env=marked(command.env, mark),
        cwd=command.cwd,
        bufsize=0,
        start_new_session=True,
    )


class _LastWords:
    """Reads a pipe to its end and keeps the last of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pipe: IO[bytes] | None) -> None:
        assert pipe is not None
        self._loop = loop
        self._pipe = pipe
        self._kept = b""
        os.set_blocking(pipe.fileno(), False)
        loop.add_reader(pipe.fileno(), self._read)

    @property
    def text(self) -> str:
        if not self._pipe.closed:
            self._read()
        return visible(" ".join(self._kept.decode("utf-8", "replace").split()), _LAST_WORDS)

    def close(self) -> None:
        if not self._pipe.closed:
            self._loop.remove_reader(self._pipe.fileno())
            self._pipe.close()

    def _read(self) -> None:
        try:
            chunk = os.read(self._pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return
        if chunk:
            self._kept = (self._kept + chunk)[-_LAST_WORDS:]
        else:
            self.close()
