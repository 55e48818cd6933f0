"""Steps that are done on another worker look, in their item's line, as if they had been done with it."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_time import run_in_fake_time
from workflow import Spans, Trial, check_nothing_left, config_of, run

from agentbatch import errors
from agentbatch.config import Config
from agentbatch.engines.local import LocalEngine
from agentbatch.engines.ray.cluster import Node, Remote
from agentbatch.engines.ray.errands.away import Away, RemoteStep
from agentbatch.engines.ray.errands.bench import Bench
from agentbatch.engines.ray.errands.desk import ErrandDesk
from agentbatch.engines.ray.errands.parcels import put_together, taken_apart
from agentbatch.engines.ray.far_journal import FarJournal
from agentbatch.engines.ray.inbox import Inbox
from agentbatch.engines.ray.link import Link
from agentbatch.engines.ray.paid_calls import PaidCalls
from agentbatch.engines.ray.parcels import Chunk, unpacked
from agentbatch.errors import StepError
from agentbatch.items import Failure, Item, ItemResult, Output, Scope
from agentbatch.kept.journal import Entry, Place
from agentbatch.kept.stores import Stores
from agentbatch.limits import Budget
from agentbatch.messages import Usage
from agentbatch.placement import Placement
from agentbatch.process.control import Control
from agentbatch.progress.tally import Tally
from agentbatch.step import MemberFailed, Runnable, Visit
from agentbatch.trace import Tracer

BOX = Placement((("disk", "ssd"),), ())
ON_THE_WAY_S = 0.05


class Near:
    """What stands for agents on the worker that has the items: those with a placement are done elsewhere."""

    def __init__(self, config: Config, away: Away) -> None:
        self._config = config
        self._away = away

    def runs(self, agent: str) -> bool:
        return self._config.agents[agent].placement is not None

    def step(self, agent: str, runnable: Runnable) -> Runnable:
        return RemoteStep(agent, BOX, self._away, runnable) if self.runs(agent) else runnable


class Far:
    """On the other worker."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def runs(self, agent: str) -> bool:
        return False

    def step(self, agent: str, runnable: Runnable) -> Runnable:
        self._bench.offer(agent, runnable)
        return runnable


class TwoWorkers:
    """A worker with items and one that does steps for it, with a slow post between them."""

    def __init__(self, config: Config) -> None:
        self.spans, self.far_spans = Spans(), Spans()
        self.control, self.far_control = Control(), Control()
        self.journal, self.far_journal = FarJournal(lambda: None), FarJournal(lambda: None)
        self.tally = Tally(tuple(config.agents))
        self.away = Away(self.control, None, self._speak)
        self.bench = Bench(self.far_control, self.far_journal, self.tally, (True, True), self._speak)
        self.near = LocalEngine(
            config,
            tracer=Tracer([self.spans]),
            control=self.control,
            budget=Budget(None),
            elsewhere=Near(config, self.away),
        )
        self.far = LocalEngine(
            config,
            tracer=Tracer(),
            control=self.far_control,
            budget=Budget(None),
            stores=Stores(journal=self.far_journal),
            elsewhere=Far(self.bench),
        )

    def _speak(self) -> None:
        asyncio.get_running_loop().call_later(ON_THE_WAY_S, self._carry)

    def _carry(self) -> None:
        asked, self.away.asked = self.away.asked, []
        dropped, self.away.dropped = self.away.dropped, []
        news, self.bench.news = self.bench.news, []
        self.bench.take_in(("w1", number, item, data, {}) for number, _, item, data in asked)
        self.bench.drop(("w1", number) for number in dropped)
        for each in news:
            self.away.hear(each)

    async def run(self, inputs: tuple[Any, ...], meddle: Callable[[Control], None] | None) -> Trial:
        items = iter([Item(str(index + 1), index, fields, index + 1) for index, fields in enumerate(inputs)])
        ended: list[ItemResult] = []
        inbox = Inbox()
        loop = asyncio.get_running_loop()
        self.control.on_stop(lambda: self.far_control.stop("as over there", at_once=self.control.at_once))
        if meddle is not None:
            loop.call_soon(meddle, self.control)
        began = loop.time()
        async with self.near, self.far:
            self.bench.open(Tracer([self.far_spans, self.tally]))
            helping = asyncio.create_task(self.far.run(inbox.take, lambda _: None))
            async with asyncio.timeout(100_000):
                await self.near.run(lambda: next(items, None), ended.append)
            seconds = loop.time() - began
            await self.bench.close()
            inbox.close()
            await helping
            await asyncio.sleep(2 * ON_THE_WAY_S)
            check_nothing_left(self.near)
            check_nothing_left(self.far)
        return Trial(ended, self.spans, seconds)


def run_on_two(
    config: Config, *inputs: Any, meddle: Callable[[Control], None] | None = None
) -> tuple[Trial, TwoWorkers]:
    async def main() -> tuple[Trial, TwoWorkers]:
        workers = TwoWorkers(config)
        return await workers.run(inputs or ({},), meddle), workers

    return run_in_fake_time(main())


FACTS = ("status", "output", "error", "attempts", "usage", "cost_usd", "fallback", "tries", "checks")


def told(line: dict[str, Any]) -> dict[str, Any]:
    """A line without its times and ids."""
    steps = {path: {key: step[key] for key in FACTS if key in step} for path, step in line["agents"].items()}
    return {**{key: line[key] for key in ("id", "status", "output", "error", "usage", "cost_usd")}, "agents": steps}


THERE: dict[str, Any] = {"placement": {"disk": "ssd"}}
PRICED = {"provider": "mock", "latency": "1s", "reply": "{{ prompt }}", "price": {"input": 10, "output": 10}}
WORKFLOWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a row": (
        {"first": {}, "second": {**THERE, "prompt": "more of {{ first.output }}"}, "third": {**THERE}},
        {"workflow": ["first", "second", "third"]},
    ),
    "what has not run is empty": (
        {"first": {**THERE, "prompt": "[{{ second.output | default('none') }}]"}, "second": {}},
        {"workflow": ["first", "second"]},
    ),
    "a failure keeps its type and agent": (
        {"first": {**THERE, "model": "broken"}, "second": {"prompt": "after {{ first.output }}"}},
        {"workflow": ["first", "second"]},
    ),
    "a failure that is tolerated, and a fallback": (
        {
            "first": {**THERE, "model": "broken", "on_error": "continue"},
            "second": {**THERE, "model": "broken", "fallback": ["third"]},
            "third": {**THERE},
        },
        {"workflow": ["first", "second"]},
    ),
    "its own timeout": (
        {"first": {**THERE, "model": "hanging", "timeout": "3s"}, "second": {}},
        {"workflow": ["first", "second"]},
    ),
    "copies and a list": (
        {
            "page": {**THERE, "for_each": "input.list | default([1, 2, 3])", "prompt": "no {{ each.value }}"},
            "vote": {**THERE},
        },
        {"groups": {"many": {"parallel": [{"agent": "vote", "copies": 3}]}}, "workflow": ["page", "many"]},
    ),
    "a loop and its history": (
        {"writer": {**THERE, "prompt": "{{ loop.index }} {{ critic.output | default('-') }}"}, "critic": {}},
        {
            "groups": {"refine": {"loop": ["writer", "critic"], "until": "loop.index >= 1", "max_iterations": 3}},
            "workflow": ["refine"],
        },
    ),
    "checks and values": (
        {
            "first": {**THERE, "checks": {"long": {"contains": "nothing"}}, "set": {"said": "{{ output }}"}},
            "second": {**THERE, "prompt": "{{ vars.said }}!"},
        },
        {"workflow": ["first", "second"]},
    ),
    "condition that leaves it out": (
        {"first": {**THERE, "when": "input.no == 1"}, "second": {}},
        {"workflow": ["first", "second"]},
    ),
}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_line_is_the_same_as_on_one_worker(tmp_path: Path, name: str):
    agents, sections = WORKFLOWS[name]
    config = config_of(tmp_path, agents, models={"echo": PRICED}, **sections)
    inputs = ({"no": 0}, {"no": 2, "list": [5, 6]})
    one = run(config, *inputs)
    two, _ = run_on_two(config, *inputs)
    assert [told(line) for line in two.lines] == [told(line) for line in one.lines]


def test_its_spans_hang_below_its_agents_and_count_as_its_agents(tmp_path: Path):
    config = config_of(tmp_path, {"first": {}, "second": THERE}, workflow=["first", "second"])
    trial, workers = run_on_two(config)
    (root,) = [span for span in workers.spans.ended if span.kind == "item"]
    second = next(span for span in workers.spans.ended if span.name == "second")
    (chat,) = [span for span in workers.far_spans.ended if span.kind == "chat"]
    assert (chat.parent_id, chat.trace_id) == (second.span_id, root.trace_id)
    assert [row.calls for row in workers.tally.counts().agents] == [0, 1]
    assert [row.done for row in workers.tally.counts().agents] == [0, 0]  # that is counted where its span ends
    assert trial.line["agents"]["second"]["attempts"] == 1


def test_the_clock_of_the_group_around_it_rests_while_it_queues_over_there(tmp_path: Path):
    agents = {"first": {**THERE, "max_concurrency": 1}}
    config = config_of(tmp_path, agents, workflow=["first"], limits={"item_timeout": "3s"})
    trial, _ = run_on_two(config, *({"n": n} for n in range(6)))
    assert {line["status"] for line in trial.lines} == {"ok"}
    assert trial.seconds > 6


MOST_USD = 0.001
"""What one request of `CAPPED` can cost at most, and this one does."""
CAPPED = {"provider": "mock", "latency": "1s", "reply": "x", "price": {"input": 0, "output": 0, "request": MOST_USD}}


@pytest.mark.parametrize("placed", [{"first"}, {"second", "third"}, {"first", "third"}])
def test_an_item_costs_no_more_than_it_may_wherever_its_steps_are_done(tmp_path: Path, placed: set[str]):
    agents = {name: THERE if name in placed else {} for name in ("first", "second", "third")}
    limits = {"item_max_cost": 2.5 * MOST_USD}
    config = config_of(tmp_path, agents, models={"echo": CAPPED}, workflow=list(agents), limits=limits)
    trial, _ = run_on_two(config)
    assert trial.line["error"]["type"] == "max_cost"
    assert trial.line["cost_usd"] == pytest.approx(2 * MOST_USD)
    assert told(trial.line) == told(run(config).line)


@pytest.mark.parametrize("placed", [{"first", "second", "third"}, {"first", "third"}, {"second"}])
def test_steps_side_by_side_cost_no_more_either(tmp_path: Path, placed: set[str]):
    agents = {
        name: {**(THERE if name in placed else {}), "on_error": "continue"} for name in ("first", "second", "third")
    }
    limits = {"item_max_cost": 2.5 * MOST_USD}
    config = config_of(
        tmp_path,
        agents,
        models={"echo": CAPPED},
        groups={"all": {"parallel": list(agents)}},
        workflow=["all"],
        limits=limits,
    )
    trial, _ = run_on_two(config, *({"n": n} for n in range(5)))
    for line in trial.lines:
        assert line["cost_usd"] == pytest.approx(2 * MOST_USD)
        assert sorted(line["agents"][name]["status"] for name in agents) == ["error", "ok", "ok"]


def test_what_may_be_billed_over_there_stands_in_the_items_line(tmp_path: Path):
    agents = {"first": {**THERE, "model": "silent", "on_error": "continue"}, "second": {}}
    silent = {"provider": "mock", "latency": "1000s", "timeout": "2s", "retries": 0}
    models = {"echo": CAPPED, "silent": {**silent, "price": {"input": 0, "output": 0, "request": MOST_USD}}}
    limits = {"item_max_cost": 1.5 * MOST_USD}
    config = config_of(tmp_path, agents, models=models, workflow=list(agents), limits=limits)
    trial, _ = run_on_two(config)
    assert trial.line["possibly_billed_usd"] == pytest.approx(MOST_USD)
    assert trial.line["error"]["type"] == "max_cost"  # that attempt counts against what the item may cost
    one = run(config)
    assert (told(trial.line), trial.line["possibly_billed_usd"]) == (told(one.line), one.line["possibly_billed_usd"])


def test_all_counts_of_tokens_travel_back(tmp_path: Path):
    config = config_of(tmp_path, {"first": THERE}, workflow=["first"])
    counts = Usage(1, 2, 3, 4, 5, 6, 7)

    class Counting:
        kind = "chat"

        async def run(self, scope: Scope, visit: Visit) -> Output:
            visit.count(counts, 0.0)
            return Output("done")

    async def main() -> Trial:
        workers = TwoWorkers(config)
        workers.bench.offer("first", Counting())
        return await workers.run(({},), None)

    (ended,) = run_in_fake_time(main()).ended
    assert ended.result.usage == counts


def test_a_step_that_can_not_travel_fails_alone_and_leaves_nothing_open(tmp_path: Path):
    config = config_of(tmp_path, {"first": THERE}, workflow=["first"])
    trial, workers = run_on_two(config, {"odd": (each for each in "abc")})
    assert trial.line["error"]["type"] == "internal"
    assert workers.away._open == {}  # pyright: ignore[reportPrivateUsage]


def test_a_timeout_of_the_item_ends_it_over_there_too_and_what_it_cost_counts(tmp_path: Path):
    agents = {"first": {**THERE, "model": "hanging"}, "before": THERE}
    config = config_of(tmp_path, agents, workflow=["before", "first"], limits={"item_timeout": "10s"})
    trial, _ = run_on_two(config)
    assert (trial.line["status"], trial.line["error"]["type"]) == ("timeout", "timeout")
    assert told(trial.line) == told(run(config).line)
    assert 10 < trial.seconds < 20


def test_a_cancelled_members_spend_over_there_is_counted(tmp_path: Path):
    groups = {"race": {"parallel": ["long", "broken"], "fail_fast": True}, "long": {"sequence": ["quick", "loser"]}}
    agents = {"quick": THERE, "loser": {**THERE, "model": "slow"}, "broken": {"model": "broken_late"}}
    models = {"echo": PRICED, "broken_late": {"provider": "mock", "latency": "3s", "errors": {"content_filter": 1}}}
    config = config_of(tmp_path, agents, models=models, groups=groups, workflow=["race"])
    trial, workers = run_on_two(config)
    assert trial.statuses["loser"] == "cancelled"
    assert trial.line["status"] == "error"
    assert trial.agents["quick"]["cost_usd"] > 0
    assert workers.away.asked == []


def test_a_run_that_stops_takes_no_line_of_what_was_under_way(tmp_path: Path):
    config = config_of(tmp_path, {"first": {**THERE, "model": "hanging"}}, workflow=["first"])

    def stop_soon(control: Control) -> None:
        asyncio.get_running_loop().call_later(2, lambda: control.stop("enough"))

    trial, _ = run_on_two(config, meddle=stop_soon)
    assert trial.ended == []
    assert 2 < trial.seconds < 7.5


@pytest.mark.parametrize("at_once", [False, True])
def test_what_is_cut_over_there_may_be_billed_all_the_same(tmp_path: Path, at_once: bool):
    models = {"hanging": {"provider": "mock", "latency": "1000s", "price": CAPPED["price"]}}
    config = config_of(tmp_path, {"first": {**THERE, "model": "hanging"}}, models=models, workflow=["first"])

    def stop_soon(control: Control) -> None:
        asyncio.get_running_loop().call_later(2, lambda: control.stop("enough", at_once=at_once))

    trial, workers = run_on_two(config, {}, {}, meddle=stop_soon)
    assert trial.ended == []
    assert trial.seconds < (3 if at_once else 8)
    assert workers.near.unfinished_usd == pytest.approx(2 * MOST_USD)


def every_step_error() -> Iterator[type[StepError]]:
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, StepError):
            yield kind


@pytest.mark.parametrize("kind", list(every_step_error()))
def test_every_error_arrives_as_it_was(kind: type[StepError]):
    error = kind("words", http_status=503, retry_after=2.0, retry=True, headers={"a": "b"})
    error.usage = Usage(1, 2, 3)
    again = put_together(taken_apart(error))
    assert type(again) is kind
    assert (str(again), again.__dict__) == ("words", error.__dict__)


def test_a_failed_member_arrives_with_its_failure():
    error = MemberFailed(Failure("server", "down", "writer", 500, 2), "timeout")
    again = put_together(taken_apart(error))
    assert isinstance(again, MemberFailed)
    assert (again.failure, again.status, again.message) == (error.failure, "timeout", "down")


class Method:
    """A method of a worker's handle, which keeps what it is told."""

    def __init__(self, told: list[Chunk]) -> None:
        self._told = told

    async def remote(self, data: bytes) -> None:
        self._told.append(unpacked(data))


class Handle:
    """Stands for Ray's handle of a worker."""

    def __init__(self) -> None:
        self.told: list[Chunk] = []
        self.push = Method(self.told)


def link_to(name: str, placement: Placement | None) -> tuple[Link, list[Chunk]]:
    handle = Handle()
    node = Node(name, "10.0.0.1", name, 2.0, {}, {}, False)
    return Link(name, node, Remote(handle), 10, 0, 5.0, placement), handle.told


async def posted() -> None:
    await asyncio.sleep(0.05)


async def test_a_lost_workers_steps_are_done_by_another_with_what_is_paid():
    pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
    caller, heard = link_to("w1", None)
    one, told_one = link_to("w2", BOX)
    two, told_two = link_to("w3", BOX)
    other, _ = link_to("w4", Placement((), (("GPU", 1.0),)))
    links = [caller, other, one]
    paid = PaidCalls(None)
    desk = ErrandDesk(lambda: links, paid)
    desk.ask(caller, (7, BOX, 3, b"step"))
    await posted()
    assert [chunk.errands for chunk in told_one] == [[("w1", 7, 3, b"step", {})]]
    desk.tell(one, ("w1", 7, "working", None))
    paid.keep([(3, "agent", 1, b"asked", b"answer", 0.001)], lambda: None)
    one.state = "lost"
    links.append(two)
    desk.lose(one)
    await posted()
    assert [chunk.errands for chunk in told_two] == [[("w1", 7, 3, b"step", {("agent", 1): (b"asked", b"answer")})]]
    desk.tell(one, ("w1", 7, "ended", b"too late"))
    desk.tell(two, ("w1", 7, "ended", b"in time"))
    await posted()
    news = [each for chunk in heard for each in chunk.news]
    assert news == [("w1", 7, "working", None), ("w1", 7, "resting", None), ("w1", 7, "ended", b"in time")]


async def test_steps_of_a_lost_item_are_dropped_and_those_without_a_worker_wait():
    pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
    caller, _ = link_to("w1", None)
    server, told_server = link_to("w2", BOX)
    links = [caller]
    desk = ErrandDesk(lambda: links, PaidCalls(None))
    desk.ask(caller, (1, BOX, 0, b"one"))
    desk.ask(caller, (2, BOX, 1, b"two"))
    assert desk.wanted == {BOX}
    desk.drop(caller, 2)
    links.append(server)
    desk.deal()
    assert desk.wanted == set()
    desk.lose(caller)
    await posted()
    assert [[row[:2] for row in chunk.errands] for chunk in told_server] == [[("w1", 1)]]
    assert [chunk.dropped for chunk in told_server] == [[("w1", 1)]]
    assert server.errands == set()


def test_what_a_step_paid_last_goes_to_the_worker_with_the_item(tmp_path: Path):
    config = config_of(tmp_path, {"first": THERE}, workflow=["first"])

    async def main() -> list[Any]:
        workers = TwoWorkers(config)
        workers.away._journal = workers.journal  # pyright: ignore[reportPrivateUsage]
        await workers.run(({},), None)
        pending = workers.journal._pending  # pyright: ignore[reportPrivateUsage]
        assert workers.far_journal._pending == {}  # pyright: ignore[reportPrivateUsage]
        return [(entry.place.path, entry.place.number, json.loads(entry.row()[1])) for entry in pending[0]]

    ((path, number, answer),) = run_in_fake_time(main())
    assert (path, number) == ("first", 1)
    assert answer


async def test_only_a_steps_own_calls_are_handed_over():
    journal = FarJournal(lambda: None)
    for path in ("critic", "critic[1]", "critic2", "refine[2].critic"):
        journal.record(Entry(Place(0, path, 1), lambda: (b"asked", b"answer")))
    assert [row[1] for row in journal.hand_over(0, {"critic", "critic[1]"})] == ["critic", "critic[1]"]
    assert [row[1] for row in journal.hand_over(0, {"critic2", "refine[2].critic"})] == ["critic2", "refine[2].critic"]
    assert journal.hand_over(0, {"critic2"}) == []


async def test_a_step_that_nobody_wants_is_not_done_again_when_its_worker_is_lost():
    pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
    caller, _ = link_to("w1", None)
    one, _ = link_to("w2", BOX)
    two, told_two = link_to("w3", BOX)
    links = [caller, one]
    desk = ErrandDesk(lambda: links, PaidCalls(None))
    desk.ask(caller, (1, BOX, 0, b"one"))
    desk.drop(caller, 1)
    links.append(two)
    one.state = "lost"
    desk.lose(one)
    await posted()
    assert (told_two, two.errands, desk.wanted) == ([], set(), set())
