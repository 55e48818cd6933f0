"""`agentbatch run`: read the arguments, open the display, run, print the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from agentbatch.progress import Progress
    from agentbatch.run.options import Display

ProgressMode = Literal["auto", "live", "plain", "json", "none"]

STAND_FOR = {
    "workflow": "workflow",
    "max_concurrency": "limits.max_concurrency",
    "timeout": "limits.timeout",
    "deadline": "limits.deadline",
    "item_timeout": "limits.item_timeout",
    "max_cost": "limits.max_cost",
    "canary": "limits.canary",
    "max_failures": "limits.max_failures",
    "engine": "engine.kind",
    "address": "engine.address",
    "workers": "engine.workers",
}
"""Options that stand for a key of the config."""


def run(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="The YAML config.")],
    inputs: Annotated[str, typer.Argument(help="A .jsonl, .jsonl.gz or .csv file, or - for stdin.")],
    output: Annotated[str | None, typer.Option("-o", "--output", help="Results; - for stdout.")] = None,
    traces: Annotated[Path | None, typer.Option(help="The trace file.")] = None,
    no_traces: Annotated[bool, typer.Option("--no-traces", help="Write no traces.")] = False,
    otel: Annotated[
        bool | None,
        typer.Option(
            "--otel/--no-otel",
            help="Send spans to an OpenTelemetry collector; default: if OTEL_EXPORTER_OTLP_ENDPOINT is set.",
        ),
    ] = None,
    events: Annotated[str | None, typer.Option(help="Stream what happens as JSON lines; - for stdout.")] = None,
    input_format: Annotated[
        Literal["auto", "jsonl", "csv", "openai-batch"],
        typer.Option(help="auto: by the file's name. openai-batch: {custom_id, method, url, body} a line."),
    ] = "auto",
    output_format: Annotated[
        Literal["agentbatch", "openai-batch"],
        typer.Option(help="openai-batch: {id, custom_id, response, error} a line."),
    ] = "agentbatch",
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite/--resume", help="Begin again, or continue what the same config and inputs began."),
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed items again.")] = False,
    limit: Annotated[int | None, typer.Option(min=0, help="Only so many items.")] = None,
    offset: Annotated[int, typer.Option(min=0, help="Leave out the first items.")] = 0,
    sample: Annotated[int | None, typer.Option(min=1, help="Only so many items, drawn by chance.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    workflow: Annotated[str | None, typer.Option(help="Start at another agent or group.")] = None,
    max_concurrency: Annotated[int | None, typer.Option(min=1, help="Items in flight at once.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE: override a config key by its dotted path. In the variable: one a line."),
    ] = None,
    timeout: Annotated[str | None, typer.Option(help="Of the whole run, as 30m.")] = None,
    deadline: Annotated[
        str | None,
        typer.Option(help="By when to be done, as 6h: ordinary requests for what batches bring too late."),
    ] = None,
    item_timeout: Annotated[str | None, typer.Option(help="Of one item.")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Stop before US dollars.")] = None,
    canary: Annotated[
        int | None,
        typer.Option(
            min=0, help="Pay for so many items first, say what the rest will cost, and go on if that fits; 0: none."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="After a canary that fits, go on unasked.")] = False,
    max_failures: Annotated[str | None, typer.Option(help="Stop after N or P% failed items.")] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failed item.")] = False,
    ordered: Annotated[bool, typer.Option("--ordered", help="Result lines in input order.")] = False,
    engine: Annotated[Literal["local", "ray"] | None, typer.Option(help="Where items run; default: local.")] = None,
    address: Annotated[
        str | None, typer.Option(help="The Ray cluster: auto, or HOST:PORT; default: a private one.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes of --engine ray.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run and cost; send nothing.")] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither read nor fill the response cache.")] = False,
    refresh_cache: Annotated[
        bool, typer.Option("--refresh-cache", help="Ask anew, and replace cached answers.")
    ] = False,
    record: Annotated[Path | None, typer.Option(help="Record every answer in this file, to replay it.")] = None,
    replay: Annotated[
        Path | None,
        typer.Option(help="Answer from a recording: no keys, no network; what is not in it is an error."),
    ] = None,
    progress: Annotated[ProgressMode, typer.Option(help="How progress is shown on stderr.")] = "auto",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only errors.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Say on stderr what fails and is tried again.")
    ] = False,
    log_file: Annotated[Path | None, typer.Option(help="Log to this file, as JSON lines; with -v every step.")] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours.")] = False,
    summary: Annotated[Path | None, typer.Option(help="Write the summary as JSON here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on stdout.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here: a case per item.")] = None,
    github: Annotated[
        bool | None,
        typer.Option(
            "--github/--no-github", help="Annotations and a step summary for GitHub Actions; default: in its steps."
        ),
    ] = None,
) -> None:
    """Run every input through the workflow; results go to JSONL, the same command continues."""
    # late imports: `agentbatch --help` needs none of this
    from agentbatch.cli.canary import confirming
    from agentbatch.cli.continuing import continue_command, past_canary_command
    from agentbatch.cli.overrides import refuse_idle_options, said_overrides
    from agentbatch.cli.run_end import Telling, broken_runs_told, refuse_unwritable, tell_end
    from agentbatch.config import load
    from agentbatch.inputs.selection import Selection
    from agentbatch.logs.run_log import LogChoice
    from agentbatch.results.files import files_for
    from agentbatch.run.options import RunOptions, Terminal

    _refuse_contradictions(output, events, junit, record, replay, as_json=as_json)
    overrides = [*(settings or []), *said_overrides(context, STAND_FOR)]
    with redirect_stdout(sys.stderr):  # what a user's module prints when it is imported is no data of ours
        loaded = load(
            config,
            overrides,
            os.environ,
            only_check=dry_run,
            serverless=replay is not None,
            requests=input_format == "openai-batch",
        )
    refuse_idle_options(context, loaded)
    for note in loaded.notes if not quiet else ():
        typer.echo(f"note: {note}", err=True)
    files = None if output == "-" else files_for(inputs, output)
    shown = _mode(progress, quiet=quiet, to_stdout=files is None or events == "-")
    options = RunOptions(
        inputs,
        files,
        traces=None if no_traces else traces or (files and files.traces),
        otel=otel,
        events=events,
        record=record,
        replay=replay,
        input_format=input_format,
        output_format=output_format,
        cache="off" if no_cache else "refresh" if refresh_cache else "as configured",
        overwrite=overwrite,
        retry_failed=retry_failed,
        selection=Selection(offset, limit, sample, seed),
        fail_fast=fail_fast,
        ordered=ordered,
        confirm=confirming(yes=yes, quiet=quiet),
        terminal=Terminal(
            LogChoice(log_file, verbose),
            _display(shown, no_color),
            continue_command(sys.argv[1:], overwrite=overwrite),
            past_canary_command(sys.argv[1:], overwrite=overwrite),
        ),
    )
    if dry_run:
        from agentbatch.cli.dry_run import show_forecast  # late: a run needs none of this

        show_forecast(loaded, options, as_json=as_json)
        return
    from agentbatch.api import Batch  # late: a dry run needs none of this
    from agentbatch.process.event_loop import run_loop

    telling = Telling(
        results=files and files.results,
        workflow=loaded.workflow if isinstance(loaded.workflow, str) else config.stem,
        quiet=quiet,
        no_color=no_color,
        summary=summary,
        as_json=as_json,
        junit=junit,
        github=os.environ.get("GITHUB_ACTIONS") == "true" if github is None else github,
    )
    refuse_unwritable(telling, [path for _, path in options.files_in_use(loaded)])
    with broken_runs_told(telling), redirect_stdout(sys.stderr):  # what a user's function prints is no data of ours
        ended = run_loop(Batch(loaded, options).finish())
    tell_end(ended, telling)
    raise typer.Exit(ended.exit_code)


def _refuse_contradictions(
    output: str | None,
    events: str | None,
    junit: Path | None,
    record: Path | None,
    replay: Path | None,
    *,
    as_json: bool,
) -> None:
    """Options that can't go together."""
    if as_json and output == "-":
        raise typer.BadParameter("--json and -o - would both write to stdout: write the summary with --summary FILE")
    if events == "-" and (as_json or output == "-"):
        raise typer.BadParameter(f"--events - and {'--json' if as_json else '-o -'} would both write to stdout")
    if junit is not None and output == "-":
        raise typer.BadParameter("--junit is made of the results file, and -o - writes none: name one with -o FILE")
    if record is not None and replay is not None:
        raise typer.BadParameter("--record and --replay: a run is recorded, or replayed")


def _mode(asked: ProgressMode, *, quiet: bool, to_stdout: bool) -> ProgressMode:
    """No live table over data that go to the same terminal."""
    if quiet:
        return "none"
    return "plain" if asked == "auto" and to_stdout and sys.stdout.isatty() else asked


def _display(mode: ProgressMode, no_color: bool) -> Callable[[Display], Progress]:
    def show(what: Display) -> Progress:
        from agentbatch.progress import open_progress

        return open_progress(mode, what.tally, what.total, what.pressure, before=what.before, no_color=no_color)

    return show
