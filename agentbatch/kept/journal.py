"""Paid work of unfinished items, kept so that a crash does not make anyone pay for it again.

Every finished call (of a model, a tool, a command) is on disk before its item makes the next one. When the item is run
again after a crash, it asks the same things in the same places, and what was answered is answered from here: only
calls in flight at the crash are made anew. A call is known by its item, the path of its step, its number in that step,
and the digest of what was asked; if the config changed what is asked, the call is made anew.

An item's entries go when its result line is on disk. What they cost is kept beside them, so that a cap on the cost
holds from the first moment of the next run. The file is SQLite in WAL mode, with one commit for all calls that wait for
it; items of one call need none of it, so they never touch the disk here.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from agentbatch.errors import OutputError
from agentbatch.files.same_files import Identity, identity, refuse_others
from agentbatch.inputs.json_lines import is_json
from agentbatch.kept.begun_calls import BegunCall, BegunCalls
from agentbatch.record import record
from agentbatch.step import Visit

if TYPE_CHECKING:
    import sqlite3

_T = TypeVar("_T")

_LAZY_S = 0.1
"""An entry nobody waits for is written when it is older than this, unless its item's result line was quicker."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    item INTEGER NOT NULL, path TEXT NOT NULL, number INTEGER NOT NULL, digest BLOB NOT NULL, answer BLOB NOT NULL,
    PRIMARY KEY (item, path, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS costs (item INTEGER PRIMARY KEY, usd REAL NOT NULL);
"""


@record
class Place:
    """Where in a run a call stands: its item's index, the path of its step, its number in that step."""

    item: int
    path: str
    number: int


def next_place(visit: Visit) -> Place:
    """The place of a visit's next call."""
    return Place(visit.item.index, visit.path, visit.next_call())


@record
class Entry:
    """One finished call. `row` gives the digest of what was asked, and the answer; only who writes it calls it.

    `cost_usd` is what it cost, as far as that is known, in US dollars.
    """

    place: Place
    row: Callable[[], tuple[bytes, bytes]]
    cost_usd: float = 0.0

    @property
    def packed(self) -> CallRow:
        """As it travels to another process."""
        place = self.place
        return (place.item, place.path, place.number, *self.row(), self.cost_usd)

    @classmethod
    def unpacked(cls, row: CallRow) -> Entry:
        """As another process had it."""
        item, path, number, asked, answer, cost_usd = row
        return cls(Place(item, path, number), lambda: (asked, answer), cost_usd)


CallRow = tuple[int, str, int, bytes, bytes, float]
"""A finished call: item, path of the step, number, digest of what was asked, answer, cost in US dollars."""

Answers = dict[tuple[str, int], tuple[bytes, bytes]]
"""One item's finished calls: by step and number, the digest of what was asked, and the answer."""


class Journal(Protocol):
    """What steps need of a journal, wherever it keeps its entries."""

    def begin(self, place: Place, *, work: bool = False) -> BegunCall | None:
        """A handle for the call in this place, to say when it is sent and answered; None where nobody keeps that."""
        ...

    def recall(self, place: Place, asked: Callable[[], bytes]) -> bytes | None:
        """The answer that is kept for a place; None where there is none, or something else was asked then."""
        ...

    async def settle(self, item: int) -> None:
        """Wait until everything that the item did before is on disk."""
        ...

    def record(self, entry: Entry) -> None:
        """Keep a finished call."""
        ...


class JournalFile:
    """Calls of one run. Use on the event loop; the file belongs to a thread of its own.

    Args:
        path: the SQLite file; it is made when the first entry is written.
        on_failure: called once, on the loop, when entries can no longer be kept.
        begun: where calls are entered that have begun; None where that is not known.

    Raises:
        OutputError: an existing file can't be read.
    """

    def __init__(self, path: Path, on_failure: Callable[[OutputError], None], begun: BegunCalls | None = None) -> None:
        self.path = path
        self.begun = begun
        self.recalled = 0
        """Calls answered from the file in this run."""
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._known, self._cost_of = _read_all(path)
        self._stored = self._known.keys() | self._cost_of
        self._pending: deque[Entry] = deque()
        self._ended: deque[int] = deque()
        self._left_over: set[int] = set()
        """Items of which the file has entries that nobody needs."""
        self._unwritten: dict[int, int] = {}
        self._put = 0
        self._written = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._urgent = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def cost_usd(self) -> float:
        """What the calls that earlier runs left have cost, in US dollars."""
        return sum(self._cost_of.values())

    def leave_out(self, is_done: Callable[[int], bool]) -> None:
        """Call before anything else: items whose result a crash left beside their calls need none of them."""
        self._left_over = {item for item in self._stored if is_done(item)}
        for item in self._left_over:
            self._known.pop(item, None)
            self._cost_of.pop(item, None)

    def known(self, item: int) -> Answers:
        """The calls that an earlier run left of an item."""
        return self._known.get(item, {})

    def begin(self, place: Place, *, work: bool = False) -> BegunCall | None:
        """A handle for the call in this place, to say when it is sent and answered; `work` is no model's."""
        return None if self.begun is None else self.begun.call(place.item, place.path, place.number, work=work)

    def recall(self, place: Place, asked: Callable[[], bytes]) -> bytes | None:
        """The answer that an earlier run left here; None where there is none, or something else was asked then."""
        known = self._known.get(place.item)
        found = None if known is None else known.get((place.path, place.number))
        if found is None or found[0] != digest(asked()):
            return None
        self.recalled += 1
        return found[1]

    async def settle(self, item: int) -> None:
        """Wait until everything that the item did before is on disk."""
        due = self._unwritten.get(item, 0)
        if due <= self._written:
            return
        written: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((due, written))
        self._urgent.set()
        await written

    def record(self, entry: Entry) -> None:
        """Keep a finished call. Never blocks; `settle` says when it is on disk."""
        self._put += 1
        self._unwritten[entry.place.item] = self._put
        self._pending.append(entry)
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="call journal", daemon=True)
            self._thread.start()

    def forget(self, items: Iterable[int]) -> None:
        """These items' result lines are on disk: their entries may go."""
        items = list(items)
        if self.begun is not None:
            self.begun.forget(items)
        for item in items:
            self._unwritten.pop(item, None)
            if self._thread is not None or item in self._known:
                self._ended.append(item)

    def close(self, *, complete: bool, timeout: float | None = None) -> None:
        """Write what waits, and end the thread; with `complete` nothing is left to do, and the file goes.

        Args:
            complete: all items have a result.
            timeout: seconds to wait for a disk that has stopped.
        """
        self._closing = True
        if self.begun is not None:
            self.begun.close(complete=complete)
        self._urgent.set()
        if self._thread is not None:
            self._thread.join(timeout)
        if complete:
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def _keep(self) -> None:
        """The thread: write in groups until closed."""
        database: sqlite3.Connection | None = None
        files: Identity | None = None
        stored = self._stored
        seen_before, ended_before = 0, set[int]()
        try:
            while not self._closing or self._pending:
                due = self._urgent.wait(_LAZY_S)
                self._urgent.clear()
                # while nobody waits, what came since the last look may yet be outrun by its item's result line
                entries = _drain(self._pending, None if due else seen_before)
                ended = set(_drain(self._ended))
                over, ended_before, seen_before = ended | ended_before, ended, len(self._pending)
                kept = [entry for entry in entries if entry.place.item not in over]
                gone = (ended & stored) | self._left_over  # and those of them that are run again may keep new ones
                if kept or gone:
                    database = database or open_journal(self.path)
                    refuse_others(self.path, files)
                    _write(database, kept, gone)
                    files = identity(self.path)
                    self._left_over = set()
                    stored = (stored - gone) | {entry.place.item for entry in kept}
                self._tell(self._announce, len(entries))
        except OutputError as error:
            self._tell(self._fail, error)
        except Exception as error:  # whatever SQLite raises: a full disk, a lock, damage
            told = f"{self.path}: the call journal cannot be written: {error}. {mend_of(error)}"
            self._tell(self._fail, OutputError(told))
        finally:
            if database is not None:
                database.close()

    def _tell(self, what: Callable[[Any], None], news: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(what, news)
        except RuntimeError:
            pass  # the loop is gone, and everybody with it

    def _announce(self, count: int) -> None:
        self._written += count
        while self._waiting and self._waiting[0][0] <= self._written:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)

    def _fail(self, error: OutputError) -> None:
        self._on_failure(error)
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)


def _drain(queue: deque[_T], most: int | None = None) -> list[_T]:
    """What is in the queue now, or the first of it; another thread may go on appending."""
    return [queue.popleft() for _ in range(len(queue) if most is None else most)]


def open_journal(path: Path) -> sqlite3.Connection:
    import sqlite3  # late: a run of one-call items never needs it

    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(SCHEMA)
    return database


def _write(database: sqlite3.Connection, entries: list[Entry], ended: set[int]) -> None:
    rows: list[tuple[int, str, int, bytes, bytes]] = []
    for entry in entries:
        asked, answer = entry.row()
        rows.append((entry.place.item, entry.place.path, entry.place.number, asked, answer))
    database.execute("BEGIN IMMEDIATE")
    database.executemany("DELETE FROM calls WHERE item = ?", [(item,) for item in ended])
    database.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?)", rows)
    database.executemany("DELETE FROM costs WHERE item = ?", [(item,) for item in ended])
    add_costs(database, [(entry.place.item, entry.cost_usd) for entry in entries if entry.cost_usd])
    database.execute("COMMIT")


def add_costs(database: sqlite3.Connection, costs: Iterable[tuple[int, float]]) -> None:
    """Enter what calls of items cost, in US dollars, on top of what stands there."""
    database.executemany(
        "INSERT INTO costs VALUES (?, ?) ON CONFLICT (item) DO UPDATE SET usd = usd + excluded.usd", costs
    )


def digest(asked: bytes) -> bytes:
    """What tells one request from another: 16 bytes."""
    return hashlib.blake2b(asked, digest_size=16).digest()


def _read_all(path: Path) -> tuple[dict[int, Answers], dict[int, float]]:
    """What an earlier run left: the calls of the few items that were in flight when it ended, and what they cost."""
    if not path.exists():
        return {}, {}
    import sqlite3  # late, as above

    known: dict[int, Answers] = {}
    try:
        database = open_journal(path)
        try:
            for item, step, number, asked, answer in database.execute("SELECT * FROM calls"):
                if is_json(answer):  # else a failing disk has changed it: the call is made anew
                    known.setdefault(item, {})[step, number] = (asked, answer)
            costs: dict[int, float] = dict(database.execute("SELECT item, usd FROM costs"))
        finally:
            database.close()
    except sqlite3.Error as error:
        raise OutputError(
            f"{path}: the call journal of the earlier run cannot be read: {error}. {mend_of(error)}"
        ) from error
    return known, costs


def mend_of(error: Exception) -> str:
    """What a person does about it. Only a file that is damaged is worth a repair; on a full disk it is sound."""
    again = "then run the same command again: it continues"
    match getattr(error, "sqlite_errorname", "").partition("_")[2].partition("_")[0]:
        case "FULL":
            return f"Make room, {again}"
        case "CORRUPT" | "NOTADB" | "ERROR":
            return (
                "`agentbatch doctor RESULTS --repair` keeps what can still be read of it; delete it to go on without:"
                " the calls in it will be paid again"
            )
        case "IOERR":
            return f"The disk may be failing; once it is sound, {again}"
        case _:
            return f"Once that is mended, {again}"
