"""The engine of one process: how its workers begin."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from workflow import config_of

from agentbatch.engines.local import LocalEngine
from agentbatch.items import Item
from agentbatch.limits import Budget
from agentbatch.process.control import Control
from agentbatch.trace import Tracer

ITEMS = 4_000


async def test_thousands_of_workers_begin_some_in_each_turn_of_the_loop(tmp_path: Path) -> None:
    config = config_of(
        tmp_path,
        {"x": {"model": "quick"}},
        models={"quick": {"provider": "mock", "max_concurrency": ITEMS}},
        limits={"max_concurrency": ITEMS},
    )
    loop, turn = asyncio.get_running_loop(), 0
    begun: Counter[int] = Counter()
    workers = set[object]()
    left = iter([Item(str(number), number, {}) for number in range(ITEMS)])

    def next_turn() -> None:
        nonlocal turn, ticking
        turn += 1
        ticking = loop.call_soon(next_turn)

    def take() -> Item | None:
        worker = asyncio.current_task()
        begun[turn] += worker not in workers
        workers.add(worker)
        return next(left, None)

    ticking = loop.call_soon(next_turn)
    async with LocalEngine(config, tracer=Tracer(), control=Control(), budget=Budget(None)) as engine:
        await engine.run(take, lambda ended: None)
    ticking.cancel()
    assert len(workers) > 64, "each item that begins lets another one begin"
    assert max(begun.values()) <= 50
