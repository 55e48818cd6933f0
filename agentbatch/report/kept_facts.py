"""What the report knows from elsewhere than the items: the run's header, and a second look at the lines' checks."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import cast

from agentbatch.checks.counts import CheckCount, CheckTally
from agentbatch.errors import InputError
from agentbatch.results.files import ResultFiles
from agentbatch.results.header import read_header
from agentbatch.results.lines import CountedLines
from agentbatch.time_book import Bound, BoundTime, Cause, shared_out


def times_of(results: Path) -> tuple[BoundTime, ...]:
    """What the time of all sittings of a run went to, as its header says; nothing where none says it."""
    with suppress(InputError):
        header = read_header(ResultFiles(results).header)
        if header is not None:
            return shared_out(
                {Bound(cast(Cause, one["what"]), one["who"]): float(one["seconds"]) for one in header.bound_by}, 0.0
            )
    return ()


def checks_in(results: Path, names: frozenset[str]) -> tuple[CheckCount, ...]:
    """What the checks of these names came to, over the lines that count. Read again, where there are any."""
    if not names:
        return ()
    tally = CheckTally(sorted(name for name in names if "." not in name), {})
    with CountedLines(results) as lines:
        for line in lines:
            tally.add(line["status"], line.get("checks") or {})
    return tally.counts()
