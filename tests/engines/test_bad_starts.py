"""Workers that can't begin, die again and again or are not wanted any more, on made-up clusters and in fake time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from engines.fake_cluster import FakeCluster, FakeWorker, node
from engines.station_terms import assignment
from fake_time import run_in_fake_time
from workflow import config_of

from agentbatch.config import Config
from agentbatch.engines.ray.cluster import WorkerUnheard
from agentbatch.engines.ray.crew import Crew
from agentbatch.engines.ray.engine import RayEngine, Watchers
from agentbatch.engines.ray.link import Link
from agentbatch.errors import ConfigError
from agentbatch.placement import Placement
from agentbatch.process.control import Control
from agentbatch.progress.tally import Tally

BOX = Placement((), (("box", 1.0),))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    engine = {"kind": "ray", "address": "auto", "placement_timeout": "60s"}
    return config_of(tmp_path, {"first": {}}, workflow=["first"], engine=engine)


def crew_of(config: Config, cluster: FakeCluster, placed: dict[str, Placement] | None = None) -> Crew:
    return Crew(
        config,
        cast("Any", cluster),
        lambda name, node, share, post: assignment(Path()),
        placed or {},
        ("", b""),
        lambda: None,
    )


def run_of(
    config: Config,
    cluster: FakeCluster,
    meddle: Callable[[Control], object],
    placed: dict[str, Placement] | None = None,
) -> tuple[float, RayEngine]:
    """How many seconds a run took whose inputs never end."""

    async def main() -> tuple[float, RayEngine]:
        loop = asyncio.get_running_loop()
        control, began = Control(), loop.time()
        engine = RayEngine(
            config,
            cluster=cast("Any", cluster),
            crew=crew_of(config, cluster, placed),
            control=control,
            watchers=Watchers(Tally(("first",))),
            journal=None,
        )
        meddle(control)
        async with asyncio.timeout(1000), engine:
            await engine.run(lambda: loop.create_future(), lambda _: None)
        return loop.time() - began, engine

    return run_in_fake_time(main())


@pytest.mark.parametrize("at", [0.0, 3.0])
def test_a_stop_while_no_worker_has_begun_ends_the_run(config: Config, at: float):
    cluster = FakeCluster([node("n1")], lambda _: FakeWorker(begins_in_s=50))

    def meddle(control: Control) -> None:
        if at:
            asyncio.get_running_loop().call_later(at, control.stop, "SIGINT received")
        else:
            control.stop("SIGINT received")

    seconds, _ = run_of(config, cluster, meddle)
    assert seconds < at + 2


def test_a_stop_while_another_worker_starts_reaches_those_that_have_begun(config: Config):
    """The placed one never begins."""
    cluster = FakeCluster([node("n1", box=1)], lambda _: FakeWorker(0.01 if len(cluster.started) == 0 else 50))

    def meddle(control: Control) -> None:
        asyncio.get_running_loop().call_later(3, control.stop, "SIGINT received")

    seconds, _ = run_of(config, cluster, meddle, {"second": BOX})
    assert [worker.told for _, worker in cluster.started] == [["stop"], []]
    assert seconds < 5


def test_a_second_stop_while_workers_start_cuts_those_that_hear_nothing(config: Config):
    class Deaf(FakeWorker):
        async def tell(self, method: str, *arguments: object, timeout: float = 5.0) -> None:
            """It does not arrive."""

    cluster = FakeCluster([node("n1", box=1)], lambda _: Deaf(0.01 if len(cluster.started) == 0 else 50))

    def meddle(control: Control) -> None:
        asyncio.get_running_loop().call_later(3, control.stop, "SIGINT received")
        asyncio.get_running_loop().call_later(3.5, lambda: control.stop("SIGINT received", at_once=True))

    seconds, _ = run_of(config, cluster, meddle, {"second": BOX})
    assert seconds < 6


@pytest.mark.parametrize("begins_in_s", [0.01, 50])
def test_the_end_of_this_machines_raylet_ends_the_run_at_once(config: Config, begins_in_s: float):
    """Nobody is told, for that would be asking something of Ray."""
    cluster = FakeCluster([node("n1")], lambda _: FakeWorker(begins_in_s), raylet_ends_in_s=3)
    reasons: list[str | None] = []

    def meddle(control: Control) -> None:
        control.on_stop(lambda: reasons.append(control.reason))

    seconds, _ = run_of(config, cluster, meddle)
    assert seconds < 3.5
    assert reasons == ["the Ray process on this machine (raylet) has ended"]
    assert cluster.lost
    assert [worker.told for _, worker in cluster.started] == [[]]


def test_an_unexpected_error_while_a_worker_begins_is_told(config: Config):
    cluster = FakeCluster([node("n1")], lambda _: FakeWorker(fails=OSError(28, "No space left on device")))
    with pytest.raises(ConfigError, match=r"^node n1: OSError: \[Errno 28\] No space left on device$"):
        run_of(config, cluster, lambda _: None)
    assert [worker.killed for _, worker in cluster.started] == [True]


def test_a_node_that_has_worked_and_can_begin_no_other_is_left_out(config: Config, caplog: pytest.LogCaptureFixture):
    """Its second worker finds a full disk."""

    def worker(on: str) -> FakeWorker:
        if on == "good":
            return FakeWorker()
        first = "bad" not in [name for name, _ in cluster.started]
        return FakeWorker(cut="a test") if first else FakeWorker(fails=OSError(28, "No space left on device"))

    cluster = FakeCluster([node("bad"), node("good")], worker)
    seconds, _ = run_of(config, cluster, stopped_after(100))
    assert 100 < seconds < 110
    assert [name for name, _ in cluster.started] == ["bad", "good", "bad"]
    assert caplog.messages[1:] == [
        "node bad: OSError: [Errno 28] No space left on device; the run goes on without that node"
    ]


def test_a_node_on_which_workers_die_again_and_again_is_left_out(config: Config, caplog: pytest.LogCaptureFixture):
    cluster = FakeCluster(
        [node("bad"), node("good")],
        lambda on: FakeWorker(cut="the bank of limits is silent") if on == "bad" else FakeWorker(),
    )
    seconds, _ = run_of(config, cluster, stopped_after(100))
    assert 100 < seconds < 110
    assert [name for name, _ in cluster.started] == ["bad", "good", "bad", "bad", "bad", "bad"]
    lost = "it ended by itself: the bank of limits is silent"
    numbers = [1, 3, 4, 5, 6]
    assert caplog.messages == [
        *(f"worker w{number} on bad is lost: {lost}; 0 items run again" for number in numbers),
        f"node bad: 5 workers in a row were lost before they finished anything: {lost}; the run goes on without that"
        " node",
    ]


@pytest.mark.parametrize("names", [("n1",), ("n1", "n2")])
def test_where_workers_die_on_every_node_the_run_ends(config: Config, names: tuple[str, ...]):
    cluster = FakeCluster([node(name) for name in names], lambda _: FakeWorker(cut="a test"))
    with pytest.raises(ConfigError, match="5 workers in a row were lost before they finished anything"):
        run_of(config, cluster, lambda _: None)
    assert len(cluster.started) == 5 * len(names)


def test_a_node_that_placed_agents_need_is_not_left_out(config: Config):
    """The others have no box."""

    def worker(on: str) -> FakeWorker:
        return FakeWorker(cut="a test" if on == "boxed" else None)

    cluster = FakeCluster([node("boxed", box=1), node("good")], worker)
    with pytest.raises(ConfigError, match="node boxed: 5 workers in a row"):
        run_of(config, cluster, stopped_after(100), {"second": BOX})


def test_what_workers_want_a_person_to_know_is_said_once(config: Config, caplog: pytest.LogCaptureFixture):
    few = "model m gets 100 requests at once instead of 400"
    cluster = FakeCluster([node("n1"), node("n2")], lambda _: FakeWorker(notes=(few,)))
    run_of(config, cluster, stopped_after(10))
    assert len(cluster.started) == 2
    assert caplog.messages == [f"node n1: {few}"]


def test_of_more_workers_than_cores_as_many_start_as_there_is_room_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    engine = {"kind": "ray", "address": "auto", "workers": 8}
    config = config_of(tmp_path, {"first": {}}, workflow=["first"], engine=engine)
    cluster = FakeCluster([node("n1"), node("n2")], lambda _: FakeWorker())
    run_of(config, cluster, stopped_after(100))
    assert [name for name, _ in cluster.started] == ["n1", "n1", "n2", "n2"]
    assert caplog.messages == [
        "engine.workers is 8, and the cores of 2 nodes are enough for 4: the run goes on with those"
    ]


def test_what_one_node_has_no_core_for_starts_on_another(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    engine = {"kind": "ray", "address": "auto", "workers": 5}
    config = config_of(tmp_path, {"first": {}}, workflow=["first"], engine=engine)
    cluster = FakeCluster([node("n1"), replace(node("n2"), cores=4.0)], lambda _: FakeWorker())
    run_of(config, cluster, stopped_after(10))
    assert [name for name, _ in cluster.started] == ["n1", "n1", "n2", "n2", "n2"]
    assert caplog.messages == []


def test_that_something_else_has_a_nodes_cores_is_said_once(config: Config, caplog: pytest.LogCaptureFixture):
    full = WorkerUnheard("no answer within 30 s")
    cluster = FakeCluster([node("n1"), node("n2")], lambda on: FakeWorker(10, full if on == "n2" else None))
    run_of(config, cluster, stopped_after(100))
    assert len(cluster.started) > 5
    assert caplog.messages == [
        "node n2: no other worker could start there (no answer within 30 s), which is tried again: `ray status` shows"
        " whether something else has the cores and the resources there are"
    ]


def test_deaths_with_work_done_in_between_are_not_in_a_row(config: Config):
    async def main() -> list[Link]:
        cluster = FakeCluster([node("n1")], lambda _: FakeWorker())
        crew = crew_of(config, cluster)
        await crew.open(lambda _: None, lambda: False)
        keeping = asyncio.create_task(crew.keep_up(lambda: True, set))
        for number in range(20):
            link = crew.links[-1]
            link.state, link.done = "lost", int(number % 4 == 0)
            crew.on_ended(link)
            await asyncio.sleep(3)
        assert not keeping.done()
        keeping.cancel()
        return crew.links

    assert len(run_in_fake_time(main())) == 21


def stopped_after(seconds: float) -> Callable[[Control], object]:
    return lambda control: asyncio.get_running_loop().call_later(seconds, control.stop, "SIGINT received")
