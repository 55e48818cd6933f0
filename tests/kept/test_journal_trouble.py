"""What a person is told when the call journal can't be read or written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentbatch.errors import OutputError
from agentbatch.kept.journal import Entry, JournalFile, Place, digest, mend_of, open_journal


async def test_a_journal_that_is_none_names_the_command_that_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "x.journal.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(OutputError, match="agentbatch doctor RESULTS --repair"):
        JournalFile(path, lambda error: None)


async def test_an_answer_that_the_disk_has_changed_is_asked_for_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.journal.sqlite"
    with closing(open_journal(path)) as database:
        rows = [(1, "step", 1, digest(b"asked"), b'{"text":"an ans'), (1, "step", 2, digest(b"asked"), b'"sound"')]
        database.executemany("INSERT INTO calls VALUES (?, ?, ?, ?, ?)", rows)
    journal = JournalFile(path, lambda error: None)
    assert journal.recall(Place(1, "step", 1), lambda: b"asked") is None
    assert journal.recall(Place(1, "step", 2), lambda: b"asked") == b'"sound"'
    journal.close(complete=True)


def test_on_a_full_disk_nobody_is_told_to_delete_what_was_paid(tmp_path: Path) -> None:
    rows = [(number, "step", 1, b"", bytes(4000)) for number in range(9)]
    with closing(open_journal(tmp_path / "x.journal.sqlite")) as database:
        database.execute("PRAGMA max_page_count = 3")
        with pytest.raises(sqlite3.OperationalError) as full:
            database.executemany("INSERT INTO calls VALUES (?, ?, ?, ?, ?)", rows)
    assert "Make room" in mend_of(full.value)
    assert "delete" not in mend_of(full.value)


@pytest.mark.parametrize("suffix", ["", "-wal"])
async def test_a_journal_that_somebody_deletes_is_an_error_and_not_written_on(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "x.journal.sqlite"
    failures: list[OutputError] = []
    journal = JournalFile(path, failures.append)
    journal.record(Entry(Place(0, "step", 1), lambda: (digest(b"asked"), b'"first"')))
    await journal.settle(0)
    path.with_name(path.name + suffix).unlink()
    journal.record(Entry(Place(0, "step", 2), lambda: (digest(b"asked"), b'"second"')))
    with pytest.raises(OutputError, match="was deleted during the run"):
        await journal.settle(0)
    assert len(failures) == 1
    journal.close(complete=False)
