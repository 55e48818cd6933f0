"""Whether an open SQLite database still stands under its name: SQLite itself goes on writing where nobody will look."""

from __future__ import annotations

from pathlib import Path

from agentbatch.errors import OutputError

Identity = tuple[tuple[int, int], ...]
"""Device and inode of a database and of its write-ahead log."""


def identity(path: Path) -> Identity:
    """What stands under these names now.

    Raises:
        OutputError: one of the two is not there.
    """
    return tuple(_identity_of(each) for each in (path, path.with_name(f"{path.name}-wal")))


def refuse_others(path: Path, known: Identity | None) -> None:
    """See that the files are those that were written last; None where nothing was written yet.

    Raises:
        OutputError: somebody has deleted or replaced one.
    """
    if known is not None and identity(path) != known:
        raise _taken_away(path, "replaced")


def _identity_of(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise _taken_away(path, "deleted") from None
    except OSError as error:
        raise OutputError(f"{path}: cannot be looked at: {error.strerror}") from error
    return found.st_dev, found.st_ino


def _taken_away(path: Path, how: str) -> OutputError:
    return OutputError(
        f"{path}: was {how} during the run, so what is paid would be paid again after a crash; leave it alone while a"
        " run writes it, and run the same command again: it continues"
    )
