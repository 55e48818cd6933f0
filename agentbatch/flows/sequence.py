"""One step after the other; each sees the outputs of those before it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentbatch.assembly import Assembly
from agentbatch.flows.base import GroupConfig, Member
from agentbatch.items import Output, Result, Scope
from agentbatch.record import record
from agentbatch.settings import EarlierStep
from agentbatch.step import MemberFailed, Step, Visit
from agentbatch.step_config import DefaultConfig


class SequenceConfig(GroupConfig):
    """Steps in order."""

    sequence: list[Member] = Field(min_length=1)
    """Agents, groups, or groups written in place."""
    on_error: Literal["fail", "stop", "continue"] | DefaultConfig = "fail"  # pyright: ignore[reportIncompatibleVariableOverride]  # frozen
    """`stop` (or `fail`): a failed step ends the sequence. `continue`: the steps after it run all the same; the
    sequence has failed nevertheless."""
    output: EarlierStep | None = None
    """The step whose output is the sequence's. Default: the last."""


@record
class SequenceFlow:
    """Steps in order. `output` names the step whose output counts; None stands for the last that was not skipped."""

    steps: tuple[Step, ...]
    keep_going: bool = False
    output: str | None = None
    kind: str = "sequence"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Run each step with the outputs of those before it.

        Raises:
            MemberFailed: a step failed; at the first, or with `keep_going` after the last.
        """
        failed: Result | None = None
        last: Result | None = None
        for position, step in enumerate(self.steps):
            result = await step.invoke(scope, visit)
            scope = scope.after(result)
            if result.status != "skipped":
                last = result
            if not result.fine:
                failed = failed or result
                if not self.keep_going:
                    self._leave_out(position + 1, visit)
                    break
        if failed is not None:
            raise MemberFailed.of(failed)
        if last is None:
            return Output(None, skipped=True)
        return Output(last.output, last.messages) if self.output is None else chosen(self.output, scope)

    def _leave_out(self, position: int, visit: Visit) -> None:
        for step in self.steps[position:]:
            step.skip(visit)


def chosen(name: str, scope: Scope) -> Output:
    """What the step of that name gave last; nothing where it has not run."""
    result = scope.names.get(name)
    if not isinstance(result, Result) or result.status == "skipped":
        return Output(None)
    return Output(None if result.output is scope.absent else result.output, result.messages)


def build(config: SequenceConfig, name: str, assembly: Assembly) -> SequenceFlow:
    """The flow that `config` describes."""
    return SequenceFlow(assembly.steps(config.sequence), config.on_error == "continue", config.output)
