"""The class that Ray makes an actor of where limits are lent. It imports little: its process is to be there first."""

from __future__ import annotations

import asyncio
import pickle

from agentbatch.engines.ray.leases.bank import Bank


class BankActor:
    """The `Bank` of limits as an actor."""

    def __init__(self, ttl_s: float, budget: float | None, follows: bool) -> None:
        self._bank = Bank(ttl_s, budget, follows=follows)

    async def report(self, report: bytes) -> bytes:
        """A worker's packed `Report`; the packed `Answer`."""
        return pickle.dumps(self._bank.report(pickle.loads(report), asyncio.get_running_loop().time()), protocol=5)

    async def leave(self, worker: str) -> None:
        """A worker is no more."""
        self._bank.leave(worker)

    async def vouch(self, workers: frozenset[str]) -> None:
        """These workers are not given up."""
        self._bank.vouch(workers)
