"""The traces and their index. No result depends on them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import orjson

from agentbatch.doctor.cutting import Cut, cut_out
from agentbatch.doctor.finding import Checkup, Finding, told_briefly
from agentbatch.text.figures import counted

_BEGINNING = b'{"resourceSpans":'


def look_at_traces(path: Path, *, running: bool) -> Checkup:
    """Lines that are no traces.

    Raises:
        OSError: it can't be read.
    """
    if not path.exists():
        return Checkup()
    cuts: list[Cut] = []
    offset = number = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not (line.strip() == b"" or _is_trace(line)):
                cuts.append(Cut(number, offset, len(line)))
            offset += len(line)
    at_end = bool(cuts) and cuts[-1].number == number
    if at_end and running:
        cuts.pop()
    elif at_end and not _ends_line(path):
        return _checkup(path, cuts[:-1], cuts[-1])
    return _checkup(path, cuts, None)


def look_at_index(path: Path, traces: Path) -> Checkup:
    """Whether `agentbatch trace` can use it. One that does not fit the traces is made anew by itself."""
    if not path.exists():
        return Checkup()
    if not traces.exists():
        what = f"is the index of {traces.name}, which is not there"
        finding = Finding(path, None, what, "nothing depends on it", "deleted", mendable=True)
        return Checkup((finding,), partial(_deleted, path))
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            sound = [row[0] for row in database.execute("PRAGMA quick_check")] == ["ok"]
    except sqlite3.Error:
        sound = False
    if sound:
        return Checkup()
    means = "`agentbatch trace` finds nothing by it, and makes it anew; no trace is lost"
    finding = Finding(path, None, "is damaged", means, "deleted: the next `agentbatch trace` makes it", mendable=True)
    return Checkup((finding,), partial(_deleted, path))


def _is_trace(line: bytes) -> bool:
    if not line.startswith(_BEGINNING) or not line.endswith(b"\n"):
        return False
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _checkup(path: Path, damaged: list[Cut], torn: Cut | None) -> Checkup:
    findings = list(told_briefly([_damage(path, cut.number) for cut in damaged]))
    if torn is not None:
        findings.append(_torn(path, torn))
    cuts = damaged if torn is None else [*damaged, torn]
    return Checkup(tuple(findings), partial(cut_out, path, cuts) if cuts else None)


def _damage(path: Path, number: int) -> Finding:
    means = "the trace of one item can't be shown; results don't depend on it"
    return Finding(path, number, "is no trace", means, "cut out and kept aside", mendable=True)


def _torn(path: Path, cut: Cut) -> Finding:
    means = "a run was killed while it wrote; the trace of one item is lost, its result is not"
    mend = "cut off and kept aside; the next run does so by itself"
    return Finding(
        path,
        cut.number,
        f"torn at its end: {counted(cut.length, 'byte')}",
        means,
        mend,
        mendable=True,
    )


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def _deleted(path: Path) -> str:
    path.unlink(missing_ok=True)
    return f"{path}: deleted"
