"""The mock model alone, as often as it is told to: prints microseconds of CPU per call."""

from __future__ import annotations

import asyncio
import sys
import time

from agentbatch.messages import ChatRequest, Message
from agentbatch.models.mock import MockConfig, MockModel


async def main(calls: int) -> None:
    """Ask about the same things as the benchmark's prompts."""
    model = MockModel(MockConfig(provider="mock", latency=0.0))
    began = time.process_time()
    for n in range(calls):
        await model.chat(ChatRequest((Message("user", f"Describe lamp number {n} for EU."),)))
    print(f"{(time.process_time() - began) / calls * 1e6:.2f}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
