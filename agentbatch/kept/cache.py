"""The response cache: the answer to exactly this request, asked before by any run that shares the file.

Off by default. Reading is one look into SQLite on the event loop (some 20 us); writing belongs to a thread. Processes
may share the file. A request that is being asked right now is not asked a second time: whoever else wants it waits.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
import threading
import time
from pathlib import Path
from types import TracebackType

from agentbatch.errors import InputError, OutputError
from agentbatch.inputs.json_lines import is_json
from agentbatch.record import record

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, made_at REAL NOT NULL, answer BLOB NOT NULL) WITHOUT ROWID
"""
_BUSY_S = 5.0
_PERIOD_S = 0.1


class ResponseCache:
    """Answers by the digest of their request. Use on the event loop; `close()` writes what waits.

    Args:
        path: the SQLite file; made, with its folder, where there is none.
        ttl: seconds after which an answer is too old; None for never.
        refresh: ask anew whatever is in it, and replace it.

    Raises:
        OutputError: the file can't be used.
    """

    def __init__(self, path: Path, *, ttl: float | None = None, refresh: bool = False) -> None:
        self.path = path
        self.hits = 0
        self._ttl = ttl
        self._refresh = refresh
        self._sound = self._writing = True
        self._in_flight: dict[bytes, asyncio.Future[bytes | None]] = {}
        self._unwritten: dict[bytes, bytes] = {}
        self._closing = threading.Event()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._reading = open_cache(path)
        except (OSError, sqlite3.Error) as error:
            words = "set cache.path to a file that can be written, or run with --no-cache"
            raise OutputError(f"{path}: the cache cannot be used: {error}; {words}") from error
        self._thread = threading.Thread(target=self._write_until_closed, name="response cache", daemon=True)
        self._thread.start()

    def key(self, asked: bytes) -> bytes:
        """What a request is found by: 32 bytes."""
        return hashlib.blake2b(asked, digest_size=32).digest()

    def is_asked(self, key: bytes) -> bool:
        """Whether somebody is asking it right now."""
        return key in self._in_flight

    async def find(self, key: bytes) -> bytes | None:
        """The kept answer, or that of somebody who is asking the same right now; None where it is to be asked."""
        while (flight := self._in_flight.get(key)) is not None:
            await asyncio.wait({flight})
            answer = flight.result()
            if answer is not None:
                self.hits += 1
                return answer
        answer = self._unwritten.get(key) or self._kept(key)
        self.hits += answer is not None
        return answer

    def asking(self, key: bytes) -> Asking:
        """`with cache.asking(key) as asking:` lets others wait for the answer that `asking.answered` tells."""
        return Asking(self, key)

    @property
    def unwritten(self) -> int:
        """Answers that wait to be written."""
        return len(self._unwritten)

    def keep(self, key: bytes, answer: bytes) -> None:
        """Have it written, unless nothing can be written any more."""
        if self._writing:
            self._unwritten[key] = answer

    def close(self) -> None:
        """Write what waits and close the file."""
        self._closing.set()
        self._thread.join()
        self._reading.close()

    def _kept(self, key: bytes) -> bytes | None:
        if self._refresh:
            return None
        try:
            row = self._reading.execute("SELECT made_at, answer FROM answers WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:  # a part of the file that a failing disk has changed: the model is asked
            self._tell_damage(error)
            return None
        if row is None or (self._ttl is not None and time.time() - row[0] > self._ttl):
            return None
        return row[1] if is_json(row[1]) else None

    def _tell_damage(self, error: sqlite3.Error) -> None:
        if self._sound:
            self._sound = False
            words = "what can't be read of it is asked for anew; delete the file, and it is made again"
            logging.getLogger(__name__).warning("%s: the cache is damaged: %s; %s", self.path, error, words)

    def _write_until_closed(self) -> None:
        """Looked at by the clock, not woken per answer. A cache that can't be written is no reason to end a run."""
        try:
            database = open_cache(self.path)
            while not self._closing.wait(_PERIOD_S):
                self._write_waiting(database)
            self._write_waiting(database)
            database.close()
        except sqlite3.Error as error:
            self._writing = False
            self._unwritten.clear()  # or it would hold every answer of the run
            logging.getLogger(__name__).warning("%s: the cache cannot be written: %s", self.path, error)

    def _write_waiting(self, database: sqlite3.Connection) -> None:
        rows = [(key, time.time(), answer) for key, answer in list(self._unwritten.items())]
        if not rows:
            return
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", rows)
        database.execute("COMMIT")
        for key, *_ in rows:
            self._unwritten.pop(key, None)


class Asking:
    """One request on its way to a model, and those who wait for the same answer."""

    __slots__ = ("_cache", "_flight", "_key")

    def __init__(self, cache: ResponseCache, key: bytes) -> None:
        self._cache = cache
        self._key = key
        self._flight: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    def __enter__(self) -> Asking:
        self._cache._in_flight[self._key] = self._flight  # pyright: ignore[reportPrivateUsage]  # its other half
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cache._in_flight.pop(self._key, None)  # pyright: ignore[reportPrivateUsage]
        if not self._flight.done():
            self._flight.set_result(None)

    def answered(self, answer: bytes) -> None:
        """Keep the answer and give it to those who wait."""
        self._cache.keep(self._key, answer)
        self._flight.set_result(answer)


def open_cache(path: Path) -> sqlite3.Connection:
    """A connection to the cache's file. What is lost in a power cut is asked again: no sync per commit."""
    database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute(_SCHEMA)
    return database


@record
class CacheStats:
    """What a cache holds. Times are Unix seconds, None where it is empty."""

    answers: int
    bytes: int
    oldest: float | None
    newest: float | None


def cache_stats(path: Path) -> CacheStats:
    """Count what is in the cache at `path`.

    Raises:
        InputError: there is none. OutputError: it can't be read.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no cache yet: the first run of a config with `cache:` makes it")
    try:
        database = open_cache(path)
        count, size, oldest, newest = database.execute(
            "SELECT COUNT(*), COALESCE(SUM(LENGTH(answer)), 0), MIN(made_at), MAX(made_at) FROM answers"
        ).fetchone()
        database.close()
    except sqlite3.Error as error:
        raise OutputError(f"{path}: the cache cannot be read: {error}") from error
    return CacheStats(count, size, oldest, newest)


def clear_cache(path: Path, *, older_than: float | None = None) -> int:
    """Delete all answers, or those older than so many seconds; returns how many.

    Raises:
        OutputError: it can't be written.
    """
    if not path.exists():
        return 0
    try:
        database = open_cache(path)
        before = time.time() if older_than is None else time.time() - older_than
        gone = database.execute("DELETE FROM answers WHERE made_at <= ?", (before,)).rowcount
        database.execute("VACUUM")
        database.close()
    except sqlite3.Error as error:
        raise OutputError(f"{path}: the cache cannot be cleared: {error}") from error
    return gone
