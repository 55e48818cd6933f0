"""Order and parallelism from who refers to whom: each step starts the moment what it reads is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from graphlib import TopologicalSorter

from pydantic import Field

from agentbatch.assembly import Assembly
from agentbatch.flows.aggregate import as_map
from agentbatch.flows.base import GroupConfig, Member
from agentbatch.flows.sequence import chosen
from agentbatch.flows.setters import check_setters
from agentbatch.flows.together import Crew
from agentbatch.items import Output, Result, Scope
from agentbatch.record import record
from agentbatch.settings import EarlierStep
from agentbatch.step import MemberFailed, Step, Visit


class GraphConfig(GroupConfig):
    """Steps whose order follows from their templates and conditions, and from `needs`."""

    graph: list[Member] = Field(min_length=1)
    """Agents, groups, or groups written in place, in any order."""
    output: EarlierStep | None = None
    """The step whose output is the graph's. Default: that of the one step nobody waits for; of several, a map."""


@record
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
    after: tuple[tuple[int, ...], ...] = field(init=False)
    """For each step, those that wait for it."""

    def __post_init__(self) -> None:
        needs = {position: sorted(need) for position, need in enumerate(self.needs)}
        object.__setattr__(self, "order", tuple(TopologicalSorter(needs).static_order()))
        object.__setattr__(self, "before", _before(self.needs, self.order))
        object.__setattr__(self, "after", _after(self.needs))

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Run every step as soon as those it needs have ended. Those that need a failed one are left out.

        Raises:
            MemberFailed: a step failed.
            ConditionFault: two steps of which neither waits for the other set the same value.
        """
        results = await _Walk(self, scope, visit).run()
        self._sort(visit, results)
        for result in results:
            if not result.fine:
                raise MemberFailed.of(result)
        check_setters(results, lambda one, other: one in self.before[other] or other in self.before[one])
        return self._output(scope, results)

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


class _Walk:
    """One item's way through a graph: each step, when it has ended, goes on with one that now waits for nothing more,
    and starts a task for every other one of those."""

    def __init__(self, flow: GraphFlow, scope: Scope, visit: Visit) -> None:
        self._flow = flow
        self._scope = scope
        self._visit = visit
        self._crew = Crew()
        self._left = [len(needs) for needs in flow.needs]
        self._ended: dict[int, Result] = {}

    async def run(self) -> list[Result]:
        """The results of all steps."""
        first, *others = [position for position, left in enumerate(self._left) if not left]
        for position in others:
            self._crew.start(self._go(position))
        await self._crew.join(self._go(first))
        return [self._ended[position] for position in range(len(self._left))]

    async def _go(self, position: int) -> None:
        while True:
            self._ended[position] = await self._one(position)
            ready = [after for after in self._flow.after[position] if self._is_last_for(after)]
            if not ready:
                return
            for other in ready[1:]:
                self._crew.start(self._go(other))
            position = ready[0]

    def _is_last_for(self, position: int) -> bool:
        self._left[position] -= 1
        return not self._left[position]

    async def _one(self, position: int) -> Result:
        """Run a step, or leave it out where one that it needs has failed or was left out itself."""
        step = self._flow.steps[position]
        needed = [self._ended[need] for need in self._flow.needs[position]]
        if not all(result.fine and not result.left_out for result in needed):
            return step.skip(self._visit)
        seen = [self._ended[each] for each in self._flow.before[position]]
        return await step.invoke(self._scope.after(*seen) if seen else self._scope, self._visit)


def _after(needs: Sequence[frozenset[int]]) -> tuple[tuple[int, ...], ...]:
    """For each position those that need it."""
    return tuple(tuple(at for at, need in enumerate(needs) if position in need) for position in range(len(needs)))


def _before(needs: Sequence[frozenset[int]], order: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """For each position all that must come before it, in `order`."""
    found: dict[int, set[int]] = {}
    for position in order:
        found[position] = set(needs[position]).union(*(found[need] for need in needs[position]))
    return tuple(tuple(each for each in order if each in found[position]) for position in range(len(needs)))


def build(config: GraphConfig, name: str, assembly: Assembly) -> GraphFlow:
    """The flow that `config` describes."""
    return GraphFlow(assembly.members(config.graph), assembly.needs(config.graph, name), config.output)
