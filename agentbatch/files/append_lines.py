"""Lines added to the end of a file, whole or not at all: what is written beside a run and may be lost, never torn."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def open_for_append(path: Path, *, fresh: bool) -> int:
    """A descriptor that appends to `path`, which is made where there is none and emptied if `fresh`.

    Half a line that a killed run left is cut, lest the next line is glued to it.

    Raises:
        OSError: it can't be opened.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if fresh else 0)
    fd = os.open(path, flags, 0o666)
    _cut_torn_line(fd)
    return fd


def append(fd: int, lines: bytes) -> None:
    """Write all of `lines`, or leave a regular file as it was.

    Raises:
        OSError: they could not be written.
    """
    good_size = _size(fd)
    try:
        view = memoryview(lines)
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        _cut(fd, good_size)
        raise


def _size(fd: int) -> int | None:
    """The file's size; None where it is no regular file and can't be cut back."""
    state = os.fstat(fd)
    return state.st_size if stat.S_ISREG(state.st_mode) else None


def _cut(fd: int, size: int | None) -> None:
    if size is not None:
        with contextlib.suppress(OSError):
            os.ftruncate(fd, size)


def _cut_torn_line(fd: int) -> None:
    end = size = _size(fd) or 0
    while end > 0:
        start = max(0, end - 65536)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        _cut(fd, end)
