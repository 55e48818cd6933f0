"""One of two ways, by a condition."""

from __future__ import annotations

from pydantic import Field

from agentbatch.assembly import Assembly
from agentbatch.flows.base import GroupConfig, Member
from agentbatch.items import Output, Scope
from agentbatch.record import record
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


@record
class ConditionFlow:
    """One of two steps. The other one is left out: what it gave before, if it did, stays."""

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
        holds = visit.extra["when"] = self.condition.holds(scope.names)
        taken, other = (self.then, self.otherwise) if holds else (self.otherwise, self.then)
        result = None if taken is None else await taken.invoke(scope, visit)
        if other is not None and other is not taken:
            other.skip(visit)
        if result is None:
            return Output(None, skipped=True)
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
