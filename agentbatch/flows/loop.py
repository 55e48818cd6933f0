"""Steps again and again, until a condition holds or the bound is reached."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agentbatch.assembly import Assembly
from agentbatch.errors import ConditionFault
from agentbatch.flows.base import GroupConfig, Member
from agentbatch.flows.sequence import SequenceFlow
from agentbatch.items import Output, Result, Scope
from agentbatch.record import record
from agentbatch.settings import ConditionText, EarlierStep, PositiveInt
from agentbatch.step import MemberFailed, Step, Visit
from agentbatch.templates import Condition


class LoopConfig(GroupConfig):
    """Iterations of a sequence. Its steps and conditions see the latest outputs by name, `loop.index` (from 1), and all
    ended iterations as `loop.history`: `loop.history[-1].critic.output`."""

    loop: list[Member] = Field(min_length=1)
    """The steps of one iteration, in order."""
    until: ConditionText | None = None
    """Looked at after each iteration: end when it holds."""
    while_: ConditionText | None = Field(default=None, alias="while")
    """Looked at before each iteration: go on only if it holds."""
    max_iterations: PositiveInt
    """The bound. Without `until` and `while` the loop runs so often."""
    on_max: Literal["ok", "error"] = "ok"
    """What it means to reach the bound while the condition still asks for more."""
    collect: Literal["last", "all"] = "last"
    """The loop's output: the last iteration's, or the list of all."""
    output: EarlierStep | None = None
    """The step whose output is the iteration's. Default: the last step."""


@record
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
            ConditionFault: a condition raised, or at the bound it asks for more and that is to be an error.
        """
        ended: list[Result] = []
        history: list[dict[str, Result]] = []
        while self._goes_on(scope, len(ended) + 1, history):
            if len(ended) == self.max_iterations:
                self._at_max(visit)
                break
            visit.extra["iterations"] = len(ended) + 1
            result = await self._iterate(len(ended) + 1, _seen(scope, len(ended) + 1, history), visit)
            ended.append(result)
            history.append(scope.below(result)[0])
            scope = scope.after(result)
        return self._output(ended)

    def _goes_on(self, scope: Scope, number: int, history: list[dict[str, Result]]) -> bool:
        """Whether there is to be an iteration of this number, whatever the bound."""
        if history and self.until is not None and self.until.holds(_seen(scope, number - 1, history).names):
            return False
        return self.while_ is None or self.while_.holds(_seen(scope, number, history).names)

    def _at_max(self, visit: Visit) -> None:
        if not (self.until or self.while_):
            return
        visit.extra["at_max"] = True
        if self.fail_at_max:
            raise ConditionFault(
                f"loop {visit.name}: its condition still asks for more after {self.max_iterations} iterations"
            )

    async def _iterate(self, number: int, scope: Scope, visit: Visit) -> Result:
        step = Step(visit.name, self.body, "group", number=number, is_part=True)
        result = await step.invoke(scope, visit)
        if not result.fine:
            raise MemberFailed.of(result)
        return result

    def _output(self, ended: list[Result]) -> Output:
        if self.collect_all:
            return Output([result.output for result in ended], skipped=not ended)
        last = next((result for result in reversed(ended) if result.status != "skipped"), None)
        return Output(None, skipped=True) if last is None else Output(last.output, last.messages)


def _seen(scope: Scope, index: int, history: list[dict[str, Result]]) -> Scope:
    """What iteration `index`, and the conditions before and after it, see."""
    return scope.plus("loop", {"index": index, "history": history})


def build(config: LoopConfig, name: str, assembly: Assembly) -> LoopFlow:
    """The flow that `config` describes."""
    where = f"groups.{name}"
    return LoopFlow(
        body=SequenceFlow(assembly.steps(config.loop), output=config.output, kind="iteration"),
        max_iterations=config.max_iterations,
        until=None if config.until is None else Condition(config.until, where=f"{where}.until"),
        while_=None if config.while_ is None else Condition(config.while_, where=f"{where}.while"),
        fail_at_max=config.on_max == "error",
        collect_all=config.collect == "all",
    )
