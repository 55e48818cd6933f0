"""What gets lost between the driver of a run and its workers costs time, never items, answers or figures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import yaml
from engines.station_terms import assignment
from workflow import config_of

from agentbatch.config import Config
from agentbatch.engines.ray.cluster import Node, WorkerUnheard
from agentbatch.engines.ray.engine import RayEngine, Watchers
from agentbatch.engines.ray.link import Link
from agentbatch.engines.ray.parcels import Batch, Chunk, FinishedRow, SpanRow, packed, unpacked
from agentbatch.engines.ray.station import Station
from agentbatch.items import Item
from agentbatch.process.control import Control
from agentbatch.progress.tally import Tally
from agentbatch.results.finished import FinishedItem
from agentbatch.trace import Span, SpanObserver


class Cluster:
    """A cluster and its crew, of workers that are there from the beginning."""

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.lost = False
        self.head_is_there = True
        self.lost_when_closed: list[bool] = []

    async def keep_up(self, *_: object) -> None:
        await asyncio.Event().wait()

    def on_ended(self, link: Link) -> None:
        """No other is started."""

    def kill(self, remote: object) -> None:
        """It has no process."""

    async def head_listens(self) -> bool:
        return self.head_is_there

    async def close(self) -> None:
        self.lost_when_closed.append(self.lost)


class Far:
    """A worker's handle. `lost` says which messages do not arrive."""

    def __init__(self, station: Station, lost: Callable[[str, tuple[Any, ...]], bool]) -> None:
        self._station = station
        self._lost = lost

    async def call(self, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        if method == "push":
            self._station.push(unpacked(arguments[0]))
            return None
        return await self._station.drain(*arguments)

    async def tell(self, method: str, *arguments: Any, timeout: float = 5.0) -> None:
        if not self._lost(method, arguments):
            getattr(self._station, method)(*arguments)


class Quick:
    """A worker that finishes at once what it is sent, if it `takes` it, and says so when it is asked."""

    def __init__(self, takes: bool) -> None:
        self._takes = takes
        self._rows: list[FinishedRow] = []
        self._number = 0
        self._some = asyncio.Event()
        self._over = False

    async def call(self, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        if method == "push":
            return self._push(unpacked(arguments[0]))
        try:
            async with asyncio.timeout(0.3):
                await self._some.wait()
        except TimeoutError:
            pass
        self._some.clear()
        self._number += 1
        rows, self._rows = self._rows, []
        return packed(Batch(self._number, rows, [], [], 0, [], [], over=self._over))

    def _push(self, chunk: Chunk) -> None:
        if not self._takes:
            raise WorkerUnheard("the connection was reset")
        self._rows += [(item.id, item.index, "ok", None, 1, False, {}, (), b"", None) for item in chunk.items]
        self._some.set()

    async def tell(self, method: str, *arguments: Any, timeout: float = 5.0) -> None:
        assert method == "finish"
        self._over = True
        self._some.set()


class Saying:
    """A worker that says these batches, one after another."""

    def __init__(self, *batches: Batch) -> None:
        self._batches = list(batches)

    async def call(self, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        return packed(self._batches.pop(0))


def link_to(worker: object, name: str = "w1") -> Link:
    return Link(name, Node("n", "10.0.0.1", "n", 2.0, {}, {}, False), cast("Any", worker), 4, 4, 2.0)


def engine_of(config: Config, *links: Link, spans: tuple[SpanObserver, ...] = ()) -> tuple[RayEngine, Cluster]:
    cluster = Cluster()
    cluster.links += links
    both, watchers = cast("Any", cluster), Watchers(Tally(("first",)), spans=spans)
    return RayEngine(config, cluster=both, crew=both, control=Control(), watchers=watchers, journal=None), cluster


def items_of(count: int) -> list[Item]:
    return [Item(str(n), n, {}, n + 1) for n in range(count)]


async def results(
    engine: RayEngine, links: list[Link], items: int, *, meddle: Callable[[], None] = lambda: None
) -> list[int]:
    """The items that got a line, by the end of the run."""
    waiting, ended = iter(items_of(items)), list[FinishedItem]()
    for link in links:
        engine._begin(link)  # pyright: ignore[reportPrivateUsage]
    await asyncio.sleep(0)
    meddle()
    async with asyncio.timeout(30):
        await engine.run(lambda: next(waiting, None), ended.append)
    return sorted(end.index for end in ended)


async def test_a_run_does_not_end_before_the_items_of_a_lost_worker_are_back(tmp_path: Path):
    config = config_of(tmp_path, {"first": {}}, workflow=["first"], engine={"kind": "ray", "chunk_max": 4})
    links = [link_to(Quick(takes=True), "w1"), link_to(Quick(takes=False), "w2")]
    engine, _ = engine_of(config, *links)
    assert await results(engine, links, 10) == list(range(10))
    assert [link.state for link in links] == ["over", "lost"]


async def test_a_batch_whose_answer_is_lost_is_the_answer_to_the_next_question(tmp_path: Path):
    config_of(tmp_path, {"first": {}}, workflow=["first"])
    station = Station(assignment(tmp_path), tmp_path)
    await station.ready()
    unheard, heard = [asyncio.create_task(station.drain(0, 30.0, 256)) for _ in range(2)]
    await asyncio.sleep(0)  # both wait there now
    station.push(Chunk(items_of(4)))
    async with asyncio.timeout(20):
        assert await unheard == await heard
    batch: Batch = unpacked(await heard)
    while len(batch.finished) < 4:
        more: Batch = unpacked(await station.drain(batch.number, 5.0, 256))
        assert more.number == batch.number + 1
        batch = replace(more, finished=batch.finished + more.finished)
    assert sorted(row[1] for row in batch.finished) == [0, 1, 2, 3]


async def through(folder: Path, lost: Callable[[str, tuple[Any, ...]], bool], pauses: bool) -> list[int]:
    """The items that come through a workflow of two calls when such messages are lost."""
    agents, models = {"first": {}, "second": {}}, {"echo": {"provider": "mock"}}
    config = config_of(folder, agents, models=models, workflow=list(agents), engine={"kind": "ray"})
    station = Station(replace(assignment(folder), journal=True), folder)
    await station.ready()
    link = link_to(Far(station, lost))
    engine, _ = engine_of(config, link)
    if pauses:
        engine._control.pause()  # pyright: ignore[reportPrivateUsage]

    def go_on() -> None:
        if pauses:
            assert link.paused
            engine._control.resume()  # pyright: ignore[reportPrivateUsage]
            engine._pause(False)  # pyright: ignore[reportPrivateUsage]

    return await results(engine, [link], 6, meddle=go_on)


async def test_an_item_hears_that_its_calls_are_kept_though_the_message_is_lost(tmp_path: Path):
    assert await through(tmp_path, lambda method, _: method == "kept", pauses=False) == list(range(6))


async def test_a_worker_goes_on_after_a_pause_though_the_message_is_lost(tmp_path: Path):
    assert await through(tmp_path, lambda *message: message == ("pause", (False,)), pauses=True) == list(range(6))


async def test_what_is_paid_when_a_run_is_told_to_stop_reaches_the_driver(tmp_path: Path):
    first = {"model": "m", "prompt": "hello"}
    second = {"kind": "command", "command": ["echo", "{{ first.output }}"]}
    told = {
        "version": 1,
        "models": {"m": {"provider": "mock", "latency": "1s"}},
        "agents": {"first": first, "second": second},
        "workflow": ["first", "second"],
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(told))
    station = Station(replace(assignment(tmp_path), journal=True), tmp_path)
    await station.ready()
    station.push(Chunk(items_of(3)))
    batch: Batch = unpacked(await station.drain(0, 0.05, 256))
    calls = list(batch.calls)
    while not batch.over:
        if batch.pressure is not None and batch.pressure.requests_in_flight == 3:
            station.stop("Ctrl-C", at_once=False)
        batch = unpacked(await station.drain(batch.number, 0.2, 256))
        calls += batch.calls
    assert sorted((item, path) for item, path, *_ in calls) == [(0, "first"), (1, "first"), (2, "first")]


def finished(index: int) -> FinishedRow:
    return (str(index), index, "ok", None, 1, False, {}, (), b"", None)


async def test_answers_that_come_with_their_items_end_are_not_kept_beyond_it(tmp_path: Path):
    engine, _ = engine_of(config_of(tmp_path, {"first": {}}, workflow=["first"]))
    link = link_to(Quick(takes=True))
    link.held = {item.index: item for item in items_of(1)}
    engine._deliver = lambda _: None  # pyright: ignore[reportPrivateUsage]
    call = (0, "first", 1, b"asked", b"answer", 0.001)
    engine._on_batch(link, Batch(1, [finished(0)], [], [call], 1, [], []))  # pyright: ignore[reportPrivateUsage]
    assert engine._paid.of(items_of(1)) == {}  # pyright: ignore[reportPrivateUsage]


class Failing:
    """An observer with a bug."""

    def on_start(self, span: Span) -> None:
        raise ValueError("a bug")

    on_work = on_end = on_start


class Watching:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_start(self, span: Span) -> None:
        self.seen.append(span.name)

    on_work = on_end = on_start


async def test_an_observer_that_fails_is_no_longer_told_and_the_run_goes_on(tmp_path: Path):
    watching = Watching()
    config = config_of(tmp_path, {"first": {}}, workflow=["first"])
    spans: list[SpanRow] = [(word, Span("a", "agent", "t", "s", None, 0, [])) for word in ("started", "ended")]
    link = link_to(Saying(Batch(1, [], [], [], 0, spans, [], over=True)))
    engine, _ = engine_of(config, link, spans=(Failing(), watching))
    await engine._listen(link)  # pyright: ignore[reportPrivateUsage]
    assert (link.state, engine._fault) == ("over", None)  # pyright: ignore[reportPrivateUsage]
    assert watching.seen == ["a", "a"]


async def test_a_head_that_is_gone_at_the_end_is_not_asked_to_let_go(tmp_path: Path):
    engine, cluster = engine_of(config_of(tmp_path, {"first": {}}, workflow=["first"]))
    cluster.head_is_there = False
    await engine._close()  # pyright: ignore[reportPrivateUsage]
    assert cluster.lost_when_closed == [True, True]  # the crew, and the cluster
