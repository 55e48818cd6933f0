"""Result lines in input order: a finished file rewritten, or a stream held back."""

from __future__ import annotations

import os
from array import array
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import orjson

from agentbatch.errors import OutputError
from agentbatch.files.durable import replacing

_ABSENT = 2**64 - 1


def sort_results(path: Path, total: int | None = None) -> None:
    """Rewrite a results file in input order, each item's last line only. Hold its lock, and have its writer closed.

    The new file takes the old one's place at once and durably, or the old one stays as it is. Memory: 16 bytes an item.

    Args:
        total: how many items there are, where known.

    Raises:
        OutputError: the file can't be read, or the new one not written.
    """
    path = path.resolve()  # a symbolic link stays one
    try:
        with path.open("rb") as lines, replacing(path) as ordered:
            os.fchmod(ordered.fileno(), os.fstat(lines.fileno()).st_mode & 0o7777)
            for line in _in_order(lines, total or 0):
                ordered.write(line)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"{path}: cannot be put in order: {reason}. Its lines are safe, in completion order"
        ) from error


def _in_order(lines: BinaryIO, total: int) -> Iterator[bytes]:
    starts = array("Q", [_ABSENT]) * total
    sizes = array("Q", [0]) * total
    offset = 0
    for line in lines:
        if line.strip():
            index = int(orjson.loads(line)["index"])
            if index >= len(starts):
                more = index + 1 - len(starts)
                starts.extend(array("Q", [_ABSENT]) * more)
                sizes.extend(array("Q", [0]) * more)
            starts[index], sizes[index] = offset, len(line)
        offset += len(line)
    fd = lines.fileno()
    for start, size in zip(starts, sizes, strict=True):
        if start != _ABSENT:
            yield os.pread(fd, size, start)


class OrderedLines:
    """Holds lines back until all before them are there. What it holds grows with the lag of the slowest item."""

    def __init__(self) -> None:
        self._expected: deque[int] = deque()
        self._held: dict[int, bytes] = {}

    def __len__(self) -> int:
        """Lines held back; a caller that bounds them stops taking items while they are too many."""
        return len(self._held)

    def expect(self, index: int) -> None:
        """Say that the item `index` was begun. Call in input order."""
        self._expected.append(index)

    def push(self, index: int, line: bytes) -> list[bytes]:
        """Take an item's line; returns the lines whose turn has come."""
        self._held[index] = line
        ready: list[bytes] = []
        while self._expected and self._expected[0] in self._held:
            ready.append(self._held.pop(self._expected.popleft()))
        return ready

    def flush(self) -> list[bytes]:
        """At the end: what is still held, in order. Items that never ended leave a gap."""
        ready = [self._held.pop(index) for index in self._expected if index in self._held]
        self._expected.clear()
        return ready
