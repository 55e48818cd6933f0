"""`agentbatch watch`: the live table of a run that goes on in another terminal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from agentbatch.files.lock import Holder
    from agentbatch.watch import RunWatch

_PERIOD_S = 0.5
_MOST_LOOKS = 20


def watch(
    results: Annotated[Path, typer.Argument(help="The results file that the run writes.", show_default=False)],
    traces: Annotated[
        Path | None,
        typer.Option("--traces", help="The trace file, if it is not beside the results.", show_default=False),
    ] = None,
    progress: Annotated[Literal["auto", "live", "plain", "json"], typer.Option(help="How it is shown.")] = "auto",
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours.")] = False,
) -> None:
    """Follow a run from another terminal, until it ends. Nothing of the run is touched."""
    # late imports: `agentbatch --help` needs none of this
    from agentbatch.files.lock import read_holder
    from agentbatch.progress import open_progress
    from agentbatch.progress.view import unknown_pressure
    from agentbatch.watch import RunWatch

    holder = _holder(results)
    typer.echo(f"pid {holder.pid} on {holder.host}, since {holder.started_at}", err=True)
    run = RunWatch(results, holder, traces)
    run.update()
    display = open_progress(progress, run.tally, run.total, unknown_pressure, before=run.before, no_color=no_color)
    display.start()
    try:
        while read_holder(results) == holder:
            time.sleep(_PERIOD_S)
            run.update()
        run.update()
    finally:
        display.stop()
    typer.echo(_end(run, results), err=True)


def _holder(results: Path) -> Holder:
    """Who writes the results. A run that has only just begun says in a moment what it is about.

    Raises:
        InputError: nobody does.
    """
    from agentbatch.errors import InputError
    from agentbatch.files.lock import read_holder

    looks = 0
    while (holder := read_holder(results)) is not None:
        looks += 1
        if "began_ns" in holder.facts or looks == _MOST_LOOKS:
            return holder
        time.sleep(_PERIOD_S / 5)
    if not results.exists():
        raise InputError(f"{results}: there is no such file, and no run that writes it; name the results of a run")
    raise InputError(f"{results}: no run writes it now; `agentbatch results stats` says what is in it")


def _end(run: RunWatch, results: Path) -> str:
    from agentbatch.text import figures

    counts = run.tally.counts()
    of = "" if run.total is None else f"{figures.count(counts.items_ended)} of "
    failed = f", {figures.count(counts.items_failed)} failed" if counts.items_failed else ""
    done = figures.counted(counts.items_ended if run.total is None else run.total, "item")
    return f"The run has ended: {of}{done}{failed}. For more: agentbatch results stats {results}"
