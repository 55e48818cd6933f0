"""What the configs of all agent kinds share."""

from __future__ import annotations

from pydantic import Field

from agentbatch.checks.config import CheckConfig
from agentbatch.settings import Name
from agentbatch.step_config import StepConfig


class AgentConfig(StepConfig):
    """One agent. Its limits come on top of its model's, which belong to the endpoint."""

    checks: dict[Name, CheckConfig] = Field(default_factory=dict[Name, CheckConfig])
    """Checks of its answers, by name. A failed check changes nothing about the item: see `thresholds`."""
