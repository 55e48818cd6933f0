"""One item through one agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import LineOf, forget_modules, run_here

from agentbatch.config import Config


@pytest.fixture
def line_of() -> LineOf:
    async def run_one(config: Config, fields: Any = None) -> dict[str, Any]:
        (line,) = await run_here(config, {} if fields is None else fields)
        return line

    return run_one


@pytest.fixture(autouse=True)
def _no_module_stays(tmp_path: Path) -> Iterator[None]:
    yield
    forget_modules(tmp_path)
