"""Every member at once; the group's policy says what their failures mean, and how their outputs become one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentbatch.flows.base import GroupConfig, MemberConfig
from agentbatch.settings import PositiveInt, Settings


class QuorumConfig(Settings):
    """So many members must succeed."""

    quorum: PositiveInt


class JudgeConfig(Settings):
    """An agent that sees every member's output and makes one of them."""

    agent: str


class ParallelConfig(GroupConfig):
    """Members that run at once, each with its own status and output."""

    parallel: list[str | MemberConfig | GroupConfig] = Field(min_length=1)
    """Agents, groups, `{agent: NAME, copies: N}`, or groups written in place."""
    success: Literal["all", "any"] | QuorumConfig = "all"
    """How many members must succeed for the group to be ok."""
    fail_fast: bool = False
    """Cancel the other members as soon as the group can no longer succeed."""
    aggregate: Literal["map", "list", "concat", "first", "vote"] | JudgeConfig = "map"
    """The group's output: outputs by name, in a list, joined as text, of the first to succeed (the rest are cancelled),
    the most frequent one, or what an agent makes of them."""
    separator: str = "\n\n"
    """What stands between outputs joined by `concat`."""
