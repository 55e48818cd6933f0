"""Which requests are in which batch, on disk before anything is submitted: a crash at any moment pays nothing twice.

A batch is entered with a token before it is submitted. A run that finds one without the provider's id looks for it at
the provider, and forgets it only if it never got there. Answers are kept as they are fetched, since providers delete
them after some days. SQLite in WAL mode; each write is on disk when it returns. Called from threads, one at a time.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from agentbatch.errors import OutputError
from agentbatch.files.same_files import Identity, identity, refuse_others
from agentbatch.record import record

_SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY, token TEXT NOT NULL, model TEXT NOT NULL, id TEXT, count INTEGER NOT NULL,
    begun_at REAL NOT NULL, ended INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, batch INTEGER NOT NULL, answer BLOB) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS calls_of_batch ON calls (batch) WHERE answer IS NULL;
"""

EXPIRED = b""
"""Stands for the answer of a request whose batch ended without one."""


@record
class StoredBatch:
    """One batch that was begun. `id` is the provider's, None where it is not known whether it was submitted.

    Times are Unix seconds.
    """

    number: int
    token: str
    id: str | None
    count: int
    begun_at: float


@record
class StoredCall:
    """A request that is in a batch; `answer` is its line of results, None where that has not come."""

    batch: int
    answer: bytes | None


class BatchStore:
    """The batches of one output.

    Raises:
        OutputError: from every method: the file can't be read or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._files: Identity | None = None
        """What was written last."""
        self._closed = False
        if path.exists():
            self._open()

    @property
    def is_new(self) -> bool:
        """Whether there is nothing in it."""
        return self._database is None

    def unended(self, model: str) -> list[StoredBatch]:
        """Batches of a model that were begun, and whose results are not all here."""
        if self._database is None:
            return []
        rows = self._read(
            "SELECT number, token, id, count, begun_at FROM batches WHERE model = ? AND NOT ended", (model,)
        )
        return [StoredBatch(*row) for row in rows]

    def known(self) -> set[str]:
        """The providers' ids of all batches."""
        return {row[0] for row in self._read("SELECT id FROM batches WHERE id IS NOT NULL", ())}

    def find(self, key: str) -> StoredCall | None:
        """The request of that key, if it is in a batch."""
        if self._database is None:
            return None
        rows = self._read("SELECT batch, answer FROM calls WHERE key = ?", (key,))
        return StoredCall(*rows[0]) if rows else None

    def begin(self, token: str, model: str, keys: Sequence[str]) -> StoredBatch:
        """Enter a batch that is going to be submitted."""
        now = time.time()
        with self._lock, self._writing() as database:
            number = database.execute(
                "INSERT INTO batches (token, model, count, begun_at) VALUES (?, ?, ?, ?) RETURNING number",
                (token, model, len(keys), now),
            ).fetchone()[0]
            database.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?, NULL)", [(key, number) for key in keys])
        return StoredBatch(number, token, None, len(keys), now)

    def submitted(self, number: int, batch_id: str) -> None:
        """The provider has it."""
        self._write("UPDATE batches SET id = ? WHERE number = ?", [(batch_id, number)])

    def forget(self, number: int) -> list[str]:
        """It was never submitted, or refused as a whole; the keys of its requests."""
        with self._lock, self._writing() as database:
            rows = database.execute("DELETE FROM calls WHERE batch = ? AND answer IS NULL RETURNING key", (number,))
            keys = [row[0] for row in rows.fetchall()]
            database.execute("DELETE FROM batches WHERE number = ?", (number,))
        return keys

    def answered(self, number: int, answers: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Keep lines of a batch's results; those that are kept.

        Of several for one request the first counts, and none where it is in another batch by now.
        """
        query = "UPDATE calls SET answer = ? WHERE key = ? AND batch = ? AND answer IS NULL"
        with self._lock, self._writing() as database:
            return [(key, line) for key, line in answers if database.execute(query, (line, key, number)).rowcount]

    def ended(self, number: int) -> list[str]:
        """All its results are here; the keys of requests that none of them answers, which count as expired."""
        with self._lock, self._writing() as database:
            rows = database.execute(
                "UPDATE calls SET answer = ? WHERE batch = ? AND answer IS NULL RETURNING key", (EXPIRED, number)
            )
            keys = [row[0] for row in rows.fetchall()]
            database.execute("UPDATE batches SET ended = 1 WHERE number = ?", (number,))
        return keys

    def close(self) -> None:
        """Let go of the file. A thread may still be at it, or come too late: it finds it closed."""
        with self._lock:
            self._closed = True
            if self._database is not None:
                self._database.close()
                self._database = None

    def _open(self) -> sqlite3.Connection:
        if self._closed:
            raise OutputError(f"{self.path}: is closed")
        try:
            database = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise self._error(error) from error
        self._database = database
        return database

    def _read(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                database = self._database or self._open()
                return database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._error(error) from error

    def _write(self, query: str, rows: Sequence[tuple[object, ...]]) -> None:
        with self._lock, self._writing() as database:
            database.executemany(query, rows)

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        """One transaction."""
        database = self._database or self._open()
        refuse_others(self.path, self._files)
        try:
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
            self._files = identity(self.path)
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            raise self._error(error) from error

    def _error(self, error: sqlite3.Error) -> OutputError:
        return OutputError(f"{self.path}: what is known of the provider's batches cannot be kept: {error}")
