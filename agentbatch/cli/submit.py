"""`agentbatch submit`: a run as a job of a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from typer.main import get_command

from agentbatch.cli.run import STAND_FOR, run
from agentbatch.cli.variables import CommandWithVariables, said_by_variables

if TYPE_CHECKING:
    from agentbatch.config import Config
    from agentbatch.jobs.address import ClusterAddress
    from agentbatch.jobs.submission import Submission

_FILES = "where a job's files go on the head is settled; `agentbatch fetch -o FILE` brings them"
_WHERE = "a job runs on the cluster that takes it: --address, before the run options, names its dashboard"
_HERE = "it is for a run on this machine: try it with `agentbatch run`"
_WORDS = "nobody sits before a job: `agentbatch logs` shows its words, `agentbatch fetch` brings its summary"
_ORDER = "results are fetched while they grow, in the order in which they end; sort them once they are here, by `index`"

_NOT_THERE = {
    "output": ("-o", _FILES),
    "ordered": ("--ordered", _ORDER),
    "traces": ("--traces", _FILES),
    "events": ("--events", _FILES),
    "engine": ("--engine", _WHERE),
    "address": ("--address", _WHERE),
    "dry_run": ("--dry-run", _HERE),
    "record": ("--record", _HERE),
    "replay": ("--replay", _HERE),
    "progress": ("--progress", _WORDS),
    "quiet": ("--quiet", _WORDS),
    "log_file": ("--log-file", _WORDS),
    "summary": ("--summary", _FILES),
    "as_json": ("--json", _WORDS),
    "junit": ("--junit", _FILES),
    "github": ("--github", _WORDS),
}
"""Options of `run` that say where it goes, and where its files and its words go: on a cluster that is settled; how each
is typed, and why it can't be. `--ordered` sorts the results at the end, and what was fetched until then would be no
beginning of them any more."""


def submit(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML config.", show_default=False)],
    inputs: Annotated[
        str, typer.Argument(metavar="INPUTS", help="A .jsonl, .jsonl.gz or .csv file.", show_default=False)
    ],
    options: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN OPTIONS]",
            help="What `run` takes, as --limit 100 or --set KEY=VALUE.",
            show_default=False,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            envvar="AGENTBATCH_JOBS_ADDRESS",
            help="The cluster's dashboard, as http://HEAD:8265; default: RAY_API_SERVER_ADDRESS, RAY_ADDRESS.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Of the run: a submit of the same name continues it. Default: made of the files' paths.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        str, typer.Option(help="How long the head keeps the results after their last change, as 7d.")
    ] = "7d",
) -> None:
    """Send config, code and inputs to a Ray cluster and begin the run there; prints the job's id. Needs no Ray here."""
    # late imports: `agentbatch --help` needs none of this
    from agentbatch.cli.overrides import said_overrides
    from agentbatch.config import load
    from agentbatch.jobs.address import cluster_address
    from agentbatch.jobs.submission import make_submission
    from agentbatch.settings import parse_duration

    typed = [*(options or []), *context.args]
    command = _run_command()
    words = [*said_by_variables(command, typed, _NOT_THERE), *typed]
    asked = _checked(command, config, inputs, words)
    cluster = cluster_address(address, os.environ)
    try:
        keep_s = parse_duration(keep)
    except ValueError as error:
        raise typer.BadParameter(f"--keep: {error}") from None
    stand_for = {parameter: key for parameter, key in STAND_FOR.items() if parameter not in _NOT_THERE}
    settings: list[str] = asked.params["settings"] or []
    openai_batch = asked.params["input_format"] == "openai-batch"
    overrides = [*settings, *said_overrides(asked, stand_for)]
    loaded = load(config, overrides, os.environ, only_check=True, requests=openai_batch)
    job_id = _send(cluster, make_submission(loaded, inputs, name, keep_s, words))
    typer.echo(job_id)
    for line in _what_now(loaded, job_id, cluster.url, keep):
        typer.echo(line, err=True)


def _send(cluster: ClusterAddress, submission: Submission) -> str:
    """Begin the job; its id."""
    import asyncio  # late: it is half of what `agentbatch --help` would import

    from agentbatch.jobs.client import JobsClient
    from agentbatch.jobs.submission import submit as begin

    async def main() -> str:
        async with JobsClient(cluster) as client:
            return await begin(client, submission)

    return asyncio.run(main())


def _run_command() -> CommandWithVariables:
    program = typer.Typer(add_completion=False)
    program.command(cls=CommandWithVariables)(run)
    return cast("CommandWithVariables", get_command(program))


def _checked(command: CommandWithVariables, config: Path, inputs: str, words: Sequence[str]) -> typer.Context:
    """The options as `run` reads them.

    Raises:
        UsageError: `run` has no such option, or it has no place here.
    """
    given = command.make_context("agentbatch submit", [str(config), inputs, *words])
    plain = command.make_context("agentbatch submit", [str(config), inputs])
    for parameter, (spelling, why) in _NOT_THERE.items():
        if given.params[parameter] != plain.params[parameter]:
            raise typer.BadParameter(f"{spelling} has no place in a submit: {why}")
    return cast("typer.Context", given)


def _what_now(config: Config, job_id: str, url: str, keep: str) -> list[str]:
    names = _variables(config)
    lines = (
        [f"The head's environment is to have {', '.join(names)}: nothing of this machine's is sent."] if names else []
    )
    return [
        *lines,
        f"agentbatch status {job_id} --address {url}",
        f"agentbatch fetch {job_id} --address {url}      # results: kept there for {keep} after their last change",
    ]


def _variables(config: Config) -> list[str]:
    """Environment variables that the config names."""
    origin = config.origin
    assert origin is not None  # it was loaded from a file
    return sorted({name for expanded in origin.variables.values() for name in expanded.variables})
