"""What `agentbatch run` tells at its end: text for a person, and files for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agentbatch.errors import AgentBatchError, OutputError
from agentbatch.record import record

if TYPE_CHECKING:
    from agentbatch.summary import Summary


@record
class Telling:
    """Who wants to know how the run ended.

    Attributes:
        results: the results file; None for stdout.
        workflow: what the run's test cases are classed under.
        summary: where the summary goes as JSON; `as_json`: to stdout, too.
        junit: where JUnit XML goes.
        github: tell GitHub Actions.
    """

    results: Path | None
    workflow: str
    quiet: bool = False
    no_color: bool = False
    summary: Path | None = None
    as_json: bool = False
    junit: Path | None = None
    github: bool = False


def tell_end(ended: Summary, telling: Telling) -> None:
    """Tell everyone. Where one can't be told, the others are all the same.

    Raises:
        OutputError: a file can't be written.
    """
    from agentbatch.summary import summary_json  # late, as all here: `agentbatch --help` needs none of this

    if not telling.quiet or ended.exit_code:
        _tell_person(ended, telling.no_color)
    if telling.github:
        _tell_github(ended)
    jobs: list[Callable[[], None]] = []
    if (summary := telling.summary) is not None:
        jobs.append(lambda: _write_summary(summary, summary_json(ended)))
    if (junit := telling.junit) is not None:
        from agentbatch.ci.junit import write_junit

        jobs.append(lambda: write_junit(junit, telling.results, ended, telling.workflow))
    if telling.as_json:
        jobs.append(lambda: _print_data(summary_json(ended)))
    _do_all(jobs)


def refuse_unwritable(telling: Telling, taken: Iterable[Path | None]) -> None:
    """See that the end can be told where it is to be told, before anything is paid.

    Args:
        taken: files that the run reads or writes otherwise.

    Raises:
        OutputError: it can't.
        UsageError: two of the files are one.
    """
    from agentbatch.results.files import refuse_shared_files

    told = [("--summary", telling.summary), ("--junit", telling.junit)]
    refuse_shared_files([*(("", path) for path in taken), *told])
    for path, what in ((telling.summary, "summary"), (telling.junit, "JUnit file")):
        if path is not None and (why := _why_unwritable(path)):
            raise OutputError(f"{path}: the {what} cannot be written: {why}")


def _why_unwritable(path: Path) -> str | None:
    if path.is_dir():
        return "it is a folder; name a file in it"
    if path.exists():
        return None if os.access(path, os.W_OK) else "no permission, or a read-only disk"
    if not path.parent.is_dir():
        return f"its folder does not exist; make it: mkdir -p {path.parent}"
    return None if os.access(path.parent, os.W_OK) else "no permission to write in its folder, or a read-only disk"


@contextmanager
def broken_runs_told(telling: Telling) -> Generator[None]:
    """Where a run can't begin or breaks off, CI is told why in the form it asked for."""
    started_at = datetime.now(UTC).isoformat()
    try:
        yield
    except AgentBatchError as error:
        if telling.junit is not None:
            from agentbatch.ci.junit import write_broken

            write_broken(telling.junit, error, telling.workflow, started_at)
        raise


def _do_all(jobs: list[Callable[[], None]]) -> None:
    first: OutputError | None = None
    for job in jobs:
        try:
            job()
        except OutputError as error:
            first = first or error
    if first is not None:
        raise first


def _tell_person(ended: Summary, no_color: bool) -> None:
    from agentbatch.progress import tell, use_color
    from agentbatch.progress.outlet import Outlet
    from agentbatch.summary.text import render_summary

    outlet = Outlet()
    color = use_color(outlet, no_color)
    outlet.close()
    tell(render_summary(ended, color))


def _tell_github(ended: Summary) -> None:
    """Never worth a failure: the step's log has it all."""
    from agentbatch.ci.github import append_step_summary, workflow_commands
    from agentbatch.progress import tell

    tell(workflow_commands(ended))
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        try:
            append_step_summary(Path(path), ended)
        except OSError as error:
            typer.echo(f"note: {path}: the step's summary cannot be written: {error.strerror}", err=True)


def _write_summary(path: Path, document: bytes) -> None:
    try:
        path.write_bytes(document)
    except OSError as error:
        raise OutputError(f"{path}: the summary cannot be written: {error.strerror}") from error


def _print_data(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"stdout: the summary cannot be written: {error.strerror}") from error
