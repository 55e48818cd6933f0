"""One step after the other; each sees the outputs of those before it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentbatch.flows.base import GroupConfig, MemberConfig


class SequenceConfig(GroupConfig):
    """Steps in order. The group's output is the last step's."""

    sequence: list[str | MemberConfig | GroupConfig] = Field(min_length=1)
    """Agents, groups, or groups written in place."""
    on_error: Literal["stop", "continue"] = "stop"
    """What a failed step does to those after it."""
