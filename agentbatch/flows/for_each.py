"""One step, run once for each element of a list: the pages of a document, the sections of a draft."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from agentbatch.errors import ConditionFault
from agentbatch.flows.setters import check_setters
from agentbatch.flows.together import together
from agentbatch.items import Output, Result, Scope
from agentbatch.record import record
from agentbatch.step import MemberFailed, Step, Visit
from agentbatch.templates import Condition
from agentbatch.templates.sandbox import NotRun

_AT_ONCE = 100
"""Elements of one item in the works; the permits of steps and models bound what really runs."""


@record
class ForEach:
    """Runs `body` per element, as `NAME[1]`, `NAME[2]`, ...; the outputs stand in the order of the list."""

    elements: Condition
    body: Step
    kind: str = "for_each"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Run every element. After a failure no new element is begun; those in the works end.

        Raises:
            ConditionFault: the expression raised or gave no list, or two elements set the same value.
            MemberFailed: an element's run failed; of several the first in the list.
        """
        values = self._values(scope)
        if values is None:
            return Output(None, skipped=True)
        results = await self._run_all(values, scope, visit)
        for result in results:
            if not result.fine:
                raise MemberFailed.of(result)
        check_setters(results)
        return Output([result.output for result in results])

    async def _run_all(self, values: list[Any], scope: Scope, visit: Visit) -> list[Result]:
        """The results of the elements that were begun, in order."""
        results: list[Result | None] = [None] * len(values)
        waiting = iter(range(len(values)))
        failed = False

        async def work() -> Result:
            nonlocal failed
            result = Result("ok")
            for index in waiting:
                seen = scope.plus("each", {"value": values[index], "index": index})
                result = results[index] = await self.body.part(index + 1).invoke(seen, visit)
                failed = failed or not result.fine
                if failed:
                    break
            return result

        await together([work() for _ in range(min(_AT_ONCE, len(values)))]) if values else None
        return [result for result in results if result is not None]

    def _values(self, scope: Scope) -> list[Any] | None:
        """The elements; None where what gives the list has been skipped."""
        value = self.elements.value(scope.names)
        if isinstance(value, NotRun):
            return None
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise ConditionFault(f"{self.elements.where}: expected a list, got {_described(value)}")
        try:
            return list(cast("Iterable[Any]", value))
        except Exception as error:  # a filter such as `map` does its work only now
            raise ConditionFault(f"{self.elements.where}: {error}") from error


def _described(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "a text (an agent's answer can be a list if it has an output_schema)"
    return "a mapping: its values are `.values()`" if isinstance(value, Mapping) else f"a {type(value).__name__}"
