"""The driver's books of workers' finished calls, when their file fails."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

from agentbatch.engines.ray.paid_calls import PaidCalls
from agentbatch.errors import OutputError
from agentbatch.kept.journal import JournalFile


async def test_a_journal_that_fails_is_told_once_and_nothing_else_is_said(tmp_path: Path):
    loop = asyncio.get_running_loop()
    told: asyncio.Future[OutputError] = loop.create_future()
    said: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: said.append(context))
    path = tmp_path / "there is no such folder" / "calls.sqlite"
    journal = JournalFile(path, told.set_result)
    paid = PaidCalls(journal)
    paid.keep([(0, "first", 1, b"asked", b"answer", 0.0)], lambda: said.append({"message": "kept"}))
    async with asyncio.timeout(20):
        assert isinstance(await told, OutputError)
    for _ in range(5):  # until those that waited for the journal are gone
        await asyncio.sleep(0)
    gc.collect()
    assert said == []
    journal.close(complete=False)
