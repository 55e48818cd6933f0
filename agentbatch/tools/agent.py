"""The tool `agent`: another agent, or a group, does the work: a supervisor and its workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentbatch.assembly import Assembly
from agentbatch.errors import ToolFault
from agentbatch.items import Scope
from agentbatch.messages import ToolSpec
from agentbatch.record import record
from agentbatch.settings import StepName
from agentbatch.step import Step, Visit
from agentbatch.tools.base import ToolConfig, with_arguments
from agentbatch.tools.parameters import parameter_schema

PROMPT = {"prompt": {"type": "string", "description": "What to do, with all that is needed to do it."}}


class AgentToolConfig(ToolConfig):
    """An agent or a group as a tool. Its templates see the arguments as `args`, and all that its caller sees."""

    agent: StepName
    """An agent or a group. What it is called with is `args.prompt`, or what `parameters` say."""


@record
class AgentTool:
    """Runs a step for the item at hand. Its result stands among the item's, under the caller's."""

    spec: ToolSpec
    step: Step

    async def call(self, arguments: Mapping[str, Any], scope: Scope, visit: Visit) -> Any:
        """The step's output.

        Raises:
            ToolFault: it failed, or was left out by its condition.
        """
        result = await self.step.invoke(with_arguments(scope, arguments), visit)
        if result.status == "ok" or result.tolerated:
            return result.output
        if result.error is None:
            raise ToolFault(f"{self.step.name} was {result.status}")
        raise ToolFault(f"{self.step.name} failed: {result.error.message}")


def build(config: AgentToolConfig, name: str, assembly: Assembly) -> AgentTool:
    """The tool that `config` describes."""
    parameters = parameter_schema(config.parameters if config.parameters is not None else PROMPT)
    (step,) = assembly.steps([config.agent])
    return AgentTool(ToolSpec(name, config.description or assembly.description(config.agent), parameters), step)
