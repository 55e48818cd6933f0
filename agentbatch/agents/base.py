"""What the configs of all agent kinds share."""

from __future__ import annotations

from agentbatch.step_config import StepConfig


class AgentConfig(StepConfig):
    """One agent. Its limits come on top of its model's, which belong to the endpoint."""
