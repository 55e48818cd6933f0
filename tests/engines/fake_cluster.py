"""A cluster whose nodes and workers are made up, for tests of who works."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from agentbatch import __version__
from agentbatch.engines.ray.cluster import Node
from agentbatch.engines.ray.parcels import Batch, Hello, packed


def node(name: str, **resources: float) -> Node:
    """A node with two cores."""
    return Node(name, name, name, 2.0, {}, {"CPU": 2.0, "object_store_memory": 1e9, **resources}, False)


class FakeWorker:
    """Stands for `Remote`. Does nothing with items, and ends when it is told to, or at once of itself.

    Attributes:
        told: the methods that were called of which no answer is wanted; killed: whether it was ended.
    """

    handle = None

    def __init__(
        self,
        begins_in_s: float = 0.01,
        fails: Exception | None = None,
        cut: str | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._begins_in_s = begins_in_s
        self._fails = fails
        self._cut = cut
        self._notes = notes
        self._number = 0
        self.told: list[str] = []
        self.killed = False

    async def call(self, method: str, *arguments: object, timeout: float | None = None) -> Any:
        """As `Remote.call`."""
        if method == "versions":
            return {"agentbatch": __version__}
        if method == "begin":
            await asyncio.sleep(self._begins_in_s)
            if self._fails is not None:
                raise self._fails
            return packed(Hello(4, self._notes))
        await asyncio.sleep(0.1)
        self._number += 1
        over = "stop" in self.told or self._cut is not None
        return packed(Batch(self._number, [], [], [], 0, [], [], over=over, cut=self._cut))

    async def tell(self, method: str, *arguments: object, timeout: float = 5.0) -> None:
        """As `Remote.tell`."""
        self.told.append(method)


class FakeCluster:
    """Stands for `Cluster`. `worker` makes one for a node; `started`: all that were made, on which nodes."""

    private = False
    lost = False

    def __init__(self, nodes: list[Node], worker: Callable[[str], FakeWorker], raylet_ends_in_s: float = 1e6) -> None:
        self.there = nodes
        self._raylet_ends_in_s = raylet_ends_in_s
        self._worker = worker
        self.started: list[tuple[str, FakeWorker]] = []

    async def join(self, address: str) -> None:
        """It is there."""

    async def close(self) -> None:
        """It stays."""

    async def nodes(self) -> list[Node]:
        """As `Cluster.nodes`."""
        return list(self.there)

    async def head_listens(self) -> bool:
        """It does."""
        return True

    async def raylet_ended(self) -> None:
        """When it is time."""
        await asyncio.sleep(self._raylet_ends_in_s)

    async def apart(self, call: Callable[[], Any]) -> Any:
        """At once."""
        return call()

    def put(self, data: bytes) -> object:
        """Kept nowhere."""
        return object()

    def start_bank(self, *terms: object) -> FakeWorker:
        """One that only answers."""
        return FakeWorker()

    def start_worker(self, on: Node, resources: object) -> FakeWorker:
        """As `Cluster.start_worker`."""
        worker = self._worker(on.name)
        self.started.append((on.name, worker))
        return worker

    def kill(self, worker: FakeWorker) -> None:
        """As `Cluster.kill`."""
        worker.killed = True
