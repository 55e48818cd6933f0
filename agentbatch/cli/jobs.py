"""`agentbatch status`, `logs`, `stop` and `fetch`: what became of a run that was submitted to a cluster."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from agentbatch.errors import ConfigError, ExitCode
from agentbatch.text.figures import counted, span_of_time

if TYPE_CHECKING:
    from agentbatch.jobs.client import Job, JobsClient

_T = TypeVar("_T")

_FOLLOW_S = 1.0
_STOP_S = 40.0
_PROGRESS = re.compile(r"[\d,]+(/[\d,]+)? items?\b.* elapsed")

Address = Annotated[
    str | None,
    typer.Option(
        envvar="AGENTBATCH_JOBS_ADDRESS",
        help="The cluster's dashboard, as http://HEAD:8265; default: RAY_API_SERVER_ADDRESS, RAY_ADDRESS.",
        show_default=False,
    ),
]
JobId = Annotated[str, typer.Argument(metavar="JOB", help="The id that `submit` printed.", show_default=False)]


def status(
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="The id that `submit` printed; none: list all.")
    ] = None,
    address: Address = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """How a submitted run is doing, or which there are."""
    from agentbatch.files.plain_json import dump_line  # late: `agentbatch --help` needs none of this

    if job is None:
        from agentbatch.jobs.submission import run_of

        found = _with_client(address, lambda client: client.jobs())
        ours = [each for each in found if run_of(each) is not None]
        told = {"jobs": [_document(each, None) for each in ours]}
        lines = [_headline(each) for each in ours] or ["no jobs of agentbatch"]
    else:
        one, log = _with_client(address, lambda client: _look(client, job))
        told = _document(one, _progress(log))
        lines = [_headline(one), *_news(one, log)]
    if as_json:
        typer.echo(dump_line(told).decode(), nl=False)
        return
    for line in lines:
        typer.echo(line)


def logs(
    job: JobId,
    address: Address = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Until it ends; then with its exit code.")] = False,
) -> None:
    """What a submitted run says: its progress, warnings and summary."""
    ended = _with_client(address, lambda client: _print_log(client, job, follow))
    if follow:
        raise typer.Exit(_exit_code(ended))


def stop(job: JobId, address: Address = None) -> None:
    """End a submitted run as Ctrl-C does: what is in flight may end, and the same submit continues."""
    ended = _with_client(address, lambda client: _stop(client, job))
    typer.echo(_headline(ended) + ("; the same submit continues" if ended.state == "stopped" else ""))


def fetch(
    job: JobId,
    address: Address = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Results; default: as `run` would name them, here.", show_default=False),
    ] = None,
    no_traces: Annotated[bool, typer.Option("--no-traces", help="Leave the trace file there.")] = False,
) -> None:
    """Bring a submitted run's results and traces home: what is new of them, while it goes on and after it."""
    _with_client(address, lambda client: _fetch(client, job, output, not no_traces))


def _with_client(address: str | None, use: Callable[[JobsClient], Awaitable[_T]]) -> _T:
    import asyncio  # late: it is half of what `agentbatch --help` would import

    from agentbatch.jobs.address import cluster_address
    from agentbatch.jobs.client import JobsClient

    cluster = cluster_address(address, os.environ)

    async def main() -> _T:
        async with JobsClient(cluster) as client:
            return await use(client)

    return asyncio.run(main())


async def _look(client: JobsClient, job_id: str) -> tuple[Job, str]:
    return await client.job(job_id), await client.logs(job_id)


async def _print_log(client: JobsClient, job_id: str, follow: bool) -> Job:
    from asyncio import sleep  # late, as above

    from agentbatch.text.redact import visible

    printed = 0
    while True:
        job = await client.job(job_id)  # before its log: what it says last is in there when it is over
        log = await client.logs(job_id)
        new = log[printed:] if not follow or job.over else log[printed : log.rfind("\n") + 1]
        for line in new.splitlines():
            typer.echo(visible(line.expandtabs(), 4000))
        printed += len(new)
        sys.stdout.flush()
        if job.over or not follow:
            return job
        await sleep(_FOLLOW_S)


async def _stop(client: JobsClient, job_id: str) -> Job:
    from agentbatch.jobs.fetching import ended

    if not (await client.job(job_id)).over:
        await client.stop(job_id)
    return await ended(client, job_id, _STOP_S)


async def _fetch(client: JobsClient, job_id: str, output: Path | None, traces: bool) -> None:
    from agentbatch.jobs.client import UnknownJob
    from agentbatch.jobs.fetching import fetch as bring
    from agentbatch.jobs.submission import run_of, run_of_id
    from agentbatch.results.files import ResultFiles

    try:
        job = await client.job(job_id)
        name, results = run_of(job), job.metadata.get("results")
    except UnknownJob as unknown:
        if output is None:
            raise UnknownJob(f"{unknown}. What the run left is fetched with -o FILE all the same") from None
        job, name, results = None, run_of_id(job_id), None
    if name is None:
        raise ConfigError(f"job {job_id} is no run that `agentbatch submit` began")
    files = ResultFiles(output or Path(Path(results or "run.results.jsonl").name))
    fetched = await bring(client, name, files, traces=traces, say=lambda text: typer.echo(text, err=True))
    came, there = fetched.came["results"], fetched.sizes.get("results", 0)
    typer.echo(f"{files.results}: {counted(there, 'byte')}, {came:,} of them new")
    if job is not None:
        typer.echo(_headline(job) + ("" if job.over else "; fetch again for the rest"))


def _headline(job: Job) -> str:
    end = job.ended_at or time.time()
    took = "" if job.started_at is None else f" {'after' if job.over else 'for'} {span_of_time(end - job.started_at)}"
    code = f", exit code {job.exit_code}" if job.exit_code else ""
    return f"{job.id}  {job.state}{took}{code}"


def _news(job: Job, log: str) -> list[str]:
    """While it runs how far it is; afterwards what it said at its end."""
    from agentbatch.jobs.fetching import why_failed
    from agentbatch.text.redact import visible

    lines = [visible(line.expandtabs(), 1000) for line in log.splitlines()]
    marks = [at for at, line in enumerate(lines) if _PROGRESS.match(line)]
    if not job.over:
        return [lines[marks[-1]]] if marks else []
    if job.exit_code == 127 or (job.exit_code is None and job.state == "failed"):
        return [why_failed(job)]
    return lines[marks[-1] + 1 if marks else 1 :][-20:]


def _progress(log: str) -> str | None:
    found = [line for line in log.splitlines() if _PROGRESS.match(line)]
    return found[-1] if found else None


def _document(job: Job, progress: str | None) -> dict[str, Any]:
    return {
        "id": job.id,
        "run": job.metadata.get("run"),
        "state": job.state,
        "exit_code": job.exit_code,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "progress": progress,
    }


def _exit_code(job: Job) -> int:
    if job.exit_code is not None:
        return job.exit_code
    return {"succeeded": ExitCode.OK, "stopped": ExitCode.SIGTERM}.get(job.state, ExitCode.FAILED)
