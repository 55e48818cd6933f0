"""The way to a person's screen, which may be slow, stopped with Ctrl-S, closed, or unable to show the letters."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
from collections.abc import Mapping
from time import perf_counter
from typing import TextIO

_SAFE_BYTES = 512
"""POSIX's smallest PIPE_BUF: a pipe that is ready for writing takes this much without blocking."""

_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")

_MOST_PENDING = 64 * 1024
"""When a reader is this far behind, new text is dropped."""


class Outlet:
    """Writes text to a stream's descriptor, and gives up rather than wait.

    What could not be written stays pending and goes first next time, so that an escape sequence is never torn. A closed
    or broken stream makes all later writes silent.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._pending = b""
        self._owned: int | None = None
        self._fd = _descriptor(sys.stderr if stream is None else stream)
        self.encoding = _encoding(stream or sys.stderr)
        self.is_tty = self._fd is not None and os.isatty(self._fd)
        if self._fd is not None and (own := _reopen_without_blocking(self._fd)) is not None:
            self._fd = self._owned = own

    @property
    def alive(self) -> bool:
        """Whether anyone may still be reading."""
        return self._fd is not None

    @property
    def unicode(self) -> bool:
        """Whether the encoding knows more than ASCII: bars and ellipses may use it."""
        with contextlib.suppress(UnicodeEncodeError, LookupError):
            return bool("█░…·".encode(self.encoding))
        return False

    def in_foreground(self) -> bool:
        """Whether the terminal is ours to draw on: not while a shell runs us in the background."""
        if self._fd is None:
            return False
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:  # not our controlling terminal: nobody else's either
            return True

    def showable(self, text: str) -> str:
        """The text with letters that the encoding lacks shown escaped."""
        return text if text.isascii() else text.encode(self.encoding, "backslashreplace").decode(self.encoding)

    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal; 80 by 24 where nobody knows. COLUMNS and LINES, if above 0, win."""
        columns, lines = 0, 0
        if self._fd is not None:
            with contextlib.suppress(OSError):
                columns, lines = os.get_terminal_size(self._fd)
        return _positive(os.environ.get("COLUMNS")) or columns or 80, _positive(os.environ.get("LINES")) or lines or 24

    def write(self, text: str, patience: float = 0.0) -> bool:
        """Send all of `text` after what is pending; False if some is pending still.

        `patience` is how many seconds to wait for a reader that does not read.
        """
        if len(self._pending) < _MOST_PENDING:
            self._pending += text.encode(self.encoding, "backslashreplace")
        return self.flush(patience)

    def flush(self, patience: float = 0.0) -> bool:
        """Send what is pending; False if some is pending still."""
        deadline = perf_counter() + patience
        chunk = _SAFE_BYTES if self._owned is None else _MOST_PENDING
        while self._pending and self._fd is not None:
            try:
                _, ready, _ = select.select([], [self._fd], [], max(0.0, deadline - perf_counter()))
                if not ready:
                    return False
                self._pending = self._pending[os.write(self._fd, self._pending[:chunk]) :]
            except BlockingIOError:
                return False
            except (OSError, ValueError):  # EPIPE, EBADF, EIO: nobody is there any more
                self._fd = None
        self._pending = b""
        return True

    def close(self) -> None:
        """Drop what is pending and release what was opened; the stream itself stays open."""
        self._pending = b""
        self._fd = None
        if self._owned is not None:
            os.close(self._owned)
            self._owned = None


def tell(text: str, stream: TextIO | None = None, patience: float = 2.0) -> bool:
    """Print to a person, default on stderr, or give up after `patience` seconds: no screen may hold up the exit."""
    outlet = Outlet(stream)
    try:
        return outlet.write(text, patience)
    finally:
        outlet.close()


def _descriptor(stream: TextIO) -> int | None:
    try:
        fd = stream.fileno()
        os.fstat(fd)
    except (OSError, ValueError, AttributeError):
        return None
    return fd


def _encoding(stream: TextIO, environ: Mapping[str, str] = os.environ) -> str:
    """The stream's encoding; ASCII where a person chose the C locale, in which Python writes UTF-8 all the same.

    Python then sets LC_CTYPE itself (PEP 538), so that variable tells nothing where it names UTF-8 alone.
    """
    ctype = environ.get("LC_CTYPE", "")
    locale = environ.get("LC_ALL") or (ctype if ctype not in _COERCED else "") or environ.get("LANG")
    return "ascii" if locale in ("C", "POSIX") else getattr(stream, "encoding", None) or "ascii"


def _reopen_without_blocking(fd: int) -> int | None:
    """A second, non-blocking way to the same terminal or pipe; None where there is none, or no need.

    O_NONBLOCK belongs to the open file description, which we share with our parent (its shell, its stdin): only a
    description of our own may have it. Without one, small writes after `select` come close.
    """
    if not (os.isatty(fd) or stat.S_ISFIFO(os.fstat(fd).st_mode)):
        return None
    with contextlib.suppress(OSError):
        path = os.ttyname(fd) if os.isatty(fd) else f"/proc/self/fd/{fd}"
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    return None


def _positive(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
