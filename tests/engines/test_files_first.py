"""Files that come with a batch are at home before anything is made of the batch, and hold up nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, cast

from agentbatch.engines.ray.cluster import Node
from agentbatch.engines.ray.link import Link
from agentbatch.engines.ray.parcels import Batch, PieceRow, packed


class OneBatch:
    """A worker that has one thing to say, and files with it."""

    async def call(self, method: str, *arguments: object, timeout: float) -> bytes:
        return packed(Batch(1, [], [], [], 0, [], [], files=[("1/coder/a.txt", b"a")], over=True))


async def test_files_are_written_beside_the_loop_and_before_their_batch_counts():
    node = Node("n", "10.0.0.1", "n", 2.0, {}, {}, False)
    link = Link("w1", node, cast("Any", OneBatch()), 10, 6, 5.0)
    begun, may_end, told = threading.Event(), threading.Event(), list[str]()

    def write(files: Sequence[PieceRow]) -> None:
        begun.set()
        told.append("written" if may_end.wait(20) else "the loop was blocked")

    listening = asyncio.create_task(link.listen(lambda *_: told.append("counted"), write))
    async with asyncio.timeout(20):
        while not begun.is_set():
            await asyncio.sleep(0.001)
        may_end.set()
        await listening
    assert told == ["written", "counted"]
    assert link.state == "over"
