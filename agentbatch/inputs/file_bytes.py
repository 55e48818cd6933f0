"""The bytes of the inputs: measured once before the start, read again lazily, and refused where they changed between.

Lines end at `\\n` and nowhere else; no line and no compressed file can make memory grow past its cap.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from agentbatch.errors import InputError
from agentbatch.files.nearby import did_you_mean_file
from agentbatch.inputs.utf8_check import Utf8Check
from agentbatch.record import record

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is never held in memory: it becomes an error of its item."""

_CHUNK = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\x0b\x0c"
_GZIP_MAGIC = b"\x1f\x8b\x08"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@record
class FileMeasure:
    """A regular file as it was before the start. `digest` is blake2b-256 in hex over the raw bytes."""

    path: Path
    size: int
    digest: str
    gzipped: bool
    lines: int
    """Lines that are not blank, in the decompressed text."""
    text: Utf8Check
    """Which of them are not UTF-8."""


class _MeasuredBytes(io.RawIOBase):
    """The first `size` bytes of a file, hashed as they pass."""

    def __init__(self, path: Path, size: int) -> None:
        super().__init__()
        self._path = path
        self._left = size
        self._hash = hashlib.blake2b(digest_size=32)
        self._file = path.open("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        window = buffer[: min(len(buffer), self._left)]
        got = self._file.readinto(window) or 0
        if got == 0 and len(window) > 0:
            raise InputError(f"{self._path}: became shorter while it was read; {_START_AGAIN}")
        self._left -= got
        self._hash.update(window[:got])
        return got

    def digest(self) -> str:
        return self._hash.hexdigest()

    def close(self) -> None:
        self._file.close()
        super().close()


_START_AGAIN = "leave it alone during a run, and start again with --overwrite or another --output"


def measure_file(path: Path) -> FileMeasure:
    """Hash a regular file and count its lines, in one pass.

    Raises:
        InputError: it can't be read, is UTF-16, or its gzip data are damaged.
    """
    try:
        size = path.stat().st_size
        with _MeasuredBytes(path, size) as raw:
            gzipped = _is_gzip(path)
            if gzipped and size == 0:
                raise InputError(f"{path}: the gzip data are damaged: the file is empty")
            text = Utf8Check()
            lines = count_lines(_looked_at(_chunks(path, raw, gzipped), text))
            return FileMeasure(path, size, raw.digest(), gzipped, lines, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def digest_of(path: Path) -> str:
    """The digest alone.

    Raises:
        InputError: it can't be read.
    """
    try:
        with _MeasuredBytes(path, path.stat().st_size) as raw:
            while raw.read(_CHUNK):
                pass
            return raw.digest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _looked_at(chunks: Iterable[bytes], text: Utf8Check) -> Iterator[bytes]:
    for chunk in chunks:
        text.take(chunk)
        yield chunk
    text.end()


def read_file_lines(measure: FileMeasure, cap: int = MAX_LINE_BYTES) -> Iterator[tuple[int, bytes | None]]:
    """The numbered lines of a measured file, as `read_lines` gives them.

    Raises:
        InputError: it can't be read, or its bytes are no longer those that were measured.
    """
    try:
        with _MeasuredBytes(measure.path, measure.size) as raw:
            yield from read_lines(_buffered(raw, measure.gzipped), cap)
            if raw.digest() != measure.digest:
                raise InputError(f"{measure.path}: changed while it was read; {_START_AGAIN}")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{measure.path}: cannot be read: {error}; {_START_AGAIN}") from error


def read_lines(
    stream: BinaryIO, cap: int = MAX_LINE_BYTES, take: Callable[[bytes], None] | None = None
) -> Iterator[tuple[int, bytes | None]]:
    """Each line with its number from 1; None for one longer than `cap` bytes. A BOM before the first is dropped.

    Args:
        take: is given every byte, in pieces of at most `cap`, before the line they belong to is handed out.
    """
    number = 0
    while line := stream.readline(cap + 1):
        number += 1
        if take is not None:
            take(line)
        if len(line) > cap and not line.endswith(b"\n"):
            if _skip_line(stream, take) or line.strip():
                yield number, None
        elif number == 1:
            yield number, line.removeprefix(_BOM)
        else:
            yield number, line


def count_lines(chunks: Iterable[bytes]) -> int:
    """How many lines are not blank."""
    count = 0
    begun = False
    for chunk in chunks:
        pieces = chunk.translate(None, _BLANK).split(b"\n")
        begun = begun or pieces[0] != b""
        if len(pieces) > 1:
            ends = (pieces[0] != b"") + (pieces[-1] != b"")
            count += begun + len(pieces) - pieces.count(b"") - ends
            begun = pieces[-1] != b""
    return count + begun


def _skip_line(stream: BinaryIO, take: Callable[[bytes], None] | None) -> bool:
    """Read on to the end of the line; whether there was more than blanks."""
    filled = False
    while piece := stream.readline(_CHUNK):
        if take is not None:
            take(piece)
        filled = filled or bool(piece.strip())
        if piece.endswith(b"\n"):
            break
    return filled


def _buffered(raw: _MeasuredBytes, gzipped: bool) -> BinaryIO:
    if not gzipped:
        return io.BufferedReader(raw, _CHUNK)
    unzipped = gzip.GzipFile(fileobj=io.BufferedReader(raw, _CHUNK))
    return io.BufferedReader(cast(io.RawIOBase, unzipped), 65536)


def _chunks(path: Path, raw: _MeasuredBytes, gzipped: bool) -> Iterator[bytes]:
    stream = _buffered(raw, gzipped)
    first = True
    done = 0
    try:
        while chunk := stream.read(_CHUNK):
            done += len(chunk)
            if first and chunk.startswith(_UTF16_MARKS):
                raise InputError(f"{path}: is UTF-16; convert it first: iconv -f UTF-16 -t UTF-8")
            yield chunk.removeprefix(_BOM) if first else chunk
            first = False
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: the gzip data are damaged after {done:,} decoded bytes: {error}") from error


def _is_gzip(path: Path) -> bool:
    """By its name, or by its content: a compressed file renamed to .jsonl would be nothing but bad lines."""
    if path.name.lower().endswith(".gz"):
        return True
    with path.open("rb") as file:
        return file.read(3) == _GZIP_MAGIC


def is_regular(path: Path) -> bool:
    """Whether `path` can be read twice; a FIFO or `/dev/fd/63` can't.

    Raises:
        InputError: there is no such file, or it is a folder.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        hint = did_you_mean_file(path) if isinstance(error, FileNotFoundError) else ""
        raise InputError(f"{path}: cannot be read: {error.strerror or error}{hint}") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a folder; name a .jsonl, .jsonl.gz or .csv file, or - for stdin")
    return stat.S_ISREG(mode)
