"""What it takes for a file to be on disk for good, and to end where its last whole line does."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_STEP = 65536


def last_newline(fd: int, size: int) -> int:
    """The length of the file up to and with its last newline: 0 where it has none."""
    end = size
    while end > 0:
        start = max(0, end - _STEP)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def sync_folder(path: Path) -> None:
    """Make the name of a new or renamed file durable: its entry lives in the folder, not in the file.

    Raises:
        OSError: the folder can't be synced. File systems that don't know how (EINVAL) are left in peace.
    """
    fd = os.open(path.resolve().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)


@contextmanager
def replacing(path: Path) -> Generator[BinaryIO, None, None]:
    """Write a file anew: at the end of the `with` the whole of it takes the place of `path`, durably.

    Left by an exception, or killed, it leaves `path` as it was. One writer at a time. Behind a symbolic link it is the
    file that is replaced, not the link; a device or a pipe (`/dev/stdout`) keeps its place, and is written to.

    Raises:
        OSError: it can't be written.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return
    path = path.resolve()
    draft = path.with_name(f"{path.name}.tmp")
    try:
        draft.unlink(missing_ok=True)  # a killed run's; and were it a link, what it leads to would be written over
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    sync_folder(path)
