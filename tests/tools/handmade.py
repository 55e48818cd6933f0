"""Tools made by hand, and an agent that has them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentbatch.items import Scope
from agentbatch.limits import Limiter
from agentbatch.messages import ToolSpec
from agentbatch.step import Visit
from agentbatch.tools.offer import Offer, ToolTerms
from agentbatch.tools.parameters import parameter_schema


@dataclass
class HandmadeTool:
    """Does what `does` says, after so many seconds; keeps what it was called with."""

    name: str = "look"
    does: Callable[[Mapping[str, Any]], Any] = lambda arguments: arguments.get("q", "seen")
    seconds: float = 0.0
    parameters: dict[str, Any] = field(default_factory=lambda: {"q": "string?"})
    calls: list[dict[str, Any]] = field(default_factory=list)
    running: int = 0
    peak: int = 0
    cut: int = 0

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(self.name, f"The tool {self.name}.", parameter_schema(self.parameters))

    async def call(self, arguments: Mapping[str, Any], scope: Scope, visit: Visit) -> Any:
        self.calls.append(dict(arguments))
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await asyncio.sleep(arguments.get("seconds", self.seconds))
        except asyncio.CancelledError:
            self.cut += 1
            raise
        finally:
            self.running -= 1
        return self.does(arguments)


def offer_of(tool: HandmadeTool, *, at_once: int | None = None, **terms: Any) -> Offer:
    """The tool on these terms."""
    return Offer(tool, ToolTerms(Limiter(f"tool {tool.name}", max_concurrency=at_once), **terms))
