"""`agentbatch run`: read the arguments, open the display, run, print the end."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from agentbatch.batch import Display
    from agentbatch.progress import Progress

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
    config: Annotated[Path, typer.Argument(help="The YAML config.", show_default=False)],
    inputs: Annotated[
        str, typer.Argument(help="A .jsonl, .jsonl.gz or .csv file, or - for stdin.", show_default=False)
    ],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", envvar="AGENTBATCH_OUTPUT", help="Results; - for stdout.", show_default=False),
    ] = None,
    traces: Annotated[
        Path | None,
        typer.Option("--traces", envvar="AGENTBATCH_TRACES", help="The trace file.", show_default=False),
    ] = None,
    no_traces: Annotated[
        bool, typer.Option("--no-traces", envvar="AGENTBATCH_NO_TRACES", help="Write no traces.")
    ] = False,
    otel: Annotated[
        bool | None,
        typer.Option(
            "--otel/--no-otel",
            envvar="AGENTBATCH_OTEL",
            help="Send spans to an OpenTelemetry collector; default: if OTEL_EXPORTER_OTLP_ENDPOINT is set.",
            show_default=False,
        ),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(
            envvar="AGENTBATCH_EVENTS", help="Stream what happens as JSON lines; - for stdout.", show_default=False
        ),
    ] = None,
    input_format: Annotated[
        Literal["auto", "jsonl", "csv", "openai-batch"],
        typer.Option(
            envvar="AGENTBATCH_INPUT_FORMAT",
            help="auto: by the file's name. openai-batch: {custom_id, method, url, body} a line.",
        ),
    ] = "auto",
    output_format: Annotated[
        Literal["agentbatch", "openai-batch"],
        typer.Option(envvar="AGENTBATCH_OUTPUT_FORMAT", help="openai-batch: {id, custom_id, response, error} a line."),
    ] = "agentbatch",
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite/--resume",
            envvar="AGENTBATCH_OVERWRITE",
            help="Begin again, or continue what the same config and inputs began.",
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", envvar="AGENTBATCH_RETRY_FAILED", help="Run failed items again.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=0, envvar="AGENTBATCH_LIMIT", help="Only so many items.", show_default=False)
    ] = None,
    offset: Annotated[int, typer.Option(min=0, envvar="AGENTBATCH_OFFSET", help="Leave out the first items.")] = 0,
    sample: Annotated[
        int | None,
        typer.Option(
            min=1, envvar="AGENTBATCH_SAMPLE", help="Only so many items, drawn by chance.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(envvar="AGENTBATCH_SEED", help="Of the sample.")] = 0,
    workflow: Annotated[
        str | None,
        typer.Option(envvar="AGENTBATCH_WORKFLOW", help="Start at another agent or group.", show_default=False),
    ] = None,
    max_concurrency: Annotated[
        int | None,
        typer.Option(min=1, envvar="AGENTBATCH_MAX_CONCURRENCY", help="Items in flight at once.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", envvar="AGENTBATCH_SET", help="KEY=VALUE: override a config key by its dotted path."),
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(envvar="AGENTBATCH_TIMEOUT", help="Of the whole run, as 30m.", show_default=False)
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(
            envvar="AGENTBATCH_DEADLINE",
            help="By when to be done, as 6h: ordinary requests for what batches bring too late.",
            show_default=False,
        ),
    ] = None,
    item_timeout: Annotated[
        str | None, typer.Option(envvar="AGENTBATCH_ITEM_TIMEOUT", help="Of one item.", show_default=False)
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, envvar="AGENTBATCH_MAX_COST", help="Stop before US dollars.", show_default=False),
    ] = None,
    canary: Annotated[
        int | None,
        typer.Option(
            min=2,
            envvar="AGENTBATCH_CANARY",
            help="Pay for so many items first, say what the rest will cost, and go on if that fits.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("-y", "--yes", envvar="AGENTBATCH_YES", help="After a canary that fits, go on unasked.")
    ] = False,
    max_failures: Annotated[
        str | None,
        typer.Option(envvar="AGENTBATCH_MAX_FAILURES", help="Stop after N or P% failed items.", show_default=False),
    ] = None,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", envvar="AGENTBATCH_FAIL_FAST", help="Stop at the first failed item.")
    ] = False,
    ordered: Annotated[
        bool, typer.Option("--ordered", envvar="AGENTBATCH_ORDERED", help="Result lines in input order.")
    ] = False,
    engine: Annotated[
        Literal["local", "ray"] | None,
        typer.Option(envvar="AGENTBATCH_ENGINE", help="Where items run; default: local.", show_default=False),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            envvar="AGENTBATCH_ADDRESS",
            help="The Ray cluster: auto, or HOST:PORT; default: a private one.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, envvar="AGENTBATCH_WORKERS", help="Worker processes of --engine ray.", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", envvar="AGENTBATCH_DRY_RUN", help="Show what would run and cost; send nothing."),
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", envvar="AGENTBATCH_NO_CACHE", help="Neither read nor fill the response cache.")
    ] = False,
    refresh_cache: Annotated[
        bool,
        typer.Option(
            "--refresh-cache", envvar="AGENTBATCH_REFRESH_CACHE", help="Ask anew, and replace cached answers."
        ),
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            envvar="AGENTBATCH_RECORD", help="Record every answer in this file, to replay it.", show_default=False
        ),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            envvar="AGENTBATCH_REPLAY",
            help="Answer from a recording: no keys, no network; what is not in it is an error.",
            show_default=False,
        ),
    ] = None,
    progress: Annotated[
        ProgressMode, typer.Option(envvar="AGENTBATCH_PROGRESS", help="How progress is shown on stderr.")
    ] = "auto",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", envvar="AGENTBATCH_QUIET", help="Only errors.")] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "-v", "--verbose", envvar="AGENTBATCH_VERBOSE", help="Say on stderr what fails and is tried again."
        ),
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option(
            envvar="AGENTBATCH_LOG_FILE",
            help="Log to this file, as JSON lines; with -v every step.",
            show_default=False,
        ),
    ] = None,
    no_color: Annotated[bool, typer.Option("--no-color", envvar="AGENTBATCH_NO_COLOR", help="No colours.")] = False,
    summary: Annotated[
        Path | None,
        typer.Option(envvar="AGENTBATCH_SUMMARY", help="Write the summary as JSON here.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", envvar="AGENTBATCH_JSON", help="Print the summary as JSON on stdout.")
    ] = False,
    junit: Annotated[
        Path | None,
        typer.Option(envvar="AGENTBATCH_JUNIT", help="Write JUnit XML here: a case per item.", show_default=False),
    ] = None,
    github: Annotated[
        bool | None,
        typer.Option(
            "--github/--no-github",
            envvar="AGENTBATCH_GITHUB",
            help="Annotations and a step summary for GitHub Actions; default: in its steps.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run every input through the workflow; results go to JSONL, the same command continues."""
    # late imports: `agentbatch --help` needs none of this
    from agentbatch.api import Terminal, run_batch
    from agentbatch.cli.canary import confirming
    from agentbatch.cli.overrides import said_overrides
    from agentbatch.cli.run_end import Telling, broken_runs_told, refuse_unwritable, tell_end
    from agentbatch.config import load
    from agentbatch.logs import LogChoice
    from agentbatch.process.event_loop import run_loop
    from agentbatch.results.files import files_for

    if as_json and output == "-":
        raise typer.BadParameter("--json and -o - would both write to stdout: write the summary with --summary FILE")
    if events == "-" and (as_json or output == "-"):
        raise typer.BadParameter(f"--events - and {'--json' if as_json else '-o -'} would both write to stdout")
    if junit is not None and output == "-":
        raise typer.BadParameter("--junit is made of the results file, and -o - writes none: name one with -o FILE")
    if record is not None and replay is not None:
        raise typer.BadParameter("--record and --replay: a run is recorded, or replayed")
    overrides = [*(settings or []), *said_overrides(context, STAND_FOR)]
    loaded = load(config, overrides, os.environ, serverless=replay is not None, requests=input_format == "openai-batch")
    for note in loaded.notes if not quiet else ():
        typer.echo(f"note: {note}", err=True)
    files = None if output == "-" else files_for(inputs, output)
    if dry_run:
        from agentbatch.cli.dry_run import Choice, show_forecast  # late: a run needs none of this

        choice = Choice(
            inputs, files, overwrite, retry_failed, limit, offset, sample, seed, input_format, output_format
        )
        show_forecast(loaded, choice, as_json=as_json)
        return
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
    taken = [config, Path(inputs), traces, Path(events or "-"), record, log_file]
    refuse_unwritable(telling, [*taken, *(() if files is None else (*files.own, files.traces))])
    batch = run_batch(
        loaded,
        inputs,
        output=output if files is None else files.results,
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
        limit=limit,
        offset=offset,
        sample=sample,
        seed=seed,
        fail_fast=fail_fast,
        ordered=ordered,
        terminal=Terminal(
            LogChoice(log_file, verbose),
            _display(_mode(progress, quiet=quiet, to_stdout=files is None or events == "-"), no_color),
            confirming(yes=yes, quiet=quiet),
            _continue_command(),
        ),
    )
    with broken_runs_told(telling), redirect_stdout(sys.stderr):  # what a user's function prints is no data of ours
        ended = run_loop(batch.finish())
    tell_end(ended, telling)
    raise typer.Exit(ended.exit_code)


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


def _continue_command() -> str:
    """What was typed, without what would begin again."""
    return shlex.join(["agentbatch", *(word for word in sys.argv[1:] if word != "--overwrite")])
