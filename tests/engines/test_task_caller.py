"""The caller of a function that runs as a task of Ray's, with something else in Ray's place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from engines.station_terms import assignment

from agentbatch.engines.ray.tasks import TaskCaller, Tasks
from agentbatch.placement import ONE_CORE, Placement

pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")


class SlowTasks(Tasks):
    """Takes its time to begin a task."""

    def __init__(self) -> None:
        self.asked, self.may_begin = threading.Event(), threading.Event()
        self.loop = asyncio.get_running_loop()
        self.withdrawn = self.loop.create_future()

    def begin(self, function: str, placement: Placement, arguments: Mapping[str, Any]) -> Any:
        self.asked.set()
        assert self.may_begin.wait(20)
        return "the reference"

    def cancel(self, reference: Any) -> None:
        self.withdrawn.set_result(reference)


async def test_a_call_that_is_cancelled_while_it_begins_ends_its_task():
    tasks = SlowTasks()
    call = asyncio.create_task(TaskCaller(tasks, "mine:work", ONE_CORE, 1).call({}))
    assert await asyncio.to_thread(tasks.asked.wait, 20)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not tasks.withdrawn.done()
    tasks.may_begin.set()
    async with asyncio.timeout(20):
        assert await tasks.withdrawn == "the reference"


class CountingTasks(Tasks):
    """Counts what it asks Ray for."""

    functions = calls = 0

    def _remote(self, placement: Placement) -> Any:
        self.functions += 1
        return self

    def remote(self, *arguments: object) -> str:
        self.calls += 1
        return "the reference"


def test_all_calls_of_one_placement_are_of_one_function_of_rays(tmp_path: Path):
    tasks, fast = CountingTasks(assignment(tmp_path), "", []), Placement((("disk", "ssd"),), ())
    for name in ("mine:work", "mine:other"):
        for placement in (None, fast):
            caller = tasks.caller(name, placement)
            for _ in range(3):
                tasks.begin(name, caller.placement, {})
    assert (tasks.functions, tasks.calls) == (2, 12)
