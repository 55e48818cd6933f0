"""The waits of `tools-react` in a bare loop: prints seconds, and microseconds of CPU per turn."""

from __future__ import annotations

import asyncio
import sys
import time

_AT_ONCE = 200


async def tool() -> None:
    await asyncio.sleep(0.02)


async def item(permits: asyncio.Semaphore) -> None:
    async with permits:
        for _ in range(3):
            await asyncio.sleep(0.05)
            await asyncio.gather(*(tool() for _ in range(4)))
        await asyncio.sleep(0.05)


async def main(items: int) -> None:
    """All items, so many at once."""
    permits = asyncio.Semaphore(_AT_ONCE)
    began, worked = time.perf_counter(), time.process_time()
    await asyncio.gather(*(item(permits) for _ in range(items)))
    cpu = time.process_time() - worked
    print(f"{time.perf_counter() - began:.3f} {cpu / (items * 4) * 1e6:.2f}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
