"""Tables of begun calls whose runs never came to an end: removed at the start of a later run, of any output.

A table is in use while its lock is held. One that is not is kept for the run that continues its output, which needs
it to say what was paid twice; where the results are gone, or nobody has come back for a month, nobody will.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from agentbatch.kept.begun_calls import SHARED_MEMORY, results_of, table_prefix

GONE_AFTER_S = 3600.0
"""A table without results is left for so long: a disk may be away for a moment."""

FORGOTTEN_AFTER_S = 30 * 86400.0
_AT_MOST = 500
"""Tables looked into at one start."""


def remove_stale_tables(now: float, folder: Path = SHARED_MEMORY) -> int:
    """Remove what nobody will come back for; returns how many tables that were. `now` is Unix time in seconds.

    Never fails a run: what can't be looked at or removed stays.
    """
    found: list[tuple[float, str]] = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(table_prefix()):
                with suppress(OSError):
                    found.append((entry.stat(follow_symlinks=False).st_mtime, entry.path))
    old = sorted(each for each in found if now - each[0] > GONE_AFTER_S)
    return sum(_remove_if_stale(Path(path), now - touched) for touched, path in old[:_AT_MOST])


def _remove_if_stale(path: Path, age_s: float) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # blocks whoever opens it now, until it is gone
        results = results_of(file)
        if age_s <= FORGOTTEN_AFTER_S and (results is None or results.exists()):
            return False
        path.unlink()
        return True
    except OSError:
        return False  # in use
    finally:
        os.close(file)
