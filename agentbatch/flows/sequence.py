"""One step after the other; each sees the outputs of those before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from agentbatch.assembly import Assembly
from agentbatch.flows.base import GroupConfig, MemberConfig
from agentbatch.items import Output, Result, Scope
from agentbatch.settings import StepName
from agentbatch.step import MemberFailed, Step, Visit


class SequenceConfig(GroupConfig):
    """Steps in order. The group's output is the last step's."""

    sequence: list[StepName | MemberConfig | GroupConfig] = Field(min_length=1)
    """Agents, groups, or groups written in place."""
    on_error: Literal["stop", "continue"] = "stop"
    """What a failed step does to those after it."""


@dataclass(frozen=True, slots=True)
class SequenceFlow:
    """Steps in order."""

    steps: tuple[Step, ...]
    keep_going: bool = False
    kind: str = "sequence"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Run each step with the outputs of those before it.

        Raises:
            MemberFailed: a step failed; at the first with `stop`, after the last with `continue`.
        """
        failed: Result | None = None
        last: Result | None = None
        for step in self.steps:
            result = await step.invoke(scope, visit)
            scope = scope.after(result)
            if result.status == "skipped":
                continue
            last = result
            if not result.ok:
                failed = failed or result
                if not self.keep_going:
                    break
        if failed is not None:
            raise MemberFailed.of(failed)
        return Output(None) if last is None else Output(last.output, last.messages)


def build(config: SequenceConfig, name: str, assembly: Assembly) -> SequenceFlow:
    """The flow that `config` describes."""
    return SequenceFlow(assembly.steps(config.sequence), keep_going=config.on_error == "continue")
