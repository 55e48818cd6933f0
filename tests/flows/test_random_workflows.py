"""Any workflow under any limits: it ends, keeps its promises, and comes to what a plain evaluation comes to."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_time import run_in_fake_time
from flows.plain_evaluation import Evaluation
from flows.random_workflows import hurried_workflows, workflows, written
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from workflow import check_nothing_left

from agentbatch.config import Config, load
from agentbatch.engines.local import LocalEngine
from agentbatch.errors import ConfigError
from agentbatch.items import Item, ItemResult, Result
from agentbatch.limits import Budget
from agentbatch.process.control import Control
from agentbatch.trace import Span, Tracer

ITEMS = [{"x": x, "list": list(range(x + 1)), "kind": kind} for x, kind in ((0, "p"), (1, "q"), (2, "z"))]
PHASES = (Phase.explicit, Phase.generate)
FAST = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
THOROUGH = settings(FAST, max_examples=1500)


class Watch:
    """Follows every span from its beginning to its end, and counts what is in flight."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.open: dict[str, Span] = {}
        self.ended: list[Span] = []
        self.live: Counter[tuple[str, str]] = Counter()
        self.peaks: Counter[tuple[str, str]] = Counter()
        self.below: Counter[str] = Counter()

    def on_start(self, span: Span) -> None:
        assert span.span_id not in self.open
        self.open[span.span_id] = span
        self.below[span.parent_id or ""] += 1
        for key in self.keys(span):
            self.live[key] += 1
            self.peaks[key] = max(self.peaks[key], self.live[key])

    def on_work(self, span: Span) -> None: ...

    def on_end(self, span: Span) -> None:
        for key in self.keys(span):
            self.live[key] -= 1
        self.below[span.parent_id or ""] -= 1
        assert self.open.pop(span.span_id) is span
        self.ended.append(span)

    def keys(self, span: Span) -> list[tuple[str, str]]:
        """Whose limits a span counts against, if it is the first, or the last, that does."""
        if span.kind == "item":
            return [("run", "")]
        around = self.open[span.parent_id or ""]
        if span.kind == "chat":
            return [("agent", around.name), ("model", self.config.agents[around.name].model)]  # pyright: ignore
        works = around.kind == "group" and around.attributes["kind"] not in ("iteration", "for_each")
        return [("group", around.name)] if works and self.below[around.span_id] == 1 else []

    def check_limits(self) -> None:
        assert self.peaks["run", ""] <= (self.config.limits.max_concurrency or 10**9)
        for name, agent in self.config.agents.items():
            assert self.peaks["agent", name] <= (agent.max_concurrency or 10**9)
        for name, group in self.config.groups.items():
            if not group.fallback:  # which runs when the group has given its permit back
                assert self.peaks["group", name] <= (group.max_concurrency or 10**9)
        for name, model in self.config.models.items():
            assert self.peaks["model", name] <= int(model.max_concurrency)


def loaded(drawn: dict[str, Any]) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(yaml.safe_dump(written(drawn), sort_keys=False))
        try:
            return load(path, environ={})
        except ConfigError as error:
            assume("these wait for each other" not in str(error))
            raise


def ran(config: Config, meddle: Any = None) -> tuple[list[ItemResult], Watch]:
    async def main() -> tuple[list[ItemResult], Watch]:
        watch, control = Watch(config), Control()
        items = iter([Item(str(index + 1), index, fields, index + 1) for index, fields in enumerate(ITEMS)])
        ended: list[ItemResult] = []
        async with LocalEngine(config, tracer=Tracer([watch]), control=control, budget=Budget(None)) as engine:
            if meddle is not None:
                meddle(control, engine)
            async with asyncio.timeout(100_000):
                await engine.run(lambda: next(items, None), ended.append)
            check_nothing_left(engine)
        assert not watch.open
        return sorted(ended, key=lambda each: each.item.index), watch

    return run_in_fake_time(main())


def flattened(result: Result) -> dict[str, Result]:
    found: dict[str, Result] = {}
    for path, step in result.steps.items():
        assert path not in found
        found[path] = step
        for inner_path, inner in flattened(step).items():
            assert inner_path not in found or inner.left_out or found[inner_path].left_out
            found[inner_path] = inner
    return found


def check_books(ended: ItemResult, watch: Watch) -> None:
    """Every step that began has one final status, the same in the result and in the trace; sums are right."""
    spans = [span for span in watch.ended if span.trace_id == ended.trace_id]
    steps = flattened(ended.result)
    begun = [span for span in spans if span.kind in ("agent", "group")]
    in_trace = Counter(span.attributes["path"] for span in begun if span.status != "skipped")
    assert all(count == 1 for count in in_trace.values())
    for span in begun:
        step = steps[span.attributes["path"]]
        assert step.status == span.status or (span.status == "skipped" and step.status != "skipped")
    assert {path for path, step in steps.items() if step.status != "skipped"} == set(in_trace)
    attempts = sum(1 for span in spans if span.kind == "chat")
    assert ended.result.attempts == ended.result.usage.requests == attempts
    check_sums(ended.result)


def check_sums(result: Result) -> None:
    """A flow spends what its members spend; an agent may have spent something itself before its fallback did."""
    below = sum(step.attempts for step in result.steps.values())
    assert result.attempts == below or (result.kind == "chat" and result.attempts > below)
    for step in result.steps.values():
        check_sums(step)


def prompts(ended: ItemResult, watch: Watch) -> Counter[str]:
    chats = [span for span in watch.ended if span.kind == "chat" and span.trace_id == ended.trace_id]
    return Counter(span.attributes["messages"][-1].content for span in chats if "messages" in span.attributes)


def check_workflow(drawn: dict[str, Any]) -> None:
    config = loaded(drawn)
    ended, watch = ran(config)
    assert [each.item.index for each in ended] == [0, 1, 2]
    watch.check_limits()
    for each, fields in zip(ended, ITEMS, strict=True):
        check_books(each, watch)
        plain = Evaluation(drawn, fields)
        expected = plain.run()
        result = each.result
        assert (result.status, result.error and result.error.type) == (expected.status, expected.error)
        assert result.output == expected.output
        answered = {prompt: count for prompt, count in plain.asked.items() if not is_bad(drawn, prompt)}
        assert prompts(each, watch) == Counter(answered)
        assert result.attempts == sum(plain.asked.values())


def is_bad(drawn: dict[str, Any], prompt: str) -> bool:
    """Whether the agent that asked this never gets an answer."""
    return drawn["agents"][prompt[:2]]["does"] == "bad"


@given(workflows())
@FAST
def test_it_comes_to_what_a_plain_evaluation_comes_to(drawn: dict[str, Any]) -> None:
    check_workflow(drawn)


@pytest.mark.slow
@given(workflows())
@THOROUGH
def test_many_more_of_them(drawn: dict[str, Any]) -> None:
    check_workflow(drawn)


@given(hurried_workflows(), st.floats(0, 20), st.sampled_from(["stop", "stop at once", "abandon"]))
@FAST
def test_whenever_it_is_stopped_nothing_is_left_behind(drawn: dict[str, Any], at: float, how: str) -> None:
    check_stopped(drawn, at, how)


@pytest.mark.slow
@given(hurried_workflows(), st.floats(0, 20), st.sampled_from(["stop", "stop at once", "abandon"]))
@THOROUGH
def test_many_more_of_them_stopped(drawn: dict[str, Any], at: float, how: str) -> None:
    check_stopped(drawn, at, how)


def check_stopped(drawn: dict[str, Any], at: float, how: str) -> None:
    def meddle(control: Control, engine: LocalEngine) -> None:
        loop = asyncio.get_running_loop()
        if how == "abandon":
            loop.call_later(at, engine.abandon)
        else:
            loop.call_later(at, lambda: control.stop("enough", at_once=how != "stop"))

    ended, watch = ran(loaded(drawn), meddle)
    watch.check_limits()
    for each in ended:
        check_books(each, watch)


@given(hurried_workflows(), st.sampled_from([None, 1, 2, 3, 4, 7]))
@FAST
def test_whenever_time_is_up_the_books_are_complete(drawn: dict[str, Any], seconds: int | None) -> None:
    check_hurried(drawn, seconds)


@pytest.mark.slow
@given(hurried_workflows(), st.sampled_from([None, 1, 2, 3, 4, 7]))
@THOROUGH
def test_many_more_of_them_in_a_hurry(drawn: dict[str, Any], seconds: int | None) -> None:
    check_hurried(drawn, seconds)


def check_hurried(drawn: dict[str, Any], seconds: int | None) -> None:
    config = loaded({**drawn, "limits": {**drawn["limits"], **({"item_timeout": seconds} if seconds else {})}})
    ended, watch = ran(config)
    assert len(ended) == len(ITEMS)
    watch.check_limits()
    for each in ended:
        assert "internal" not in {step.error and step.error.type for step in flattened(each.result).values()}
        check_books(each, watch)
