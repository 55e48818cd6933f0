"""`agentbatch` with a heartbeat on its event loop: at the end, on stderr, how long the loop was away at worst.

The CPU time of the loop's thread between two beats says it on a machine that does other work, too: what others took
counts in the wall time only.

    python with_heartbeat.py run config.yaml inputs.jsonl
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from time import perf_counter, thread_time
from typing import Any

from agentbatch.__main__ import main
from agentbatch.process import event_loop

EVERY_S = 0.01


class Heartbeat:
    """Beats every 10 ms, and remembers the longest time between two beats."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    async def around(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await `work`, and beat meanwhile."""
        beating = asyncio.create_task(self._beat())
        try:
            return await work
        finally:
            beating.cancel()

    async def _beat(self) -> None:
        while True:
            wall, cpu = perf_counter(), thread_time()
            await asyncio.sleep(EVERY_S)
            self.wall = max(self.wall, perf_counter() - wall - EVERY_S)
            self.cpu = max(self.cpu, thread_time() - cpu)


if __name__ == "__main__":
    heart, run_loop = Heartbeat(), event_loop.run_loop
    event_loop.run_loop = lambda work: run_loop(heart.around(work))
    try:
        main()
    finally:
        wall, cpu = heart.wall * 1000, heart.cpu * 1000
        print(f"longest stall of the event loop: {wall:.0f} ms, of CPU {cpu:.0f} ms", file=sys.stderr)
