"""One of two ways, by a condition."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from agentbatch.assembly import Assembly
from agentbatch.flows.base import GroupConfig, Member
from agentbatch.items import Output, Scope
from agentbatch.settings import ConditionText
from agentbatch.step import MemberFailed, Step, Visit
from agentbatch.templates import Condition


class ConditionConfig(GroupConfig):
    """`when` it holds, `then` one step; `else`, if there is one, another."""

    when: ConditionText  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]  # frozen
    """The condition. If it raises, the item fails: it is neither true nor false."""
    then: Member
    """What runs if it holds."""
    else_: Member | None = Field(default=None, alias="else")
    """What runs if it does not. Default: nothing; the group is skipped."""


@dataclass(frozen=True, slots=True)
class ConditionFlow:
    """One of two steps."""

    condition: Condition
    then: Step
    otherwise: Step | None
    kind: str = "condition"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Run the step that the condition asks for.

        Raises:
            ConditionFault: the condition raised.
            MemberFailed: that step failed.
        """
        step = self.then if self.condition.holds(scope.names) else self.otherwise
        if step is None:
            return Output(None, skipped=True)
        result = await step.invoke(scope, visit)
        if not result.fine:
            raise MemberFailed.of(result)
        return Output(result.output, result.messages, skipped=result.status == "skipped")


def build(config: ConditionConfig, name: str, assembly: Assembly) -> ConditionFlow:
    """The flow that `config` describes."""
    return ConditionFlow(
        condition=Condition(config.when, where=f"groups.{name}.when"),
        then=assembly.steps([config.then])[0],
        otherwise=None if config.else_ is None else assembly.steps([config.else_])[0],
    )
