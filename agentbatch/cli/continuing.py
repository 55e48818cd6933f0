"""What a person types to run what is left."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence

from agentbatch.jobs import JOB_RUN


def continue_command(words: Sequence[str], *, overwrite: bool) -> str:
    """What was typed, without what would begin again; where the environment says that, `--resume` says no.

    Nobody typed what a job runs: there it says what continues it.
    """
    job = os.environ.get(JOB_RUN)
    if job is not None:
        return f"agentbatch submit ...  # the same as before, from the same place: it continues the run {job}"
    kept = [word for word in words if word != "--overwrite"]
    said_elsewhere = overwrite and len(kept) == len(words)
    return shlex.join(["agentbatch", *kept, *(["--resume"] if said_elsewhere else [])])


def past_canary_command(words: Sequence[str], *, overwrite: bool) -> str:
    """The same without a canary, wherever it came from."""
    return continue_command([*_without_canary(words), "--canary", "0"], overwrite=overwrite)


def _without_canary(words: Sequence[str]) -> Iterator[str]:
    left = iter(words)
    for word in left:
        if word == "--canary":
            next(left, None)
        elif not word.startswith("--canary="):
            yield word
