"""The report: a run's results and traces as one HTML page that needs no network, no server, no other file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agentbatch.report.comparison import compare_items
from agentbatch.report.page import write_page
from agentbatch.report.reading import read_figures, read_run
from agentbatch.results.files import ResultFiles

__all__ = ["make_report", "traces_of"]


def make_report(
    results: Path, traces: Path | None = None, other: Path | None = None, *, processes: int = 1
) -> Iterator[bytes]:
    """The page of a run, piece by piece, beside another run where `other` names its results.

    Args:
        processes: how many may read a large trace file. More than one start this program's main module anew, which
            has to stand that (`if __name__ == "__main__"`).
        traces: the trace file; by default the one beside the results, where there is one, as for `other`.

    Raises:
        InputError: a file is not there, or is no results file.
    """
    run, table = read_run(results, traces_of(results, traces), processes)
    if other is None:
        return write_page(run, table)
    compared = read_figures(other, traces_of(other), processes)
    return write_page(run, table, compared, compare_items(run.book, compared.book))


def traces_of(results: Path, traces: Path | None = None) -> Path | None:
    """The trace file that belongs to a results file: `traces`, or the one beside it; None where there is none."""
    if traces is not None:
        return traces
    beside = ResultFiles(results).traces
    return beside if beside.is_file() else None
