"""Damaged lines cut out of a file. Nothing is thrown away: the file as it was, and what was cut, stay beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import BinaryIO

from agentbatch.files.durable import replacing
from agentbatch.record import record
from agentbatch.text.figures import counted

_STEP = 1 << 20


@record
class Cut:
    """A stretch of a file that goes: where it begins, how long it is (bytes), and whole lines in it that stay."""

    number: int
    offset: int
    length: int
    kept: bytes = b""


def cut_out(path: Path, cuts: Sequence[Cut], *, end_line: bool = False) -> str:
    """Write the file anew without these stretches, which go to `NAME.damaged.EXT`; with `end_line` end its last line.

    The new file takes the old one's place at once and durably; the old one stays as `NAME.EXT.bak`.

    Returns:
        What was done, for a person.

    Raises:
        OSError: it can't be done; then the file is as it was.
    """
    path = path.resolve()  # a symbolic link stays one
    aside = path.with_name(f"{path.stem}.damaged{path.suffix}")
    with path.open("rb") as old, replacing(path) as new:
        os.fchmod(new.fileno(), os.fstat(old.fileno()).st_mode & 0o7777)
        if cuts:
            with aside.open("ab") as removed:
                _split(old, new, removed, sorted(cuts, key=lambda cut: cut.offset))
                removed.flush()
                os.fsync(removed.fileno())
        _copy(old, new, os.fstat(old.fileno()).st_size)
        if end_line:
            new.write(b"\n")
        backup = keep_backup(path)
    moved = (
        f"{counted(len(cuts), 'stretch', 'stretches')} of it went to {aside}; " if cuts else "its last line was ended; "
    )
    return f"{path}: {moved}the file as it was is {backup}"


def keep_backup(path: Path) -> Path:
    """The file as it is now, under the next free name `NAME.bak`, `NAME.bak2`, ...: no copy where links are known."""
    for number in count(1):
        backup = path.with_name(f"{path.name}.bak{'' if number == 1 else number}")
        if backup.exists():
            continue
        try:
            os.link(path, backup)
        except OSError:
            shutil.copy2(path, backup)
        return backup
    raise AssertionError("unreachable")


def _split(old: BinaryIO, new: BinaryIO, removed: BinaryIO, cuts: Sequence[Cut]) -> None:
    for cut in cuts:
        _copy(old, new, cut.offset)
        new.write(cut.kept)
        _copy(old, removed, cut.offset + cut.length)
        removed.write(b"\n")  # a torn piece has none


def _copy(old: BinaryIO, new: BinaryIO, end: int) -> None:
    """Copy from where the old file is read to, up to `end`."""
    while (left := end - old.tell()) > 0:
        data = old.read(min(left, _STEP))
        if not data:
            return
        new.write(data)
