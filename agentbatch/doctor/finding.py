"""What a look at one file of a run finds, in words for a person."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agentbatch.record import record

MOST_LINES = 20
"""Findings of a kind that are told one by one; of more, how many there are."""


@record
class Finding:
    """One thing that is not as a run leaves it.

    Attributes:
        file: where; `line` counts from 1, None where it is about the whole file.
        what: what is there.
        means: what that means to a run that goes on from here.
        mend: what `--repair` does about it, or what a person can do.
        mendable: whether `--repair` does it.
        wrong: False for what is worth knowing and does no harm.
    """

    file: Path
    line: int | None
    what: str
    means: str
    mend: str
    mendable: bool = False
    wrong: bool = True

    @property
    def place(self) -> str:
        """`FILE:LINE`, as editors understand it."""
        return str(self.file) if self.line is None else f"{self.file}:{self.line}"


@record
class Checkup:
    """What one look found, and what mends all of it that can be mended; that returns what it did."""

    findings: tuple[Finding, ...] = ()
    mend: Callable[[], str] | None = None


def told_briefly(findings: list[Finding]) -> tuple[Finding, ...]:
    """The first of many findings of one kind in one file; the last of those says how many more there are."""
    if len(findings) <= MOST_LINES:
        return tuple(findings)
    last = findings[MOST_LINES - 1]
    rest = len(findings) - MOST_LINES
    more = Finding(
        last.file, last.line, f"{last.what}; and {rest:,} more such lines", last.means, last.mend, last.mendable
    )
    return (*findings[: MOST_LINES - 1], more)
