"""Steps again and again, until a condition holds or the bound is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from agentbatch.assembly import Assembly
from agentbatch.errors import ConditionFault
from agentbatch.flows.base import GroupConfig, Member
from agentbatch.flows.sequence import SequenceFlow
from agentbatch.items import Output, Result, Scope
from agentbatch.settings import ConditionText, EarlierStep, PositiveInt
from agentbatch.step import MemberFailed, Step, Visit
from agentbatch.templates import Condition


class LoopConfig(GroupConfig):
    """Iterations of a sequence. Conditions see the current outputs by name, `loop.index` (from 1), and all ended
    iterations as `loop.history`, a list of results by name."""

    loop: list[Member] = Field(min_length=1)
    """The steps of one iteration, in order."""
    until: ConditionText | None = None
    """Looked at after each iteration: end when it holds."""
    while_: ConditionText | None = Field(default=None, alias="while")
    """Looked at before each iteration: go on only if it holds."""
    max_iterations: PositiveInt
    """The bound."""
    on_max: Literal["ok", "error"] = "ok"
    """What it means to reach the bound with `until` still not holding."""
    collect: Literal["last", "all"] = "last"
    """The loop's output: the last iteration's, or the list of all."""
    output: EarlierStep | None = None
    """The step whose output is the iteration's. Default: the last step."""


@dataclass(frozen=True, slots=True)
class LoopFlow:
    """Iterations of `body`, each a step of its own: `NAME[1]`, `NAME[2]`, ..."""

    body: SequenceFlow
    max_iterations: int
    until: Condition | None = None
    while_: Condition | None = None
    fail_at_max: bool = False
    collect_all: bool = False
    kind: str = "loop"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Iterate.

        Raises:
            MemberFailed: a step of an iteration failed.
            ConditionFault: a condition raised, or `until` did not hold at the bound and that is to be an error.
        """
        ended: list[Result] = []
        done = False
        while len(ended) < self.max_iterations and not done:
            scope = scope.plus("loop", {"index": len(ended) + 1, "history": _history(ended)})
            if self.while_ is not None and not self.while_.holds(scope.names):
                done = True
                break
            result = await self._iterate(len(ended) + 1, scope, visit)
            ended.append(result)
            scope = scope.after(result)
            done = self.until is not None and self.until.holds(
                scope.plus("loop", {"index": len(ended), "history": _history(ended)}).names
            )
        visit.extra["iterations"] = len(ended)
        if not done and self.fail_at_max and (self.until or self.while_):
            raise ConditionFault(f"loop {visit.name}: its condition still asks for more after {len(ended)} iterations")
        return self._output(ended)

    async def _iterate(self, number: int, scope: Scope, visit: Visit) -> Result:
        step = Step(f"{visit.name}[{number}]", self.body.as_iteration(), "group", number=number)
        result = await step.invoke(scope, visit)
        if not result.fine:
            raise MemberFailed.of(result)
        return result

    def _output(self, ended: list[Result]) -> Output:
        if self.collect_all:
            return Output([result.output for result in ended])
        return Output(ended[-1].output, ended[-1].messages) if ended else Output(None)


def _history(ended: list[Result]) -> list[dict[str, Any]]:
    return [{step.name: step for step in result.steps.values()} for result in ended]


def build(config: LoopConfig, name: str, assembly: Assembly) -> LoopFlow:
    """The flow that `config` describes."""
    where = f"groups.{name}"
    return LoopFlow(
        body=SequenceFlow(assembly.steps(config.loop), output=config.output),
        max_iterations=config.max_iterations,
        until=None if config.until is None else Condition(config.until, where=f"{where}.until"),
        while_=None if config.while_ is None else Condition(config.while_, where=f"{where}.while"),
        fail_at_max=config.on_max == "error",
        collect_all=config.collect == "all",
    )
