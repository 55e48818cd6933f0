"""Order and parallelism from who refers to whom: each step starts the moment what it reads is there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pydantic import Field

from agentbatch.assembly import Assembly
from agentbatch.errors import RunStopped
from agentbatch.flows.base import GroupConfig, Member
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
    """`needs[i]` are the positions of the steps that step i waits for."""

    steps: tuple[Step, ...]
    needs: tuple[frozenset[int], ...]
    output: str | None = None
    kind: str = "graph"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Run every step as soon as those it needs have ended. Those that need a failed one are skipped.

        Raises:
            MemberFailed: a step failed.
        """
        ended: list[asyncio.Future[Result]] = [asyncio.get_running_loop().create_future() for _ in self.steps]

        async def one(position: int) -> Result:
            try:
                before = [await ended[need] for need in sorted(self.needs[position])]
                if all(result.fine for result in before):
                    result = await self.steps[position].invoke(scope.after(*self._seen(position, ended)), visit)
                else:
                    result = self.steps[position].skip(visit)
            except RunStopped as error:  # those that wait for this step have nothing to wait for
                ended[position].set_exception(error)
                ended[position].exception()
                raise
            ended[position].set_result(result)
            return result

        results = [each for each in await together([one(n) for n in range(len(self.steps))]) if each is not None]
        for result in results:
            if not result.fine:
                raise MemberFailed.of(result)
        return self._output(results)

    def _seen(self, position: int, ended: list[asyncio.Future[Result]]) -> list[Result]:
        """Results of all steps before this one, near and far, in declared order."""
        before: set[int] = set()
        waiting = list(self.needs[position])
        while waiting:
            need = waiting.pop()
            if need not in before:
                before.add(need)
                waiting += self.needs[need]
        return [ended[need].result() for need in sorted(before)]

    def _output(self, results: list[Result]) -> Output:
        if self.output is not None:
            chosen = next((result for result in results if result.name == self.output), None)
            return Output(None) if chosen is None else Output(chosen.output, chosen.messages)
        needed = frozenset[int]().union(*self.needs)
        last = [result for position, result in enumerate(results) if position not in needed]
        if len(last) == 1:
            return Output(last[0].output, last[0].messages)
        return Output({result.name: result.output for result in last})


def build(config: GraphConfig, name: str, assembly: Assembly) -> GraphFlow:
    """The flow that `config` describes."""
    return GraphFlow(assembly.steps(config.graph), assembly.needs(config.graph, name), config.output)
