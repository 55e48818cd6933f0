"""What the configs of all groups share."""

from __future__ import annotations

from agentbatch.settings import Name, PositiveInt, Settings, StepName
from agentbatch.step_config import StepConfig


class MemberConfig(Settings):
    """A member that is more than a name: several copies of one agent."""

    agent: StepName
    """An agent or a group."""
    copies: PositiveInt = 1
    """How many run side by side, as `NAME[1]`, `NAME[2]`, ..."""


class GroupConfig(StepConfig):
    """A flow over agents and other groups."""

    name: Name | None = None
    """Only for a group written in place, inside another: how its results are called. Default: its kind."""


Member = StepName | MemberConfig | GroupConfig
"""An agent or a group by name, copies of one, or a group written in place."""
