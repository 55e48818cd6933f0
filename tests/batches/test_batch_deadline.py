"""Six hours, on a clock that does not wait: batches as long as there is time, and then the ordinary way."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from batches.desk_clock import run
from batches.scripted_batches import ScriptedBatches, line_of
from scripted import ScriptedModel, endpoint_of, visit_of

from agentbatch.batches.base import BatchState
from agentbatch.batches.config import ProviderBatchConfig
from agentbatch.batches.deadline import keep_deadline
from agentbatch.batches.desk import BatchDesk
from agentbatch.batches.endpoint import BatchedEndpoint
from agentbatch.batches.store import BatchStore
from agentbatch.batches.waiting import WaitingRoom
from agentbatch.endpoints.prices import Tariff, rates
from agentbatch.errors import ServerFault
from agentbatch.limits import Limiter
from agentbatch.messages import ChatRequest, Message
from agentbatch.process.control import Control

HOUR = 3600.0
DOLLAR = Tariff((rates(1e6, 1e6),))
"""A dollar a token: an answer costs 15."""


@dataclass
class Doorway:
    """One model's batches, and nothing else."""

    door: BatchedEndpoint

    @property
    def unanswered(self) -> int:
        return self.door.desk.unanswered

    def seconds_online(self, items: int) -> float:
        return items * self.door.seconds_an_item

    def give_up(self, patience_s: float) -> None:
        self.door.desk.give_up(patience_s)


@dataclass
class Came:
    """How it went. Times in hours."""

    hours: float
    by_batch: int
    online: int
    cost_usd: float
    possibly_usd: float


async def body_of(request: ChatRequest) -> bytes:
    return request.messages[-1].content.encode()


def came(folder: Path, api: ScriptedBatches, items: int, *, deadline: float = 6 * HOUR, **limits: Any) -> Came:
    """So many items, each one request of some 25 tokens, answered within 5 s the ordinary way."""

    async def main() -> Came:
        loop = asyncio.get_running_loop()
        model = ScriptedModel(lambda request, _: f"online {request.messages[-1].content}", latency=4.0)
        control, waiting = Control(), WaitingRoom()
        store = BatchStore(folder / "batches.sqlite")
        config = ProviderBatchConfig()
        desk = BatchDesk("m", api, store, waiting, control, config, asyncio.Lock())
        online = endpoint_of(model, limiter=Limiter("model m", **limits), tariff=DOLLAR, control=control)
        door = BatchedEndpoint(online, desk, waiting, body_of, config)
        began = loop.time()
        visits = [visit_of(index) for index in range(items)]
        asked = [
            asyncio.ensure_future(door.ask(ChatRequest((Message("user", f"q{n}"),)), visit))
            for n, visit in enumerate(visits)
        ]
        watch = asyncio.ensure_future(keep_deadline(Doorway(door), deadline, lambda: sum(not a.done() for a in asked)))
        await asyncio.wait(asked)
        hours = (loop.time() - began) / HOUR
        watch.cancel()
        for each in asked:
            each.result()
        await desk.close()
        store.close()
        assert len(model.asked) == door.sent_online
        cost = sum(visit.cost_usd or 0.0 for visit in visits)
        possibly = sum(visit.of_item.extra.get("possibly_billed_usd", 0.0) for visit in visits)
        return Came(hours, door.answered, door.sent_online, cost, possibly)

    return run(main())


def never(batch: Any, said: BatchState) -> BatchState:
    """It goes on until it is cancelled."""
    return replace(said, ended=batch.cancelled)


def test_what_comes_in_time_costs_half(tmp_path: Path) -> None:
    api = ScriptedBatches(state=lambda batch, said: replace(said, ended=batch.looks > 200))
    seen = came(tmp_path, api, 50, max_concurrency=8)
    assert (seen.by_batch, seen.online, seen.cost_usd) == (50, 0, 50 * 7.5)
    assert 2 < seen.hours < 5


@pytest.mark.parametrize(
    "limits",
    [{"max_concurrency": 4}, {"max_concurrency": 64, "rpm": 10}, {"max_concurrency": 64, "tpm": 3000}],
    ids=str,
)
def test_what_no_batch_brings_in_time_is_cancelled_and_asked_the_ordinary_way(
    tmp_path: Path, limits: dict[str, Any]
) -> None:
    """Half of each batch is answered by then: that is paid once, and not asked again."""
    api = ScriptedBatches(state=never, max_requests=100)
    api.lines = lambda batch: [(key, line_of(key)) for key in batch.keys[::2]]
    seen = came(tmp_path, api, 400, **limits)
    assert (seen.by_batch, seen.online) == (200, 200)
    assert seen.cost_usd == 200 * 7.5 + 200 * 15
    assert seen.possibly_usd == 0
    assert all(batch.cancelled for batch in api.batches)
    assert 3 < seen.hours < 6


def test_a_provider_that_does_not_even_cancel_holds_nobody_up(tmp_path: Path) -> None:
    """Its answers may come and be billed: that stands in the lines."""
    api = ScriptedBatches({"cancel": [ServerFault("down", http_status=500)] * 100_000}, state=never)
    seen = came(tmp_path, api, 100, max_concurrency=8)
    assert (seen.by_batch, seen.online) == (0, 100)
    assert seen.hours < 6
    assert seen.possibly_usd > 100 * 7.5 * 0.1


def test_a_deadline_that_is_too_near_for_a_batch_goes_the_ordinary_way_at_once(tmp_path: Path) -> None:
    api = ScriptedBatches(state=never)
    seen = came(tmp_path, api, 100, deadline=60.0, max_concurrency=8)
    assert seen.online == 100
    assert seen.possibly_usd == 0
