"""A worker without a cluster: what its batches say to the driver."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from engines.station_terms import assignment
from workflow import config_of

from agentbatch.config import Config
from agentbatch.engines.ray.cluster import Node, Remote
from agentbatch.engines.ray.engine import RayEngine, Watchers
from agentbatch.engines.ray.link import Link
from agentbatch.engines.ray.parcels import Batch, Chunk, unpacked
from agentbatch.engines.ray.station import Station
from agentbatch.items import Item
from agentbatch.process.control import Control
from agentbatch.progress.tally import Tally

MOST_USD = 0.5


async def stopped_batches(config: Config, folder: Path, items: int) -> list[Batch]:
    """All that a worker says whose items hang when the run is cut."""
    station = Station(assignment(folder), folder)
    await station.ready()
    station.push(Chunk([Item(str(n), n, {}, n + 1) for n in range(items)]))
    batches: list[Batch] = []
    while not batches or not batches[-1].over:
        last = batches[-1].number if batches else 0
        batches.append(unpacked(await station.drain(last, 0.2, 100)))
        pressure = batches[-1].pressure
        if pressure is not None and pressure.requests_in_flight == items:
            station.stop("enough", at_once=True)
    return batches


async def test_what_unfinished_items_may_be_billed_reaches_the_runs_books(tmp_path: Path):
    price = {"input": 0, "output": 0, "request": MOST_USD}
    models = {"m": {"provider": "mock", "latency": "1000s", "price": price}}
    config = config_of(tmp_path, {"first": {"model": "m"}}, models=models, workflow=["first"])
    batches = await stopped_batches(config, tmp_path, items=3)
    assert [batch.unfinished_usd for batch in batches[:-1]] == [0.0] * (len(batches) - 1)
    assert batches[-1].unfinished_usd == 3 * MOST_USD

    nobody = cast("Any", None)
    watchers = Watchers(Tally(("first",)))
    engine = RayEngine(config, cluster=nobody, crew=nobody, control=Control(), watchers=watchers, journal=None)
    link = Link("w1", Node("n", "10.0.0.1", "n", 2.0, {}, {}, False), Remote(nobody), 4, 0, 5.0)
    for batch in batches:
        engine._on_batch(link, batch)  # pyright: ignore[reportPrivateUsage]
    assert engine.unfinished_usd == 3 * MOST_USD


async def test_a_worker_that_ends_by_itself_says_why(tmp_path: Path):
    config_of(tmp_path, {"first": {}}, workflow=["first"])
    driver = subprocess.Popen([sys.executable, "-c", ""])
    driver.wait()
    station = Station(replace(assignment(tmp_path), driver_pid=driver.pid), tmp_path)
    await station.ready()
    batches: list[Batch] = []
    while not batches or not batches[-1].over:
        batches.append(unpacked(await station.drain(len(batches), 0.2, 100)))
    assert batches[-1].cut == "the driver is silent"


async def test_a_workers_figures_never_lack_results_that_it_has_handed_over(tmp_path: Path):
    config_of(tmp_path, {"first": {}}, models={"echo": {"provider": "mock"}}, workflow=["first"])
    station = Station(assignment(tmp_path), tmp_path)
    await station.ready()
    station.push(Chunk([Item(str(n), n, {}, n + 1) for n in range(40)]))
    figures, handed_over, last, over = Tally(("first",)), 0, 0, False
    while not over:
        batch: Batch = unpacked(await station.drain(last, 0.2, 3))
        last, over = batch.number, batch.over
        handed_over += len(batch.finished)
        if handed_over == 40:
            station.finish()
        if batch.part is not None:
            figures.take_in("w1", batch.part)
        (first,) = figures.counts().agents
        assert first.done >= handed_over
