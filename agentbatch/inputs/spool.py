"""A copy of what came by stdin, beside the output, so that a resume can tell whether it is given the same again."""

from __future__ import annotations

import os
from pathlib import Path

from agentbatch.errors import InputError, OutputError
from agentbatch.files.durable import last_newline


class Spool:
    """Compares a stream with the copy of an earlier run, and goes on copying where that one ends.

    A line is written with one `write` before its item is handed out: it survives a kill of the process. It is not
    synced, so after a power cut the copy may be shorter than what was read, and fewer lines are compared. Whoever holds
    the lock of the output is its only user.

    Args:
        path: the copy; made where it does not exist.

    Raises:
        OutputError: the copy can't be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._line = 1
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._known = last_newline(self._fd, os.fstat(self._fd).st_size)
            os.ftruncate(self._fd, self._known)
        except OSError as error:
            raise OutputError(f"{path}: cannot keep a copy of stdin: {error.strerror}") from error
        self._at = 0

    def take(self, piece: bytes) -> None:
        """Compare or copy the next bytes of the stream; a line may come in several pieces.

        Raises:
            InputError: the earlier run read something else here.
            OutputError: the copy can't be written.
        """
        try:
            compared = max(0, min(len(piece), self._known - self._at))
            if compared and os.pread(self._fd, compared, self._at) != piece[:compared]:
                raise InputError(f"stdin:{self._line}: differs from what the run to continue has read; {self._mend()}")
            self._write(piece[compared:], self._at + compared)
        except OSError as error:
            raise OutputError(f"{self._path}: cannot keep a copy of stdin: {error.strerror}") from error
        self._at += len(piece)
        self._line += piece.endswith(b"\n")

    def finish(self) -> None:
        """Say that the stream has ended.

        Raises:
            InputError: the earlier run read more than this one was given.
        """
        if self._at < self._known:
            raise InputError(f"stdin: ended at line {self._line}, sooner than the run to continue did; {self._mend()}")

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write(self, data: bytes, offset: int) -> None:
        while data:
            written = os.pwrite(self._fd, data, offset)
            data, offset = data[written:], offset + written

    def _mend(self) -> str:
        return f"give the same input again (a copy is in {self._path}), or start anew with --overwrite"
