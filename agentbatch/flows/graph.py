"""Order and parallelism from who refers to whom: each step starts the moment what it reads is there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from pydantic import Field

from agentbatch.assembly import Assembly
from agentbatch.errors import RunStopped
from agentbatch.flows.aggregate import as_map
from agentbatch.flows.base import GroupConfig, Member
from agentbatch.flows.sequence import chosen
from agentbatch.flows.setters import check_setters
from agentbatch.flows.together import together
from agentbatch.items import Output, Result, Scope
from agentbatch.settings import EarlierStep
from agentbatch.step import MemberFailed, Step, Visit


class GraphConfig(GroupConfig):
    """Steps whose order follows from their templates and conditions, and from `needs`."""

    graph: list[Member] = Field(min_length=1)
    """Agents, groups, or groups written in place, in any order."""
    output: EarlierStep | None = None
    """The step whose output is the graph's. Default: that of the one step nobody waits for; of several, a map."""


@dataclass(frozen=True, slots=True)
class GraphFlow:
    """`needs[i]` are the positions of the steps that step i waits for; there is no circle in them."""

    steps: tuple[Step, ...]
    needs: tuple[frozenset[int], ...]
    output: str | None = None
    kind: str = "graph"
    order: tuple[int, ...] = field(init=False)
    """An order the steps can run in."""
    before: tuple[tuple[int, ...], ...] = field(init=False)
    """For each step, those before it, near and far, in that order."""

    def __post_init__(self) -> None:
        needs = {position: sorted(need) for position, need in enumerate(self.needs)}
        object.__setattr__(self, "order", tuple(TopologicalSorter(needs).static_order()))
        object.__setattr__(self, "before", _before(self.needs, self.order))

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Run every step as soon as those it needs have ended. Those that need a failed one are left out.

        Raises:
            MemberFailed: a step failed.
            ConditionFault: two steps of which neither waits for the other set the same value.
        """
        loop = asyncio.get_running_loop()
        ended: list[asyncio.Future[Result]] = [loop.create_future() for _ in self.steps]

        async def one(position: int) -> Result:
            try:
                result = await self._one(position, ended, scope, visit)
            except RunStopped as error:  # those that wait for this step have nothing to wait for
                ended[position].set_exception(error)
                ended[position].exception()
                raise
            ended[position].set_result(result)
            return result

        found = await together([one(position) for position in range(len(self.steps))])
        results = [result for result in found if result is not None]
        self._sort(visit, results)
        for result in results:
            if not result.fine:
                raise MemberFailed.of(result)
        check_setters(results, lambda one, other: one in self.before[other] or other in self.before[one])
        return self._output(scope, results)

    async def _one(self, position: int, ended: list[asyncio.Future[Result]], scope: Scope, visit: Visit) -> Result:
        """Wait for what a step needs, then run it, or leave it out."""
        step, ready = self.steps[position], True
        for need in self.needs[position]:
            result = await ended[need]
            ready = ready and result.fine and not result.left_out
        if not ready:
            return step.skip(visit)
        seen = [ended[each].result() for each in self.before[position]]
        return await step.invoke(scope.after(*seen) if seen else scope, visit)

    def _sort(self, visit: Visit, results: list[Result]) -> None:
        """Put the results in the order of the graph: what later steps see of a name must not depend on who is quick."""
        paths = {id(step): path for path, step in visit.steps.items()}
        for position in self.order:
            path = paths.get(id(results[position]))
            if path is not None:
                visit.steps[path] = visit.steps.pop(path)

    def _output(self, scope: Scope, results: list[Result]) -> Output:
        if all(result.status == "skipped" for result in results):
            return Output(None, skipped=True)
        if self.output is not None:
            return chosen(self.output, scope.after(*results))
        needed = frozenset[int]().union(*self.needs)
        last = [result for position, result in enumerate(results) if position not in needed]
        if len(last) == 1:
            return Output(last[0].output, last[0].messages)
        return Output(as_map(last))


def _before(needs: Sequence[frozenset[int]], order: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """For each position all that must come before it, in `order`."""
    found: dict[int, set[int]] = {}
    for position in order:
        found[position] = set(needs[position]).union(*(found[need] for need in needs[position]))
    return tuple(tuple(each for each in order if each in found[position]) for position in range(len(needs)))


def build(config: GraphConfig, name: str, assembly: Assembly) -> GraphFlow:
    """The flow that `config` describes."""
    return GraphFlow(assembly.members(config.graph), assembly.needs(config.graph, name), config.output)
