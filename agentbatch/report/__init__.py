"""The report: a run's results and traces as one HTML page that needs no network, no server, no other file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agentbatch.report.comparison import compare_items
from agentbatch.report.page import write_page
from agentbatch.report.reading import read_run
from agentbatch.results.files import ResultFiles

__all__ = ["make_report"]


def make_report(
    results: Path, traces: Path | None = None, other: Path | None = None, other_traces: Path | None = None
) -> Iterator[bytes]:
    """The page of a run, piece by piece, beside another run where `other` names its results.

    Args:
        traces, other_traces: the trace files; by default those beside the results, where there are any.

    Raises:
        InputError: a file is not there, or is no results file.
    """
    run, table = read_run(results, _traces_of(results, traces))
    if other is None:
        return write_page(run, table)
    compared, _ = read_run(other, _traces_of(other, other_traces))
    return write_page(run, table, compared, compare_items(run.book, compared.book))


def _traces_of(results: Path, traces: Path | None) -> Path | None:
    if traces is not None:
        return traces
    beside = ResultFiles(results).traces
    return beside if beside.is_file() else None
