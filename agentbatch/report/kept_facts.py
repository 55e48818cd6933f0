"""What the report knows from elsewhere than the items: the run's header, and a second look at the lines' checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from agentbatch.checks.config import ThresholdConfig
from agentbatch.checks.counts import CheckCount, CheckTally
from agentbatch.errors import InputError
from agentbatch.marks import Mark
from agentbatch.record import record
from agentbatch.results.files import ResultFiles
from agentbatch.results.header import RunHeader, read_header
from agentbatch.results.lines import CountedLines
from agentbatch.time_book import Bound, BoundTime, Cause, shared_out


@record
class KeptFacts:
    """What a run's header and its lines say beside the items.

    Attributes:
        bound_by: what the time of all sittings went to; empty where nothing says it.
        checks: what the checks came to, and what the config asks for.
        marks: cool-downs and limits that changed.
    """

    bound_by: Sequence[BoundTime]
    checks: Sequence[CheckCount]
    marks: Sequence[Mark]


def kept_facts(results: Path, checks: frozenset[str]) -> KeptFacts:
    """The facts of a run whose lines have checks of these names. The lines are read again where there are any."""
    header = None
    with suppress(InputError):
        header = read_header(ResultFiles(results).header)
    if header is None:
        return KeptFacts((), _checks_in(results, checks, {}), ())
    thresholds: dict[str, ThresholdConfig] = {}
    with suppress(ValueError):  # an edited file: what it asks for can't be told
        thresholds = {name: ThresholdConfig(**asked) for name, asked in header.thresholds.items()}
    marks = tuple(Mark(mark["at"], mark["seconds"], mark["what"]) for mark in header.marks)
    return KeptFacts(tuple(_times(header)), _checks_in(results, checks, thresholds), marks)


def _times(header: RunHeader) -> Iterator[BoundTime]:
    with suppress(TypeError, KeyError):  # a cause that a later version knows
        yield from shared_out(
            {Bound(cast(Cause, one["what"]), one["who"]): float(one["seconds"]) for one in header.bound_by}, 0.0
        )


def _checks_in(results: Path, names: frozenset[str], thresholds: dict[str, ThresholdConfig]) -> tuple[CheckCount, ...]:
    names |= thresholds.keys()
    if not names:
        return ()
    tally = CheckTally(sorted(name for name in names if "." not in name), thresholds)
    with CountedLines(results) as lines:
        for line in lines:
            tally.add(line["status"], line.get("checks") or {})
    return tally.counts()
