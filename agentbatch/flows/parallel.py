"""Every member at once; the group's policy says what their failures mean, and how their outputs become one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from agentbatch.assembly import Assembly
from agentbatch.flows.aggregate import as_list, as_map, as_text, vote
from agentbatch.flows.base import GroupConfig, Member
from agentbatch.flows.together import together
from agentbatch.items import Output, Result, Scope
from agentbatch.settings import PositiveInt, Settings, StepName
from agentbatch.step import MemberFailed, Step, Visit


class QuorumConfig(Settings):
    """So many members must succeed."""

    quorum: PositiveInt


class JudgeConfig(Settings):
    """An agent that sees every member's output and makes one of them."""

    agent: StepName


class ParallelConfig(GroupConfig):
    """Members that run at once, each with its own status and output."""

    parallel: list[Member] = Field(min_length=1)
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


@dataclass(frozen=True, slots=True)
class ParallelFlow:
    """Members that run at once. `needed` of them must succeed."""

    members: tuple[Step, ...]
    needed: int
    fail_fast: bool = False
    aggregate: str = "map"
    separator: str = "\n\n"
    judge: Step | None = None
    kind: str = "parallel"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Run every member, then make one output of theirs.

        Raises:
            MemberFailed: fewer than `needed` members succeeded.
        """
        ended: list[Result] = []

        def enough(_: int, result: Result) -> bool:
            ended.append(result)
            if result.ok and self.aggregate == "first":
                return True
            failed = sum(not each.fine for each in ended)
            return self.fail_fast and len(self.members) - failed < self.needed

        await together([member.invoke(scope, visit) for member in self.members], enough)
        results = list(visit.steps.values())
        self._check(results)
        return await self._output(results, ended, scope, visit)

    def _check(self, results: list[Result]) -> None:
        ok = sum(result.ok or result.tolerated for result in results)
        skipped = sum(result.status == "skipped" for result in results)
        if ok >= min(self.needed, len(results) - skipped):
            return
        failed = [result for result in results if not result.fine and result.status != "cancelled"]
        first = MemberFailed.of(failed[0] if failed else results[0])
        text = f"{ok} of {len(results)} members succeeded, {self.needed} must: {first.failure.message}"
        raise MemberFailed(replace(first.failure, message=text), first.status)

    async def _output(self, results: list[Result], ended: list[Result], scope: Scope, visit: Visit) -> Output:
        if self.judge is not None:
            names = scope.after(*results).plus("members", results)
            verdict = await self.judge.invoke(names, visit)
            if not verdict.fine:
                raise MemberFailed.of(verdict)
            return Output(verdict.output, verdict.messages)
        if self.aggregate == "first":
            return Output(next((result.output for result in ended if result.ok), None))
        if self.aggregate == "vote":
            value, visit.extra["vote"] = vote(results)
            return Output(value)
        if self.aggregate == "concat":
            return Output(as_text(results, self.separator))
        return Output(as_list(results) if self.aggregate == "list" else as_map(results))


def build(config: ParallelConfig, name: str, assembly: Assembly) -> ParallelFlow:
    """The flow that `config` describes."""
    members = assembly.steps(config.parallel)
    judge = config.aggregate.agent if isinstance(config.aggregate, JudgeConfig) else None
    return ParallelFlow(
        members=members,
        needed=_needed(config, len(members)),
        fail_fast=config.fail_fast,
        aggregate="judge" if isinstance(config.aggregate, JudgeConfig) else config.aggregate,
        separator=config.separator,
        judge=None if judge is None else assembly.steps([judge])[0],
    )


def _needed(config: ParallelConfig, members: int) -> int:
    if isinstance(config.success, QuorumConfig):
        return min(config.success.quorum, members)
    return 1 if config.success == "any" or config.aggregate == "first" else members
