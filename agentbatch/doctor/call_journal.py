"""The call journal of an interrupted run: SQLite in WAL mode, of which a copy is looked at, so that nothing changes."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from agentbatch.doctor.cutting import keep_backup
from agentbatch.doctor.finding import Checkup, Finding
from agentbatch.files.durable import sync_folder
from agentbatch.inputs.json_lines import is_json
from agentbatch.kept.journal import add_costs, open_journal
from agentbatch.text.figures import counted

Row = tuple[int, str, int, bytes, bytes]
"""Item, path, number, digest, answer."""

_MAGIC = b"SQLite format 3\0"
_DIGEST_BYTES = 16
_SUFFIXES = ("-wal", "-shm")
_AGAIN = "calls that were paid and are in it would be paid again"


def look_at_journal(path: Path) -> Checkup:
    """Whether a run can read it, and what it keeps.

    Raises:
        OSError: it can't be read.
    """
    if not path.exists():
        return _orphans(path)
    if not path.is_file():
        return _unmendable(path, "is no file", "a run refuses to begin", "move it out of the way")
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
    if start and start != _MAGIC:
        return _broken(path, "is no SQLite file")
    with tempfile.TemporaryDirectory(prefix="agentbatch-doctor-") as folder:
        return _checked(path, _copy(path, Path(folder)))


def _checked(path: Path, copy: Path) -> Checkup:
    try:
        with closing(sqlite3.connect(copy)) as database:
            ok = [row[0] for row in database.execute("PRAGMA quick_check")] == ["ok"]
            if not ok:
                return _broken(path, "its pages are damaged")
            if not list(database.execute("SELECT name FROM sqlite_master WHERE name = 'calls'")):
                return Checkup()  # a run was killed when it had made no more than the file
            rows = list(database.execute("SELECT item, path, number, digest, answer FROM calls"))
    except sqlite3.Error as error:
        return _broken(path, f"cannot be read ({error})")
    bad = sum(not _is_sound(row) for row in rows)
    if bad:
        return _broken(path, f"damaged: {bad:,} of its {counted(len(rows), 'call')}")
    return Checkup(_kept(path, rows))


def _kept(path: Path, rows: list[Row]) -> tuple[Finding, ...]:
    if not rows:
        return ()
    items = len({row[0] for row in rows})
    note = Finding(
        path,
        None,
        f"keeps {counted(len(rows), 'finished call')} of {counted(items, 'item')}",
        "a run was interrupted; when it goes on, the calls of items without a result are answered from here",
        "run the same command again",
        wrong=False,
    )
    return (note,)


def _orphans(path: Path) -> Checkup:
    left = [other for suffix in _SUFFIXES if (other := path.with_name(path.name + suffix)).exists()]
    if not left:
        return Checkup()
    finding = Finding(
        left[0],
        None,
        "stands there without its journal",
        f"somebody deleted or moved {path.name}: {_AGAIN}",
        f"put {path.name} back, if you have it; --repair moves the rest aside",
        mendable=True,
    )
    return Checkup((finding,), partial(_set_aside, path))


def _broken(path: Path, what: str) -> Checkup:
    finding = Finding(
        path,
        None,
        what,
        "a run refuses to begin with it: finished calls of unfinished items may be lost",
        "every call in it that can still be read goes into a new one; the old one is kept aside",
        mendable=True,
    )
    return Checkup((finding,), partial(_made_anew, path))


def _unmendable(path: Path, what: str, means: str, mend: str) -> Checkup:
    return Checkup((Finding(path, None, what, means, mend),))


def _made_anew(path: Path) -> str:
    with tempfile.TemporaryDirectory(prefix="agentbatch-doctor-") as folder:
        copy = _copy(path, Path(folder))
        rows, costs = list(_readable(copy)), _costs(copy)
    aside = _set_aside(path)
    if rows:
        with closing(open_journal(path)) as database, database:
            database.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?)", rows)
            add_costs(database, costs)
    return f"{aside}; what could be read is kept: {counted(len(rows), 'call')}"


def _set_aside(path: Path) -> str:
    moved: list[Path] = []
    for name in (path, *(path.with_name(path.name + suffix) for suffix in _SUFFIXES)):
        if name.exists():
            moved.append(keep_backup(name))
            name.unlink()
    sync_folder(path)
    return f"{path}: moved to {moved[0]}" if moved else f"{path}: was not there any more"


def _readable(copy: Path) -> Iterator[Row]:
    """The sound rows before the first damaged page, and those behind the last."""
    seen: set[tuple[int, str, int]] = set()
    for order in ("ASC", "DESC"):
        query = "SELECT item, path, number, digest, answer FROM calls ORDER BY item {0}, path {0}, number {0}"
        with suppress(sqlite3.Error), closing(sqlite3.connect(copy)) as database:
            for row in database.execute(query.format(order)):
                if row[:3] not in seen and _is_sound(row):
                    seen.add(row[:3])
                    yield row


def _costs(copy: Path) -> list[tuple[int, float]]:
    """What the items' calls have cost, as far as that can be read."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(copy)) as database:
        rows = database.execute("SELECT item, usd FROM costs")
        return [(item, usd) for item, usd in rows if isinstance(item, int) and isinstance(usd, float)]
    return []


def _is_sound(row: Row) -> bool:
    item, path, number, digest, answer = row
    places = isinstance(item, int) and isinstance(path, str) and isinstance(number, int)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not places or not isinstance(digest, bytes) or len(digest) != _DIGEST_BYTES or not isinstance(answer, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
        return False
    return is_json(answer)


def _copy(path: Path, folder: Path) -> Path:
    copy = folder / path.name
    shutil.copyfile(path, copy)
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists():
        shutil.copyfile(wal, folder / wal.name)
    return copy
