"""One step, run once for each element of a list: the pages of a document, the sections of a draft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from agentbatch.errors import ConditionFault
from agentbatch.flows.together import together
from agentbatch.items import Output, Result, Scope
from agentbatch.step import MemberFailed, Step, Visit
from agentbatch.templates import Condition

_AT_ONCE = 100
"""Elements of one item in the works; the permits of steps and models bound what really runs."""


@dataclass(frozen=True, slots=True)
class ForEach:
    """Runs `body` per element, as `NAME[1]`, `NAME[2]`, ...; the outputs stand in the order of the list."""

    elements: Condition
    body: Step

    @property
    def kind(self) -> str:
        return "for_each"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Run every element; the first failure ends the others.

        Raises:
            ConditionFault: the expression raised, or gave no list.
            MemberFailed: an element's run failed.
        """
        values = self._values(scope)
        results: list[Result | None] = [None] * len(values)
        waiting = iter(range(len(values)))

        async def worker() -> Result:
            result = Result("ok")
            for index in waiting:
                result = results[index] = await self._one(index, values[index], scope, visit)
                if not result.fine:
                    break
            return result

        workers = [worker() for _ in range(min(_AT_ONCE, len(values)))]
        await together(workers, lambda _, result: not result.fine)
        for result in results:
            if result is not None and not result.fine:
                raise MemberFailed.of(result)
        return Output([result.output for result in results if result is not None])

    def _values(self, scope: Scope) -> list[Any]:
        values = self.elements.value(scope.names)
        if not isinstance(values, list | tuple):
            raise ConditionFault(f"{self.elements.where}: expected a list, got {type(values).__name__}")
        return list(cast("list[Any]", values))

    async def _one(self, index: int, value: Any, scope: Scope, visit: Visit) -> Result:
        return await self.body.numbered(index + 1).invoke(scope.plus("each", {"value": value, "index": index}), visit)
