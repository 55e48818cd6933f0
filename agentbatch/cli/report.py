"""`agentbatch report`: a run's results and traces as one HTML page."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from agentbatch.errors import OutputError, UsageError

_PAGE_BEGINS = b"<!doctype html>"


def report(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="The results file of a run.", show_default=False)],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            envvar="AGENTBATCH_REPORT_OUTPUT",
            help="The page; by default <results stem>.report.html beside the results. - is stdout.",
            show_default=False,
        ),
    ] = None,
    traces: Annotated[
        Path | None,
        typer.Option("--traces", help="The run's traces, where they are not beside its results.", show_default=False),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option("--compare", help="The results of another run, to be shown beside this one.", show_default=False),
    ] = None,
) -> None:
    """Make one self-contained HTML page of a run: charts, errors, and every item with its timeline."""
    # late imports: `agentbatch --help` needs none of this
    from agentbatch.cli.patience import say_long
    from agentbatch.report import make_report, traces_of
    from agentbatch.results.files import ResultFiles
    from agentbatch.results.opening import open_results, refuse_other_than_traces

    for named in filter(None, (results, compare)):
        open_results(named).close()
    if traces is not None:
        refuse_other_than_traces(traces)
    if output == "-":
        for piece in make_report(results, traces, compare, processes=_processes()):
            sys.stdout.buffer.write(piece)
        return
    path = ResultFiles(results).report if output is None else Path(output)
    sources = (results, traces_of(results, traces), compare, compare and traces_of(compare))
    _refuse_other_files(path, *sources)
    files = [source for source in sources if source is not None and source.is_file()]
    say_long("reading {size}", sum(file.stat().st_size for file in files))
    size = _write(path, make_report(results, traces, compare, processes=_processes()))
    typer.echo(f"wrote {path} ({_size(size)})")


def _processes() -> int:
    """As many as there are cores for this one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _refuse_other_files(path: Path, *sources: Path | None) -> None:
    """See that the page replaces nothing but an earlier page: neither what it is made from, nor a config or inputs.

    Raises:
        UsageError: it would.
    """
    if any(source is not None and source.exists() and path.exists() and path.samefile(source) for source in sources):
        raise UsageError(f"{path}: is what the report is made from, and would be overwritten: name another -o")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file in it")
    if not path.is_file():  # nothing there, or a device
        return
    with suppress(OSError), path.open("rb") as file:
        if file.read(len(_PAGE_BEGINS)) not in (b"", _PAGE_BEGINS):
            raise UsageError(f"{path}: is there already, and is no page of a report: name another -o")


def _write(path: Path, pieces: Iterator[bytes]) -> int:
    """Write the page; how many bytes it has.

    Raises:
        OutputError: it can't be written; an earlier page stays as it was.
    """
    from agentbatch.files.durable import replacing

    size = 0
    try:
        with replacing(path) as file:
            for piece in pieces:
                size += file.write(piece)
    except OSError as error:
        raise OutputError(f"{path}: can't be written: {error.strerror or error}") from error
    return size


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
