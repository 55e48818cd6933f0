"""What happens on the cluster's head: a run in a folder that outlives the job, and the way home of what is in it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from agentbatch.errors import AgentBatchError, InputError
from agentbatch.files.durable import replacing
from agentbatch.files.lock import OutputLock
from agentbatch.jobs import JOB_RUN
from agentbatch.jobs.transfer import Parts, say_parts
from agentbatch.record import record
from agentbatch.results.files import ResultFiles

_HOME = "AGENTBATCH_JOBS"
"""Environment variable on the head: where runs are kept; default: `~/.agentbatch/jobs`."""

_JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
_FACTS = "job.json"


@record
class KeptRun:
    """A run's folder on the head."""

    folder: Path
    results: str
    keep_s: float

    @property
    def files(self) -> ResultFiles:
        """Its results and what stands beside them."""
        return ResultFiles(self.folder / self.results)

    @property
    def summary(self) -> Path:
        """What the last sitting came to."""
        return self.files.results.with_name("summary.json")


def jobs_home() -> Path:
    """Where runs are kept on this machine."""
    given = os.environ.get(_HOME)
    return Path(given) if given else Path.home() / ".agentbatch" / "jobs"


def run_at_head(name: str, keep_s: float, results: str, words: Sequence[str]) -> None:
    """Become `agentbatch run` over `words`, with its files in the run's folder. Does not return.

    It becomes it, instead of starting it, so that Ray's SIGTERM reaches it.
    """
    forget_old(time.time())
    kept = _prepare(name, keep_s, results)
    config, inputs, *options = words
    ours = ["-o", str(kept.files.results), "--summary", str(kept.summary)]
    environ = {**os.environ, **_without_package(), JOB_RUN: name}
    command = [sys.executable, "-m", "agentbatch", "run", config, inputs, *options, *ours]
    os.execve(sys.executable, command, environ)


def send_home(name: str, parts: Parts) -> Iterator[str]:
    """The lines that bring a run's files to whoever reads this job's log.

    Raises:
        InputError: there is no such run here.
    """
    _clear_earlier(name)
    kept = _facts(jobs_home() / name)
    if kept is None:
        raise InputError(
            f"there is no run {name} on {os.uname().nodename} in {jobs_home()}: it was never submitted here, or is gone"
            " since it was kept no longer"
        )
    files = {"results": kept.files.results, "traces": kept.files.traces, "header": kept.files.header}
    yield from say_parts({**files, "summary": kept.summary}, parts)


def forget_old(now: float) -> None:
    """Delete the folders of runs that nobody wrote to for as long as they were to be kept."""
    home = jobs_home()
    for folder in sorted(home.iterdir()) if home.is_dir() else ():
        kept = _facts(folder)
        if kept is None or now - _last_change(folder) < kept.keep_s:
            continue
        with suppress(AgentBatchError), OutputLock(kept.files.results):
            shutil.rmtree(folder, ignore_errors=True)


def _prepare(name: str, keep_s: float, results: str) -> KeptRun:
    folder = jobs_home() / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replacing(folder / _FACTS) as file:
        file.write(json.dumps({"results": results, "keep_s": keep_s}).encode() + b"\n")
    return KeptRun(folder, results, keep_s)


def _facts(folder: Path) -> KeptRun | None:
    try:
        told = json.loads((folder / _FACTS).read_bytes())
        return KeptRun(folder, Path(str(told["results"])).name, float(told["keep_s"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _last_change(folder: Path) -> float:
    changes = [0.0]
    for path in folder.iterdir():
        with suppress(OSError):
            changes.append(path.stat().st_mtime)
    return max(changes)


def _without_package() -> dict[str, str]:
    """The job's config without its environment: else every node would unpack the job's package, inputs and all, before
    a worker starts there. Workers are sent what they need by the run itself."""
    try:
        told = json.loads(os.environ[_JOB_CONFIG])
    except (KeyError, ValueError):
        return {}
    return {_JOB_CONFIG: json.dumps({**told, "runtime_env": {}})}


def _clear_earlier(name: str) -> None:
    """Delete what earlier fetches of the run left in Ray's log folder: they are as large as what they brought."""
    try:
        log = Path("/proc/self/fd/1").readlink()
    except OSError:
        return
    mark = f"job-driver-{name}-fetch-"
    if log.name.startswith(mark):
        for other in log.parent.glob(f"{mark}*.log"):
            if other != log:
                with suppress(OSError):
                    other.unlink()
