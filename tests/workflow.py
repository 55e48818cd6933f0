"""Whole configs, run on the mock provider in simulated time; after each run, nothing may be left behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from fake_time import run_in_fake_time
from scripted import SpanList

from agentbatch.config import Config, load
from agentbatch.engines.local import LocalEngine
from agentbatch.items import Item, ItemResult
from agentbatch.limits import Budget
from agentbatch.process.control import Control
from agentbatch.results import encode_result
from agentbatch.trace import Span, Tracer

ECHO = {"provider": "mock", "latency": "1s", "reply": "{{ prompt }}"}
BROKEN = {"provider": "mock", "latency": "1s", "errors": {"content_filter": 1}}
HANGING = {"provider": "mock", "latency": "1000s"}
MODELS = {"echo": ECHO, "slow": {**ECHO, "latency": "5s"}, "broken": BROKEN, "hanging": HANGING}


class Spans(SpanList):
    """Keeps every ended span, and counts those that have begun."""

    begun = 0

    def on_start(self, span: Span) -> None:
        self.begun += 1


@dataclass
class Trial:
    """What came of a run. `seconds` is how long it took by the loop's clock."""

    ended: list[ItemResult]
    spans: Spans
    seconds: float

    @property
    def line(self) -> dict[str, Any]:
        """The only item's result line."""
        (ended,) = self.ended
        return json.loads(encode_result(ended))

    @property
    def lines(self) -> list[dict[str, Any]]:
        """All result lines, in the order of the items."""
        return [json.loads(encode_result(each)) for each in sorted(self.ended, key=lambda each: each.item.index)]

    @property
    def output(self) -> Any:
        return self.line["output"]

    @property
    def agents(self) -> dict[str, Any]:
        return self.line["agents"]

    @property
    def statuses(self) -> dict[str, str]:
        return {path: step["status"] for path, step in self.agents.items()}

    def prompts(self, agent: str) -> list[str]:
        """What the agents of that name asked, in the order of the answers."""
        ids = {span.span_id for span in self.spans.ended if span.name == agent}
        chats = [span for span in self.spans.ended if span.kind == "chat" and span.parent_id in ids]
        return [span.attributes["messages"][-1].content for span in chats]


def config_of(folder: Path, agents: dict[str, Any], **sections: Any) -> Config:
    """A checked config with the models above."""
    models = {**MODELS, **sections.pop("models", {})}
    complete = {name: {"model": "echo", "prompt": name, **agent} for name, agent in agents.items()}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "models": models, "agents": complete, **sections}, sort_keys=False))
    return load(path, environ={})


def run(
    config: Config,
    *inputs: Any,
    meddle: Callable[[Control], None] | None = None,
    within: float = 100_000.0,
) -> Trial:
    """Run one item per input; without inputs one that is an empty record.

    `meddle` is called when the items have begun, and may stop the run, now or later. A run that takes more than
    `within` seconds hangs, and fails.
    """
    return run_in_fake_time(_run(config, inputs or ({},), meddle, within))


async def _run(
    config: Config, inputs: tuple[Any, ...], meddle: Callable[[Control], None] | None, within: float
) -> Trial:
    loop = asyncio.get_running_loop()
    spans, control = Spans(), Control()
    items = iter([Item(str(index + 1), index, fields, index + 1) for index, fields in enumerate(inputs)])
    ended: list[ItemResult] = []
    if meddle is not None:
        loop.call_soon(meddle, control)
    began = loop.time()
    async with LocalEngine(config, tracer=Tracer([spans]), control=control, budget=Budget(None)) as engine:
        async with asyncio.timeout(within):
            await engine.run(lambda: next(items, None), ended.append)
        seconds = loop.time() - began
        check_nothing_left(engine)
    assert spans.begun == len(spans.ended)
    return Trial(ended, spans, seconds)


def check_nothing_left(engine: LocalEngine) -> None:
    """No permit is in use, nobody waits, and no task but this one is alive."""
    workshop = engine._workshop
    for limiter in [*workshop.limiters, *(endpoint.limiter for endpoint in workshop.endpoints.values())]:
        for queue in (limiter.permits, limiter.rpm, limiter.tpm):
            assert queue is None or all(waiter[-1].done() for waiter in queue._waiting)
        assert limiter.permits is None or limiter.permits.in_use == 0, limiter.owner
    assert asyncio.all_tasks() == {asyncio.current_task()}
