"""What the configs of all agent kinds share."""

from __future__ import annotations

from pydantic import Field

from agentbatch.checks.config import CheckConfig
from agentbatch.placement import Placement, PlacementConfig
from agentbatch.settings import Name
from agentbatch.step_config import StepConfig


class AgentConfig(StepConfig):
    """One agent. Its limits come on top of its model's, which belong to the endpoint."""

    checks: dict[Name, CheckConfig] = Field(default_factory=dict[Name, CheckConfig])
    """Checks of its answers, by name. A failed check changes nothing about the item: see `thresholds`."""
    placement: PlacementConfig | None = None
    """On which nodes of a Ray cluster the agent runs: `{disk: ssd, resources: {GPU: 1}}` names labels that a node was
    started with (`ray start --labels`), and what a process that runs it has to itself. On one machine it is ignored."""

    @property
    def placed(self) -> Placement | None:
        """The placement as plain data; None where it asks for nothing."""
        found = None if self.placement is None else Placement.of(self.placement)
        return found if found is not None and (found.labels or found.resources) else None
