"""Taking a run's files home: by jobs that print them, since a dashboard serves no files."""

from __future__ import annotations

import asyncio
import os
import secrets
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from agentbatch import __version__
from agentbatch.errors import ConfigError, OutputError
from agentbatch.files.durable import replacing
from agentbatch.files.lock import OutputLock
from agentbatch.jobs.client import Job, JobsClient
from agentbatch.jobs.transfer import GROWING, Block, Brought, asked, have, read_parts
from agentbatch.record import record
from agentbatch.results.files import ResultFiles, check_output

_LOOK_S = 0.25
_MOST_S = 600.0


@record
class Fetched:
    """How much came, and how much there is here now, in bytes by role."""

    came: Mapping[str, int]
    sizes: Mapping[str, int]


async def fetch(
    client: JobsClient,
    name: str,
    files: ResultFiles,
    *,
    traces: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Fetched:
    """Bring what is new of a run's results, traces, header and summary to `files`. They continue a run as any others.

    Raises:
        ConfigError: the cluster can't be reached, refuses, or has nothing of the run.
        UsageError: results can't be named so.
        OutputError: a file can't be written, or holds something else.
        LockedError: a run here writes these results.
    """
    places = {"results": files.results, "traces": files.traces, "header": files.header}
    places["summary"] = files.results.with_name(f"{files.results.stem}.summary.json")
    if not traces:
        del places["traces"]
    came = dict.fromkeys(places, 0)
    check_output(files)
    with OutputLock(files.results):
        while True:
            brought = await _ask(client, name, places)
            _refuse_different(brought, places)
            _write(brought, places, came)
            if not brought.more:
                return Fetched(came, brought.sizes)
            say(f"{sum(came.values()) / 1e6:.0f} of {sum(brought.sizes.values()) / 1e6:.0f} MB")


async def _ask(client: JobsClient, name: str, places: Mapping[str, Path]) -> Brought:
    """One job that prints what is new."""
    parts = {role: have(path) for role, path in places.items()}
    job_id = f"{name}-fetch-{secrets.token_hex(3)}"
    entrypoint = "exec " + shlex.join(["agentbatch", "at-head", "send", name, *asked(parts)])
    await client.submit(job_id, entrypoint, {}, {"agentbatch": __version__, "fetches": name})
    try:
        job = await ended(client, job_id)
        log = await client.logs(job_id)
        brought = read_parts(log)
    finally:
        with suppress(ConfigError):  # a job too many on the list is no reason to have fetched nothing
            await client.forget(job_id)
    if brought is None:
        said = [line for line in log.splitlines() if line.strip() and not line.startswith("Running entrypoint")]
        raise ConfigError(said[-1] if said and job.exit_code == 2 else why_failed(job))
    return brought


async def ended(client: JobsClient, job_id: str, most_s: float = _MOST_S) -> Job:
    """The job, when it has ended.

    Raises:
        ConfigError: it takes too long.
    """
    try:
        async with asyncio.timeout(most_s):
            while not (job := await client.job(job_id)).over:
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise ConfigError(
            f"job {job_id} has not ended within {most_s:.0f} s: `ray status` shows what is busy"
        ) from None
    return job


def why_failed(job: Job) -> str:
    """Why a job did not come to an end of its own."""
    if job.exit_code == 127:
        return "the head finds no program agentbatch: install it there, and have it on the PATH of `ray start`"
    lines = [line for line in job.message.splitlines() if line.strip()]
    return f"job {job.id} {job.state}: {lines[-1][:300] if lines else 'no reason given'}"


def _refuse_different(brought: Brought, places: Mapping[str, Path]) -> None:
    if brought.different:
        path = places[brought.different[0]]
        raise OutputError(
            f"{path}: is no beginning of what the cluster has, so nothing was written: move it away, or name another -o"
        )


def _write(brought: Brought, places: Mapping[str, Path], came: dict[str, int]) -> None:
    try:
        for role, path in places.items():
            blocks = [block for block in brought.blocks if block.role == role]
            if blocks:
                (_append if role in GROWING else _replace)(path, blocks)
                came[role] += sum(len(block.data) for block in blocks)
    except OSError as error:
        raise OutputError(f"{error.filename or 'the results'}: cannot be written: {error.strerror}") from error


def _append(path: Path, blocks: list[Block]) -> None:
    with path.open("ab") as file:
        for block in blocks:
            if file.tell() != block.start:
                raise OutputError(f"{path}: has changed meanwhile: fetch again")
            file.write(block.data)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, blocks: list[Block]) -> None:
    with replacing(path) as file:
        for block in blocks:
            file.write(block.data)
