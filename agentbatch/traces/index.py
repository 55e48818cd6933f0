"""An index beside a trace file: one item of a million is found without reading the others.

The file is made anew whenever it does not fit the traces, and nothing depends on it: where it can't be written, or
another process is writing it, an index in memory takes its place.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self
from zlib import crc32

import orjson

from agentbatch.errors import InputError
from agentbatch.record import record
from agentbatch.trace import Span
from agentbatch.traces.entries import TraceEntry, entry_of_trace
from agentbatch.traces.otlp import decode_trace

ReadEntry = Callable[[bytes, int], TraceEntry | None]
"""Makes an entry of a line and its offset."""

_VERSION: Final = 2
_APPLICATION: Final = 0x61677462
"""SQLite's mark of whose file it is: "agtb"."""
_PROBE: Final = 4096
"""Bytes at the beginning and the end of what is indexed by which the file is known again."""
_CHUNK: Final = 1 << 24

_COLUMNS: Final = TraceEntry._fields
_SCHEMA: Final = f"""
    CREATE TABLE traces (
        offset INTEGER PRIMARY KEY, length INTEGER, trace_id TEXT, item_id TEXT, status TEXT, start_ns INTEGER,
        duration_s REAL, queued_s REAL, cost_usd REAL, error_type TEXT, error_message TEXT, agent TEXT
    );
    CREATE TABLE covers (inode INTEGER, size INTEGER, mtime_ns INTEGER, indexed INTEGER, head INTEGER, tail INTEGER);
    PRAGMA user_version = {_VERSION};
    PRAGMA application_id = {_APPLICATION};
"""
_INDEXES: Final = """
    CREATE INDEX by_item ON traces (item_id);
    CREATE INDEX by_trace ON traces (trace_id);
"""
_SELECT: Final = f"SELECT {', '.join(f'a.{name}' for name in _COLUMNS)} FROM traces AS a"
_COUNTS: Final = """
    NOT EXISTS (
        SELECT 1 FROM traces AS b WHERE b.item_id = a.item_id AND b.offset > a.offset AND b.status <> 'stopped'
    )
"""
"""That no later stay of the same item supersedes it."""
_FAILED: Final = f"a.status NOT IN ('ok', 'skipped', 'stopped') AND {_COUNTS}"


@record
class Covered:
    """The state of the traces that an index was made of. `indexed` bytes were read, all whole lines."""

    inode: int
    size: int
    mtime_ns: int
    indexed: int
    head: int
    tail: int


@record
class ErrorKind:
    """The items that failed with one type of error in one agent, and the first of them."""

    type: str
    agent: str | None
    count: int
    example: TraceEntry


def index_path(traces: Path) -> Path:
    """Where the index of `x.traces.jsonl` stands: `x.traces.index`."""
    return traces.with_name(f"{traces.stem}.index")


class TraceIndex:
    """The entries of a trace file, as it is now. Use as `with`.

    Raises:
        InputError: the file can't be read.
    """

    def __init__(
        self,
        traces: Path,
        *,
        read: ReadEntry = entry_of_trace,
        keep: bool = True,
        on_making: Callable[[int], None] | None = None,
    ) -> None:
        """Bring the index up to date.

        Args:
            read: for other files' lines.
            keep: False leaves nothing beside the file.
            on_making: told of how many bytes an index is made, before it is.
        """
        self._traces = traces
        self._on_making = on_making
        self._read = read
        try:
            self._file: BinaryIO = traces.open("rb")
        except OSError as error:
            raise InputError(f"{traces}: cannot be read: {error.strerror}") from error
        try:
            self._db = self._kept() if keep else self._in_memory()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._db.close()
        self._file.close()

    def __len__(self) -> int:
        return self._db.execute("SELECT count(*) FROM traces").fetchone()[0]

    def of_item(self, item_id: str) -> list[TraceEntry]:
        """All stays of an item, the oldest first."""
        return self._entries("WHERE a.item_id = ? ORDER BY a.offset", item_id)

    def of_trace(self, trace_id: str) -> list[TraceEntry]:
        """The traces whose id begins so."""
        beyond = trace_id[:-1] + chr(ord(trace_id[-1]) + 1)
        return self._entries("WHERE a.trace_id >= ? AND a.trace_id < ? ORDER BY a.offset", trace_id, beyond)

    def newest(self, limit: int | None = None) -> Iterator[TraceEntry]:
        """The last `limit` traces, the newest last; all of them without a limit."""
        skipped = 0 if limit is None else max(0, len(self) - limit)
        return self._each("ORDER BY a.offset LIMIT -1 OFFSET ?", skipped)

    def slowest(self, number: int) -> Iterator[TraceEntry]:
        """The items that worked longest, the slowest first."""
        return self._each(f"WHERE {_COUNTS} ORDER BY a.duration_s DESC, a.offset LIMIT ?", number)

    def failed(self, limit: int | None = None) -> Iterator[TraceEntry]:
        """The last `limit` items whose last stay failed, the newest last."""
        if limit is None:
            return self._each(f"WHERE {_FAILED} ORDER BY a.offset")
        return reversed(self._entries(f"WHERE {_FAILED} ORDER BY a.offset DESC LIMIT ?", limit))

    def failures(self) -> int:
        """How many items' last stay failed."""
        return self._db.execute(f"SELECT count(*) FROM traces AS a WHERE {_FAILED}").fetchone()[0]

    def errors(self) -> list[ErrorKind]:
        """The items whose last stay failed, by error type and agent, the most frequent first."""
        query = (
            "SELECT coalesce(a.error_type, a.status), a.agent, count(*), min(a.offset) FROM traces AS a "
            f"WHERE {_FAILED} GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
        )
        return [ErrorKind(kind, agent, count, self._at(at)) for kind, agent, count, at in self._db.execute(query)]

    def holding(self, text: str) -> Iterator[TraceEntry]:
        """The entries of the lines in which this stands as a JSON text, the oldest first. Reads the whole file."""
        seen = -1
        for position in self._positions(orjson.dumps(text)):
            entry = self._around(position)
            if entry is not None and entry.offset > seen:
                seen = entry.offset
                yield entry

    def line(self, entry: TraceEntry) -> bytes:
        """The line itself."""
        return os.pread(self._file.fileno(), entry.length, entry.offset)

    def spans(self, entry: TraceEntry) -> list[Span]:
        """The spans of a trace, children before parents."""
        return decode_trace(self.line(entry))

    def _entries(self, rest: str, *values: object) -> list[TraceEntry]:
        return list(self._each(rest, *values))

    def _each(self, rest: str, *values: object) -> Iterator[TraceEntry]:
        return (TraceEntry(*row) for row in self._db.execute(f"{_SELECT} {rest}", values))

    def _at(self, offset: int) -> TraceEntry:
        return self._entries("WHERE a.offset = ?", offset)[0]

    def _around(self, position: int) -> TraceEntry | None:
        found = self._entries("WHERE a.offset <= ? ORDER BY a.offset DESC LIMIT 1", position)
        return found[0] if found and position < found[0].offset + found[0].length else None

    def _kept(self) -> sqlite3.Connection:
        """The index that stands beside the traces, extended or made anew; one in memory where that can't be."""
        path = index_path(self._traces)
        try:
            found = self._found(path)
            return self._made(path) if found is None else found
        except (sqlite3.Error, OSError):
            return self._in_memory()

    def _found(self, path: Path) -> sqlite3.Connection | None:
        """The index that is there, brought up to date; None where there is none that fits."""
        if not path.exists():
            return None
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=10, isolation_level=None)
        try:
            covered = self._fitting(db)
            if covered is None:
                db.close()
                return None
            if (covered.size, covered.mtime_ns) != self._state()[1:]:
                self._extend(db)
        except sqlite3.DatabaseError:
            db.close()  # damaged, or not to be written
            return None
        except BaseException:
            db.close()
            raise
        return db

    def _fitting(self, db: sqlite3.Connection) -> Covered | None:
        """What the index covers, if that is still the beginning of the traces."""
        version, application = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")
        )
        if (version, application) != (_VERSION, _APPLICATION):
            return None
        covered = _covered(db)
        inode, size, mtime_ns = self._state()
        if covered is None or covered.inode != inode or size < covered.indexed:
            return None
        if size == covered.size and mtime_ns != covered.mtime_ns:  # written into, or made anew as long as it was
            return None
        return covered if self._probes(covered.indexed) == (covered.head, covered.tail) else None

    def _extend(self, db: sqlite3.Connection) -> None:
        """Add what the traces have grown by. Another process may have done so while this one waited for its turn."""
        db.execute("BEGIN IMMEDIATE")
        try:
            covered = _covered(db)
            self._add(db, 0 if covered is None else covered.indexed)
            db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise

    def _made(self, path: Path) -> sqlite3.Connection:
        """A new index, which takes its place when it is whole."""
        draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        draft.unlink(missing_ok=True)
        try:
            with closing(sqlite3.connect(draft, isolation_level=None)) as db:
                db.execute("PRAGMA journal_mode = OFF")  # a draft that breaks off is thrown away
                db.execute("PRAGMA synchronous = OFF")
                self._fill(db)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return sqlite3.connect(path, isolation_level=None, timeout=10)

    def _in_memory(self) -> sqlite3.Connection:
        db = sqlite3.connect(":memory:", isolation_level=None)
        self._fill(db)
        return db

    def _fill(self, db: sqlite3.Connection) -> None:
        if self._on_making is not None:
            self._on_making(self._state()[1])
        db.executescript(_SCHEMA)
        db.execute("BEGIN")
        self._add(db, 0)
        db.execute("COMMIT")
        db.executescript(_INDEXES)

    def _add(self, db: sqlite3.Connection, start: int) -> None:
        """Index the whole lines from `start` on, up to the size that the file has now."""
        inode, size, mtime_ns = self._state()
        end = start
        rows: list[TraceEntry] = []
        insert = f"INSERT OR REPLACE INTO traces VALUES ({', '.join('?' * len(_COLUMNS))})"
        self._file.seek(start)
        for line in self._file:
            if end + len(line) > size or not line.endswith(b"\n"):
                break
            entry = self._read(line, end)
            if entry is not None:
                rows.append(entry)
            end += len(line)
            if len(rows) >= 10_000:
                db.executemany(insert, rows)
                rows.clear()
        db.executemany(insert, rows)
        db.execute("DELETE FROM covers")
        db.execute("INSERT INTO covers VALUES (?, ?, ?, ?, ?, ?)", (inode, size, mtime_ns, end, *self._probes(end)))

    def _positions(self, needle: bytes) -> Iterator[int]:
        """Where `needle` begins, all over the file."""
        start, fd = 0, self._file.fileno()
        while chunk := os.pread(fd, _CHUNK, start):
            at = chunk.find(needle)
            while at >= 0:
                yield start + at
                at = chunk.find(needle, at + 1)
            if len(chunk) < len(needle):
                return
            start += len(chunk) - len(needle) + 1

    def _state(self) -> tuple[int, int, int]:
        state = os.fstat(self._file.fileno())
        return state.st_ino, state.st_size, state.st_mtime_ns

    def _probes(self, indexed: int) -> tuple[int, int]:
        """Checksums of both ends of the first `indexed` bytes: with random ids in them, no two files are alike."""
        fd = self._file.fileno()
        head = os.pread(fd, min(_PROBE, indexed), 0)
        tail = os.pread(fd, min(_PROBE, indexed), max(0, indexed - _PROBE))
        return crc32(head), crc32(tail)


def _covered(db: sqlite3.Connection) -> Covered | None:
    row = db.execute("SELECT inode, size, mtime_ns, indexed, head, tail FROM covers").fetchone()
    return None if row is None else Covered(*row)
