"""The copy of what came by stdin, with which the same stream is known again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from agentbatch.doctor.cutting import Cut, cut_out
from agentbatch.doctor.finding import Checkup, Finding
from agentbatch.text.figures import counted


def look_at_stdin_copy(path: Path, *, highest: int) -> Checkup:
    """What a power cut leaves in it. `highest` is the highest index in the results.

    Raises:
        OSError: it can't be read.
    """
    if not path.exists():
        return Checkup()
    offset = lines = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if b"\0" in line:
                size = path.stat().st_size
                return Checkup((_damage(path, number),), partial(cut_out, path, [Cut(number, offset, size - offset)]))
            offset += len(line)
            lines += bool(line.strip())
    return Checkup((_short(path, lines, highest),)) if lines <= highest else Checkup()


def _damage(path: Path, number: int) -> Finding:
    return Finding(
        path,
        number,
        "has NUL bytes from here on, as a power cut leaves them",
        "a run that is given the same stdin takes it for another one, and refuses it",
        "cut off here and kept aside: the lines before are compared as ever",
        mendable=True,
    )


def _short(path: Path, lines: int, highest: int) -> Finding:
    return Finding(
        path,
        None,
        f"holds {counted(lines, 'line')}, and the results go up to line {highest + 1:,}",
        "a power cut took its end: a run that goes on compares only the lines that are there",
        "nothing needs to be done",
        wrong=False,
    )
