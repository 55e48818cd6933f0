"""What the configs of all groups share."""

from __future__ import annotations

from agentbatch.settings import Duration, Name, PositiveInt, Settings, StepName


class MemberConfig(Settings):
    """A member that is more than a name: several copies of one agent."""

    agent: StepName
    """An agent or a group."""
    copies: PositiveInt = 1
    """How many run side by side, as `NAME[1]`, `NAME[2]`, ..."""


class GroupConfig(Settings):
    """A flow over agents and other groups."""

    name: Name | None = None
    """Only for a group written in place, inside another: how its results are called. Default: its kind."""
    description: str = ""
    """For people, and for a supervisor that has this group as a tool."""
    timeout: Duration | None = None
    """How long the group may work on one item. Waiting for a permit does not count."""
    max_concurrency: PositiveInt | None = None
    """How many items are in this group at once."""
