"""What a job is made of: a name by which the same submit continues, a package, and a command line without secrets."""

from __future__ import annotations

import hashlib
import platform
import re
import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentbatch import __version__
from agentbatch.config.problems import masked
from agentbatch.engines.ray.folder import MAX_BYTES, Package, pack
from agentbatch.errors import ConfigError, InputError, LockedError
from agentbatch.jobs.client import Job, JobsClient
from agentbatch.record import record
from agentbatch.results.files import inputs_stem

if TYPE_CHECKING:
    from agentbatch.config import Config

STOP_WAIT_S = 20
"""Ray kills a stopped job 3 s after SIGTERM unless it is told otherwise: what is in flight may take 5 s to end, and 7 s
to come home from the nodes."""

_WHERE = ("--engine", "ray", "--address", "auto")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_ENDING = re.compile(r"-[0-9a-f]{6}")


@record
class Submission:
    """A run to be made on a cluster.

    Attributes:
        name: of the run: its folder on the head, in which the same submit continues.
        keep_s: how long that folder is kept after its last change.
        options: further words for `agentbatch run`.
    """

    name: str
    keep_s: float
    package: Package
    inputs: str
    results: str
    options: Sequence[str]

    @property
    def entrypoint(self) -> str:
        """The job's command: a shell's line, which anybody who sees the dashboard can read."""
        words = ["agentbatch", "at-head", "run", self.name, f"{self.keep_s:.0f}", self.results]
        return "exec " + shlex.join([*words, "--", self.package.config, self.inputs, *self.options, *_WHERE])


def make_submission(
    config: Config, inputs: str, name: str | None, keep_s: float, options: Sequence[str], most: int = MAX_BYTES
) -> Submission:
    """Pack the config, what it needs, and the inputs.

    `most`: bytes of the package.

    Raises:
        ConfigError: something can't be sent.
        InputError: the inputs are no file.
    """
    path = Path(inputs)
    if inputs == "-" or not path.is_file():
        raise InputError(f"{inputs}: is no file. What a pipe brings has to be in a file before it can be sent")
    _refuse_secrets(config, options)
    inside = f".inputs/{path.name}"
    package = pack(config, {inside: path}, most)
    return Submission(
        name=_checked(name) if name else _name_of(config, inputs),
        keep_s=keep_s,
        package=package,
        inputs=inside,
        results=f"{inputs_stem(inputs)}.results.jsonl",
        options=options,
    )


async def submit(client: JobsClient, submission: Submission) -> str:
    """Send what the cluster has not yet, and begin the job; its id.

    Raises:
        LockedError: the same run is under way.
        ConfigError: the cluster can't be reached, or refuses.
    """
    for job in await client.jobs():
        if not job.over and run_of(job) == submission.name:
            raise LockedError(f"this run is under way as job {job.id}: stop it, wait for it, or give another --name")
    archive = f"_ray_pkg_agentbatch_{submission.package.digest}.zip"
    if not await client.has_package(archive):
        await client.upload(archive, submission.package.data)
    job_id = f"{submission.name}-{secrets.token_hex(3)}"
    runtime_env: dict[str, Any] = {
        "working_dir": f"gcs://{archive}",
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)},
    }
    metadata = {"agentbatch": __version__, "run": submission.name, "results": submission.results}
    await client.submit(job_id, submission.entrypoint, runtime_env, metadata)
    return job_id


def run_of(job: Job) -> str | None:
    """The name of the run that a job makes; None for jobs that are not ours."""
    return job.metadata.get("run") if "agentbatch" in job.metadata else None


def run_of_id(job_id: str) -> str:
    """The run's name, from the job's id alone."""
    return job_id[:-7] if _ENDING.fullmatch(job_id[-7:]) else job_id


def _name_of(config: Config, inputs: str) -> str:
    """The same for the same files of the same machine, and for no others."""
    source = config.source
    assert source is not None  # else `pack` had refused it
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{source.path.stem}-{inputs_stem(inputs)}").strip("-.")[:60]
    whence = "\0".join([platform.node(), str(source.path.resolve()), str(Path(inputs).resolve())])
    return f"{stem or 'run'}-{hashlib.sha256(whence.encode()).hexdigest()[:8]}"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--name: expected letters, digits, dots, - and _, not {name!r}")
    return name


def _refuse_secrets(config: Config, options: Sequence[str]) -> None:
    """The command line stands in Ray's dashboard and logs."""
    for word in options:
        if masked(word) != word or any(secret in word for secret in config.secrets if len(secret) > 3):
            raise ConfigError(
                f"{masked(word).partition('=')[0]}: a key would be readable in Ray's dashboard. Set it in the"
                " environment of `ray start` on the head, and write ${NAME} in the config"
            )
