"""One step after the other; each sees the outputs of those before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from agentbatch.assembly import Assembly
from agentbatch.flows.base import GroupConfig, Member
from agentbatch.items import Output, Result, Scope
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


@dataclass(frozen=True, slots=True)
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
        for step in self.steps:
            result = await step.invoke(scope, visit)
            scope = scope.after(result)
            if not result.fine:
                failed = failed or result
                if not self.keep_going:
                    break
        if failed is not None:
            raise MemberFailed.of(failed)
        return self._output(scope, visit)

    def as_iteration(self) -> SequenceFlow:
        """The same as the body of a loop."""
        return replace(self, kind="iteration")

    def _output(self, scope: Scope, visit: Visit) -> Output:
        if self.output is not None:
            chosen = scope.names[self.output]
            return Output(chosen.output, chosen.messages) if isinstance(chosen, Result) else Output(None)
        ran = [result for result in visit.steps.values() if result.status != "skipped"]
        return Output(ran[-1].output, ran[-1].messages) if ran else Output(None)


def build(config: SequenceConfig, name: str, assembly: Assembly) -> SequenceFlow:
    """The flow that `config` describes."""
    return SequenceFlow(assembly.steps(config.sequence), config.on_error == "continue", config.output)
