"""Items with large inputs: how many of them are sent to a worker at once, and how many are on the way."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from agentbatch.engines.ray.backlog import Backlog
from agentbatch.engines.ray.cluster import Node
from agentbatch.engines.ray.link import Link
from agentbatch.engines.ray.parcels import Chunk
from agentbatch.items import Item


def items_of(count: int, fields: Any) -> list[Item]:
    return [Item(n, n, fields, n + 1) for n in range(count)]


def sizes(items: list[Item]) -> list[int]:
    """How many items each chunk has, of 64 at most."""
    waiting = iter(items)
    backlog = Backlog(lambda: next(waiting, None), lambda: None)
    found: list[int] = []
    while chunk := backlog.next(64):
        found.append(len(chunk))
    return found


def test_a_chunk_has_about_a_megabyte_of_inputs_and_an_item_at_least():
    assert sizes(items_of(130, {"text": "small"})) == [64, 64, 2]
    assert sizes(items_of(10, {"text": ["x" * 200_000, {"more": "y" * 100_000}]})) == [4, 4, 2]
    assert sizes(items_of(3, "x" * 5_000_000)) == [1, 1, 1]


def test_what_comes_back_is_measured_too():
    backlog = Backlog(lambda: None, lambda: None)
    backlog.give_back(items_of(3, "x" * 600_000))
    assert [len(backlog.next(64)), len(backlog.next(64))] == [2, 1]


class SlowRemote:
    """A worker that takes what it is sent when it may."""

    def __init__(self) -> None:
        self.may_take = asyncio.Event()

    async def call(self, method: str, *arguments: object, timeout: float) -> None:
        await self.may_take.wait()


async def test_a_worker_is_sent_no_more_while_a_megabyte_is_on_the_way():
    remote, arrived = SlowRemote(), asyncio.Event()
    node = Node("n", "10.0.0.1", "n", 2.0, {}, {}, False)
    link = Link("w1", node, cast("Any", remote), 10, 6, 5.0)
    first, second = items_of(2, "x" * 600_000)
    link.push(Chunk([first]), lambda: None)
    assert link.room == 15
    link.push(Chunk([second]), arrived.set)
    assert link.room == 0
    remote.may_take.set()
    async with asyncio.timeout(20):
        await arrived.wait()
    assert link.room == 14
