"""What the configs of all agent kinds share."""

from __future__ import annotations

from agentbatch.settings import Duration, PositiveInt, Settings


class AgentConfig(Settings):
    """One agent. Its limits come on top of its model's, which belong to the endpoint."""

    description: str = ""
    """For people, and for a supervisor that has this agent as a tool."""
    timeout: Duration | None = None
    """How long the agent may work on one item, retries included. Waiting for a permit does not count."""
    max_concurrency: PositiveInt | None = None
    """How many items this agent serves at once."""
