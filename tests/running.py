"""Whole configs, run for real: on the clock on the wall, with real processes, files and sockets."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Protocol

from agentbatch.config import Config
from agentbatch.engines.local import LocalEngine
from agentbatch.items import Item, ItemResult
from agentbatch.kept.stores import Stores
from agentbatch.limits import Budget
from agentbatch.process.control import Control
from agentbatch.results.artifacts import ArtifactFolder
from agentbatch.results.encode import encode_result
from agentbatch.trace import Tracer


class LineOf(Protocol):
    """Runs one item and gives its result line."""

    def __call__(self, config: Config, fields: Any = None) -> Awaitable[dict[str, Any]]: ...


async def run_here(config: Config, *inputs: Any, artifacts: Path | None = None) -> list[dict[str, Any]]:
    """The result lines of one item per input, in the order of the items.."""
    items = iter([Item(str(index + 1), index, fields, index + 1) for index, fields in enumerate(inputs)])
    ended: list[ItemResult] = []
    control = Control()
    stores = Stores() if artifacts is None else Stores(artifacts=ArtifactFolder(artifacts))
    async with LocalEngine(config, tracer=Tracer(), control=control, budget=Budget(None), stores=stores) as engine:
        async with asyncio.timeout(60):
            await engine.run(lambda: next(items, None), ended.append)
    return [json.loads(encode_result(each)) for each in sorted(ended, key=lambda each: each.item.index)]


def forget_modules(folder: Path) -> None:
    """Take back what importing modules from a test's folder did to this process."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None and Path(file).is_relative_to(folder):
            del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if entry != str(folder)]
