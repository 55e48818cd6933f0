"""How items are dealt to workers: as many at a time, and as many at once, as the config says."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path
from typing import Any, cast

import pytest
from workflow import config_of

from agentbatch.engines.ray.backlog import Backlog
from agentbatch.engines.ray.cluster import Node, Remote
from agentbatch.engines.ray.engine import RayEngine, Watchers
from agentbatch.engines.ray.link import Link
from agentbatch.engines.ray.parcels import unpacked
from agentbatch.items import Item
from agentbatch.process.control import Control
from agentbatch.progress.tally import Tally
from agentbatch.time_book import Bound

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")


class Taking:
    """A worker's handle that keeps what it is sent, and has nothing sensible to say."""

    def __init__(self) -> None:
        self.chunks: list[int] = []
        self.push = self
        self.drain = Babbling()

    async def remote(self, chunk: bytes) -> None:
        self.chunks.append(len(unpacked(chunk).items))


class Babbling:
    async def remote(self, *question: object) -> bytes:
        return b"nonsense"


class OneWorker:
    """A crew, and the cluster that it is of."""

    def __init__(self, link: Link) -> None:
        self.links = [link]

    def on_ended(self, link: Link) -> None:
        self.links.remove(link)

    def kill(self, remote: Remote) -> None:
        """It has no process."""


async def dealt(folder: Path, engine: dict[str, Any], items: int, **limits: int) -> tuple[list[int], RayEngine]:
    """The sizes of the chunks that a worker of 10 at once gets at the beginning."""
    config = config_of(folder, {"first": {}}, workflow=["first"], engine=engine, limits=limits)
    handle = Taking()
    node = Node("n", "10.0.0.1", "n", 2.0, {}, {}, False)
    link = Link("w1", node, Remote(handle), 10, 0 if limits else 6, 5.0)
    crew = cast("Any", OneWorker(link))
    driver = RayEngine(
        config,
        cluster=crew,
        crew=crew,
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


async def test_a_worker_that_waits_for_items_does_not_wait_for_the_inputs(tmp_path: Path):
    """It does where this process itself waits for the next line."""
    _, driver = await dealt(tmp_path, {"kind": "ray"}, items=1)
    driver._crew.links[0].waits = {Bound("inputs"): 9, Bound("work"): 1}  # pyright: ignore[reportPrivateUsage]
    assert driver.waits() == {Bound("work"): 1}
    driver._backlog = Backlog(asyncio.Future[Item | None], lambda: None)  # pyright: ignore[reportPrivateUsage]
    assert not driver._deal_once()  # pyright: ignore[reportPrivateUsage]
    assert driver.waits() == {Bound("work"): 1, Bound("inputs"): 1}


async def test_a_batch_that_can_not_be_read_ends_the_run_and_its_items_go_back(tmp_path: Path):
    _, driver = await dealt(tmp_path, {"kind": "ray"}, items=5)
    (link,) = driver._crew.links  # pyright: ignore[reportPrivateUsage]
    assert len(link.held) == 5
    await driver._listen(link)  # pyright: ignore[reportPrivateUsage]
    assert driver._control.reason is not None  # pyright: ignore[reportPrivateUsage]
    assert isinstance(driver._fault, pickle.UnpicklingError)  # pyright: ignore[reportPrivateUsage]
    assert not link.held
    assert link.state == "lost"
