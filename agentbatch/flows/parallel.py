"""Every member at once; the group's policy says what their failures mean, and how their outputs become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from agentbatch.assembly import Assembly
from agentbatch.errors import ConditionFault
from agentbatch.flows.aggregate import Vote, as_list, as_map, as_text, best
from agentbatch.flows.base import GroupConfig, Member
from agentbatch.flows.setters import check_setters
from agentbatch.flows.together import together
from agentbatch.items import Output, Result, Scope
from agentbatch.record import record
from agentbatch.settings import ConditionText, PositiveInt, Settings, StepName
from agentbatch.step import MemberFailed, Step, Visit
from agentbatch.templates import Condition
from agentbatch.text.figures import counted


class QuorumConfig(Settings):
    """So many members must succeed."""

    quorum: PositiveInt


class JudgeConfig(Settings):
    """An agent that sees every member's output and makes one of them."""

    agent: StepName


class BestConfig(Settings):
    """The output with the highest score."""

    best: ConditionText
    """The score: a number made of the member's `output`, such as `output.score` or `output | length`; `name` and
    `status` are the member's, too. Of several with the highest one the first declared wins."""


class BallotConfig(Settings):
    """What is voted on."""

    by: ConditionText | None = None
    """An expression over the member's `output`, such as `output.label`. Default: the whole output."""
    normalise: bool = True
    """Compare texts without case and outer white space."""


class VoteConfig(Settings):
    """The most frequent answer."""

    vote: BallotConfig


Aggregate = Literal["map", "list", "concat", "first", "vote"] | JudgeConfig | BestConfig | VoteConfig


class ParallelConfig(GroupConfig):
    """Members that run at once, each with its own status and output."""

    parallel: list[Member] = Field(min_length=1)
    """Agents, groups, `{agent: NAME, copies: N}`, or groups written in place."""
    success: Literal["all", "any"] | QuorumConfig = "all"
    """How many members must succeed for the group to be ok. `all` and `any` are of those that `when` does not skip."""
    fail_fast: bool = False
    """Cancel the other members as soon as the group can no longer succeed."""
    aggregate: Aggregate = "map"
    """The group's output: outputs by name, in a list, joined as text, of the first to succeed (the rest are cancelled),
    the most frequent one, the one with the highest score, or what an agent makes of them."""
    separator: str = "\n\n"
    """What stands between outputs joined by `concat`."""


@record
class ParallelFlow:
    """Members that run at once. `needed` of them must succeed; None stands for all that are not skipped."""

    members: tuple[Step, ...]
    needed: int | None = None
    fail_fast: bool = False
    aggregate: Literal["map", "list", "concat", "first"] | Vote | Condition | Step = "map"
    """A condition is the score of the best one, a step the judge."""
    separator: str = "\n\n"
    kind: str = "parallel"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Run every member, then make one output of theirs.

        Raises:
            MemberFailed: fewer than `needed` members succeeded, or the judge failed.
            ConditionFault: a vote's or a score's expression failed, or two members set the same value.
        """
        ended: list[Result] = []

        def enough(_: int, result: Result) -> bool:
            ended.append(result)
            return (self.aggregate == "first" and result.ok) or (self.fail_fast and self._is_lost(ended))

        watched = self.fail_fast or self.aggregate == "first"
        found = await together([member.invoke(scope, visit) for member in self.members], enough if watched else None)
        results = [
            result or Result("cancelled", name=member.label) for member, result in zip(self.members, found, strict=True)
        ]
        if all(result.status == "skipped" for result in results):
            return Output(None, skipped=True)
        self._check(results)
        if self.aggregate == "first":
            return _first(ended, visit)
        check_setters(results)
        return await self._made_of(results, scope, visit)

    def _is_lost(self, ended: Sequence[Result]) -> bool:
        """Whether the group can no longer succeed."""
        failed = sum(not result.fine for result in ended)
        if self.needed is None:
            return failed > 0
        skipped = sum(result.status == "skipped" for result in ended)
        return len(self.members) - failed - skipped < self.needed

    def _check(self, results: Sequence[Result]) -> None:
        good = sum(result.ok or result.tolerated for result in results)
        skipped = sum(result.status == "skipped" for result in results)
        needed = len(results) - skipped if self.needed is None else self.needed
        if good >= needed:
            return
        told = f"{good} of {counted(len(results), 'member')} succeeded, {needed} must"
        failed = [result for result in results if not result.fine and result.status != "cancelled"]
        if not failed:  # a quorum that those skipped are missing from
            raise ConditionFault(f"{told}: {skipped} were skipped")
        first = MemberFailed.of(failed[0])
        raise MemberFailed(replace(first.failure, message=f"{told}: {first.failure.message}"), first.status)

    async def _made_of(self, results: Sequence[Result], scope: Scope, visit: Visit) -> Output:
        if isinstance(self.aggregate, Step):
            verdict = await self.aggregate.invoke(scope.after(*results).plus("members", results), visit)
            if not verdict.fine:
                raise MemberFailed.of(verdict)
            return Output(verdict.output, verdict.messages)
        if isinstance(self.aggregate, Vote):
            value, visit.extra["vote"] = self.aggregate.of(results, scope.after(*results))
        elif isinstance(self.aggregate, Condition):
            value, visit.extra["best"] = best(results, self.aggregate, scope.after(*results))
        elif self.aggregate == "concat":
            value = as_text(results, self.separator)
        else:
            value = as_list(results) if self.aggregate == "list" else as_map(results)
        return Output(value)


def _first(ended: Sequence[Result], visit: Visit) -> Output:
    """The output of the first to succeed; where none did and that is tolerated, a default."""
    winner = next((result for result in ended if result.ok), None)
    winner = winner or next((result for result in ended if result.output is not None), None)
    if winner is None:
        return Output(None)
    visit.extra["first"] = winner.name
    visit.sets = dict(winner.sets)
    return Output(winner.output, winner.messages)


def build(config: ParallelConfig, name: str, assembly: Assembly) -> ParallelFlow:
    """The flow that `config` describes."""
    members = assembly.members(config.parallel)
    return ParallelFlow(
        members=members,
        needed=_needed(config),
        fail_fast=config.fail_fast,
        aggregate=_aggregate(config.aggregate, name, assembly),
        separator=config.separator,
    )


def _needed(config: ParallelConfig) -> int | None:
    if isinstance(config.success, QuorumConfig):
        return config.success.quorum
    return 1 if config.success == "any" or config.aggregate == "first" else None


def _aggregate(config: Aggregate, name: str, assembly: Assembly) -> Any:
    where = f"{name}.aggregate"
    match config:
        case JudgeConfig():
            return assembly.steps([config.agent])[0]
        case BestConfig():
            return Condition(config.best, where=f"{where}.best")
        case VoteConfig():
            by = config.vote.by
            return Vote(None if by is None else Condition(by, where=f"{where}.vote.by"), config.vote.normalise)
        case "vote":
            return Vote()
        case _:
            return config
