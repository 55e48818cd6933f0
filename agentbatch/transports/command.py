"""The border to other programs: a command runs in a session of its own, and its whole tree of processes ends with it.

No shell: a command is a list of arguments. Its environment holds what it is given and a mark, by which processes that
left its session are found again. Descriptors of this process are not inherited.
"""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import IO

from agentbatch.errors import CommandFault
from agentbatch.record import record
from agentbatch.text.redact import visible
from agentbatch.transports.process_tree import kill_group, kill_tree, marked, new_mark, open_pidfd

PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR")
"""Of this process's environment a command sees only these, and what its config names: never the models' keys."""

MAX_BYTES = 10_000_000
"""Kept of a command's output, where the caller does not say; the rest is read, counted and dropped."""

_CHUNK = 65536
_MOST_IN_A_PIPE = 2 * 1024 * 1024


@record
class Command:
    """What to run. `env` is the whole environment; `cwd` None is this process's own folder.

    `pass_fds` are descriptors that the command inherits under their own numbers.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: Path | None = None
    stdin: bytes = b""
    pass_fds: tuple[int, ...] = ()


@record
class Captured:
    """The beginning of what was written, and how many bytes of it are not here."""

    data: bytes
    missing: int = 0

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")


@record
class Ended:
    """How a command ended. `code` is its exit status, or the negative number of the signal that killed it."""

    code: int
    stdout: Captured
    stderr: Captured


def clean_environment(named: Mapping[str, str], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command: the few variables that every program wants, and those that are named."""
    whole = os.environ if environ is None else environ
    return {**{name: whole[name] for name in PASSED_ON if name in whole}, **named}


async def run_command(command: Command, *, max_stdout: int = MAX_BYTES, max_stderr: int = 100_000) -> Ended:
    """Run a command to its end. When this is cancelled, the command and all its descendants are killed.

    Processes of the command's own group that outlive it are killed, too, and so is whatever keeps its output open.

    Raises:
        CommandFault: it could not be started.
    """
    running = _Running(command, max_stdout, max_stderr)
    try:
        await running.exited
        return running.end()
    except BaseException:
        running.kill()
        raise
    finally:
        running.close()


class _Running:
    """One process with its pipes, watched by the event loop.

    asyncio's own subprocesses are not used: they wait for the pipes of a process that has ended, and a grandchild may
    hold these for ever.
    """

    def __init__(self, command: Command, max_stdout: int, max_stderr: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._mark = new_mark()
        self._process = _start(command, self._mark)
        self.exited: asyncio.Future[None] = self._loop.create_future()
        self._pidfd = open_pidfd(self._process.pid)
        self._stdout = _Reader(self._loop, self._process.stdout, max_stdout)
        self._stderr = _Reader(self._loop, self._process.stderr, max_stderr)
        self._stdin = _Writer(self._loop, self._process.stdin, command.stdin)
        if self._pidfd is None:
            threading.Thread(target=self._wait, daemon=True).start()
        else:
            self._loop.add_reader(self._pidfd, self._see_exit)

    def end(self) -> Ended:
        """Collect what is left in the pipes of a process that has ended."""
        kill_group(self._process.pid)  # before the process is reaped its number can't be anybody else's
        open_ends = [reader for reader in (self._stdout, self._stderr) if not reader.drained()]
        code = self._process.wait()
        if open_ends:
            kill_tree(self._process.pid, self._mark, reaped=True)
            for reader in open_ends:
                reader.drained()
        return Ended(code, self._stdout.captured, self._stderr.captured)

    def kill(self) -> None:
        """End the whole tree now."""
        if self._process.returncode is None:
            kill_tree(self._process.pid, self._mark)
            if self._process.poll() is None:  # it dies within a moment, which nobody here waits for
                threading.Thread(target=self._process.wait, daemon=True).start()

    def close(self) -> None:
        """Let go of every descriptor."""
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._stdout.close()
        self._stderr.close()
        self._stdin.close()

    def _see_exit(self) -> None:
        assert self._pidfd is not None
        self._loop.remove_reader(self._pidfd)
        if not self.exited.done():
            self.exited.set_result(None)

    def _wait(self) -> None:
        """Where the system has no descriptors for processes, a thread waits."""
        self._process.wait()
        try:
            self._loop.call_soon_threadsafe(lambda: self.exited.done() or self.exited.set_result(None))
        except RuntimeError:
            pass  # the loop is gone, and everybody with it


class _Reader:
    """Keeps the first bytes of a pipe, counts the others."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pipe: IO[bytes] | None, limit: int) -> None:
        assert pipe is not None
        self._loop = loop
        self._pipe = pipe
        self._limit = limit
        self._kept = bytearray()
        self._missing = 0
        self._at_end = False
        os.set_blocking(pipe.fileno(), False)
        loop.add_reader(pipe.fileno(), self._read)

    @property
    def captured(self) -> Captured:
        return Captured(bytes(self._kept), self._missing)

    def drained(self) -> bool:
        """Take what is in the pipe now; whether that was all there will ever be."""
        for _ in range(_MOST_IN_A_PIPE // _CHUNK):  # a process that was left behind may go on writing for ever
            if not self._read():
                break
        return self._at_end

    def close(self) -> None:
        if not self._pipe.closed:
            self._loop.remove_reader(self._pipe.fileno())
            self._pipe.close()

    def _read(self) -> bool:
        """Take one chunk; False where there is none."""
        if self._at_end:
            return False
        try:
            chunk = os.read(self._pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._at_end = True
            self._loop.remove_reader(self._pipe.fileno())
            return False
        room = self._limit - len(self._kept)
        self._kept += chunk[:room]
        self._missing += max(0, len(chunk) - room)
        return True


class _Writer:
    """Feeds a pipe as fast as it takes it; a command that does not want its input may leave it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pipe: IO[bytes] | None, data: bytes) -> None:
        self._loop = loop
        self._pipe = pipe
        self._left = memoryview(data)
        if pipe is not None:
            os.set_blocking(pipe.fileno(), False)
            loop.add_writer(pipe.fileno(), self._write)

    def close(self) -> None:
        if self._pipe is not None and not self._pipe.closed:
            self._loop.remove_writer(self._pipe.fileno())
            self._pipe.close()

    def _write(self) -> None:
        assert self._pipe is not None
        try:
            self._left = self._left[os.write(self._pipe.fileno(), self._left[:_CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:  # EPIPE: nobody reads it any more
            self._left = self._left[:0]
        if not self._left:
            self.close()


def _start(command: Command, mark: str) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command.argv,
            stdin=subprocess.PIPE if command.stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=marked(command.env, mark),
            cwd=command.cwd,
            bufsize=0,
            start_new_session=True,
            pass_fds=command.pass_fds,
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
        raise CommandFault(start_fault(command, error)) from None


def start_fault(command: Command, error: OSError | ValueError) -> str:
    """Why a command could not be started, for people."""
    name = visible(command.argv[0], 100) if command.argv else ""
    if isinstance(error, OSError) and command.cwd is not None and not command.cwd.is_dir():
        return f"{name}: there is no folder {visible(str(command.cwd), 200)} to run it in"
    if isinstance(error, FileNotFoundError):
        return f"{name}: no such command; is it installed, and is its folder in PATH?"
    if isinstance(error, OSError) and error.errno == errno.E2BIG:
        return f"{name}: its arguments are longer than the system allows: give long texts by stdin"
    return f"{name}: can't be started: {error.strerror if isinstance(error, OSError) else error}"
