"""A file that another process appends to, line by line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


class GrowingLines:
    """The lines of a file as it grows. A file that is made anew, or cut, is read from its beginning again.

    Attributes:
        restarts: how often that happened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.restarts = 0
        self._inode: int | None = None
        self._offset = 0

    def new(self) -> Iterator[bytes]:
        """The whole lines since the last time; none where there is no file."""
        try:
            file = self.path.open("rb")
        except OSError:
            return
        with file:
            self._notice_change(file.fileno())
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield line

    def _notice_change(self, fd: int) -> None:
        state = os.fstat(fd)
        if self._inode is not None and (state.st_ino != self._inode or state.st_size < self._offset):
            self.restarts += 1
            self._offset = 0
        self._inode = state.st_ino
