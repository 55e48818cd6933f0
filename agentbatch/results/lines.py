"""Reading results back: line by line, or the one line of an item. A file of another run, or of this one while it goes.

Of an item that has several lines the last one counts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, cast

import orjson

from agentbatch.errors import InputError
from agentbatch.results.openai_batch import with_output
from agentbatch.results.opening import no_results, open_results

_BEGINNING: Final = re.compile(rb'\{"id":("(?:[^"\\]|\\.)*"|-?\d+),"index":')
"""How our lines begin: what is needed of most is found without parsing them."""
_END: Final = b"}\n"


@contextmanager
def reading(path: Path) -> Generator[BinaryIO]:
    """The open file.

    Raises:
        InputError: it can't be read.
    """
    file = open_results(path)
    try:
        with file:
            yield file
    except OSError as error:  # a folder, a disk that fails
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def parse_result(line: bytes) -> dict[str, Any] | None:
    """The fields of a result line; None if it is torn, or none."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict):
        return None
    fields = cast("dict[str, Any]", value)
    return with_output(fields) if "id" in fields and "status" in fields else None


def find_result(path: Path, item_or_trace: str) -> dict[str, Any] | None:
    """The last line of the item of that id, or else of the item with that trace id.

    Raises:
        InputError: the file can't be read.
    """
    by_item: dict[str, Any] | None = None
    by_trace: dict[str, Any] | None = None
    escaped = orjson.dumps(item_or_trace)[1:-1]
    with reading(path) as file:
        for line in file:
            if escaped in line and (fields := parse_result(line)) is not None:
                if str(fields["id"]) == item_or_trace:
                    by_item = fields
                elif fields.get("trace_id") == item_or_trace:
                    by_trace = fields
    return by_item or by_trace


class CountedLines:
    """The lines of a results file that count: the last one of every item, in the file's order. Use as `with`.

    The file is read twice; what is written to it meanwhile is not seen. Memory: some 100 bytes an item. Lines that are
    no results (torn by a crash, or being written) are passed over.

    Attributes:
        superseded: lines that a later one of the same item took the place of.

    Raises:
        InputError: the file can't be read, or none of its lines is a result.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = open_results(path)
        self._offsets: dict[int, int] = {}
        self._superseded: set[int] = set()
        self._end = 0
        try:
            self._look()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def superseded(self) -> int:
        return len(self._superseded)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (fields for line in self.raw() if (fields := parse_result(line)) is not None)

    def raw(self) -> Iterator[bytes]:
        """The lines as they are, each with its newline."""
        return (line for _, line in self.keyed())

    def keyed(self) -> Iterator[tuple[int, bytes]]:
        """The lines with a key each, that stands for the item: the same in every file that this process reads."""
        offset = 0
        self._file.seek(0)
        for line in self._file:
            if offset >= self._end:
                return
            if offset not in self._superseded and (token := _id_token(line)) is not None:
                yield hash(token), line
            offset += len(line)

    def __contains__(self, key: int) -> bool:
        """Whether the item of that key has a line."""
        return key in self._offsets

    def of(self, key: int) -> dict[str, Any] | None:
        """The line of the item of that key; None if it has none."""
        offset = self._offsets.get(key)
        return None if offset is None else parse_result(self._line_at(offset))

    def _line_at(self, offset: int) -> bytes:
        """The line that begins there. Its length is unknown: most fit the first reading."""
        fd, size = self._file.fileno(), 8192
        while True:
            data = os.pread(fd, size, offset)
            end = data.find(b"\n")
            if end >= 0 or len(data) < size:
                return data[: end + 1] if end >= 0 else data
            size *= 8

    def _look(self) -> None:
        """Find out which lines count."""
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            token = _id_token(line)
            if token is not None:
                key = hash(token)
                before = self._offsets.get(key)
                if before is not None:
                    self._superseded.add(before)
                self._offsets[key] = self._end
            self._end += len(line)
        if not self._offsets and os.fstat(self._file.fileno()).st_size:
            raise no_results(self.path)


def _id_token(line: bytes) -> bytes | None:
    """The item's id as it is written; None where the line is no result."""
    found = _BEGINNING.match(line)
    if found is not None and line.endswith(_END):
        return found[1]
    fields = parse_result(line)
    return None if fields is None else orjson.dumps(fields["id"])
