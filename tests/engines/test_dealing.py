"""How items are dealt to workers: as many at a time, and as many at once, as the config says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

from workflow import config_of

from agentbatch.engines.ray.backlog import Backlog
from agentbatch.engines.ray.cluster import Node, Remote
from agentbatch.engines.ray.engine import RayEngine, Watchers
from agentbatch.engines.ray.link import Link
from agentbatch.engines.ray.parcels import unpacked
from agentbatch.items import Item
from agentbatch.process.control import Control
from agentbatch.progress.tally import Tally


class Taking:
    """A worker's handle that keeps what it is sent."""

    def __init__(self) -> None:
        self.chunks: list[int] = []
        self.push = self

    async def remote(self, chunk: bytes) -> None:
        self.chunks.append(len(unpacked(chunk).items))


class OneWorker:
    def __init__(self, link: Link) -> None:
        self.links = [link]


async def dealt(folder: Path, engine: dict[str, Any], items: int, **limits: int) -> tuple[list[int], RayEngine]:
    """The sizes of the chunks that a worker of 10 at once gets at the beginning."""
    config = config_of(folder, {"first": {}}, workflow=["first"], engine=engine, limits=limits)
    handle = Taking()
    node = Node("n", "10.0.0.1", "n", 2.0, {}, {}, False)
    link = Link("w1", node, Remote(handle), 10, 0 if limits else 6, 5.0)
    driver = RayEngine(
        config,
        cluster=cast("Any", None),
        crew=cast("Any", OneWorker(link)),
        control=Control(),
        watchers=Watchers(Tally(("first",))),
        journal=None,
    )
    waiting = iter([Item(str(n), n, {}, n + 1) for n in range(items)])
    driver._backlog = Backlog(lambda: next(waiting, None), lambda: None)  # pyright: ignore[reportPrivateUsage]
    while driver._deal_once():  # pyright: ignore[reportPrivateUsage]
        pass
    await asyncio.sleep(0)
    await asyncio.gather(*link._tasks)  # pyright: ignore[reportPrivateUsage]
    return handle.chunks, driver


async def test_no_more_items_are_sent_at_a_time_than_chunk_max(tmp_path: Path):
    chunks, driver = await dealt(tmp_path, {"kind": "ray", "chunk_max": 3}, items=100)
    assert chunks == [3, 3, 3, 3, 3, 1]
    # those that only wait on the worker are not in flight
    pressure = driver.pressure()
    assert (pressure.items_in_flight, pressure.nodes[0].in_flight) == (10, 10)


async def test_the_runs_own_limit_holds_for_what_is_dealt(tmp_path: Path):
    chunks, driver = await dealt(tmp_path, {"kind": "ray"}, items=100, max_concurrency=5)
    assert sum(chunks) == 5
    assert driver.pressure().items_in_flight == 5
