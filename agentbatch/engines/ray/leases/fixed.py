"""Limits split into fixed parts, one for each worker: nothing to ask for, nothing to spare for whoever needs more."""

from __future__ import annotations

from collections.abc import Iterable

from agentbatch.errors import ConfigError
from agentbatch.limits import Limiter


def take_part(limiters: Iterable[Limiter], rank: int, of: int) -> None:
    """Leave each limit the part of the worker with this rank, from 0, of so many.

    Raises:
        ConfigError: a limit is smaller than the number of workers, so that somebody would have nothing.
    """
    for limiter in limiters:
        if limiter.permits is not None:
            limiter.permits.lend(_part(limiter, "max_concurrency", limiter.permits.most, rank, of))
        if limiter.rpm is not None:
            limiter.rpm.resize(_part(limiter, "rpm", limiter.rpm.limit, rank, of))
        if limiter.tpm is not None:
            limiter.tpm.resize(_part(limiter, "tpm", limiter.tpm.limit, rank, of))


def _part(limiter: Limiter, key: str, whole: int, rank: int, of: int) -> int:
    if whole < of:
        raise ConfigError(
            f"{key} of {limiter.owner} is {whole}, which {of} workers can't split: use engine.limiter.mode: lease, or"
            f" engine.workers: {whole}"
        )
    return whole // of + (rank < whole % of)
