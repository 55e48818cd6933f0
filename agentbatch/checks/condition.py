"""`condition`: an expression that must hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentbatch.assembly import Assembly
from agentbatch.checks.base import Verdict
from agentbatch.checks.config import CheckConfig
from agentbatch.record import record
from agentbatch.templates import Condition


@record
class Holds:
    """Computes the expression, which sees what is checked as `output`."""

    condition: Condition
    source: str

    def look(self, value: Any, names: Mapping[str, Any]) -> Verdict:
        """Passed if it is true."""
        return Verdict.of(self.condition.holds({**names, "output": value}), f"does not hold: {self.source}")


def build(config: CheckConfig, where: str, assembly: Assembly) -> Holds:
    """The check that `config` describes."""
    source = config.condition or ""
    return Holds(Condition(source, where=where), source)
