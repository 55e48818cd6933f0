"""One of many ways, by a value: the field's router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pydantic import Field

from agentbatch.assembly import Assembly
from agentbatch.errors import ConditionFault
from agentbatch.flows.aggregate import as_map
from agentbatch.flows.base import GroupConfig, Member
from agentbatch.flows.setters import check_setters
from agentbatch.flows.together import together
from agentbatch.items import Output, Scope
from agentbatch.record import record
from agentbatch.settings import ConditionText, Settings, StepName
from agentbatch.step import MemberFailed, Step, Visit
from agentbatch.templates import Condition

_SHOWN = 200
"""Characters of a value that are shown."""


class RouterConfig(Settings):
    """An agent whose answer is the way."""

    agent: StepName


class RouteConfig(GroupConfig):
    """The case whose name is the value. A value that is a list takes several ways at once."""

    route: ConditionText | RouterConfig
    """An expression, such as `classify.output.kind`, or `{agent: NAME}`: that agent's answer."""
    cases: dict[str, Member | list[Member]] = Field(min_length=1)
    """Steps by value; a list of steps runs at once. Case, outer white space and a final full stop don't matter."""
    default: Member | list[Member] | None = None
    """What runs for any other value. Without it another value is an error of the item."""


@record
class RouteFlow:
    """Steps by value. Its entry in the books says which way was taken; those of other values have none."""

    value: Condition | Step
    """An expression, or the router."""
    cases: Mapping[str, tuple[Step, ...]]
    default: tuple[Step, ...] | None = None
    kind: str = "route"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Find the way and take it.

        Raises:
            ConditionFault: the expression raised, or no case fits and there is no default.
            MemberFailed: the router, or a step on the way, failed.
        """
        value, scope = await self._value(scope, visit)
        visit.extra["route"] = _shown(value)
        steps = self._steps(value, visit)
        if len(steps) == 1:
            ended = [await steps[0].invoke(scope, visit)]
        else:
            found = await together([step.invoke(scope, visit) for step in steps])
            ended = [result for result in found if result is not None]
        for result in ended:
            if not result.fine:
                raise MemberFailed.of(result)
        check_setters(ended)
        if len(ended) == 1:
            return Output(ended[0].output, ended[0].messages, skipped=ended[0].status == "skipped")
        return Output(as_map(ended), skipped=all(result.status == "skipped" for result in ended))

    async def _value(self, scope: Scope, visit: Visit) -> tuple[Any, Scope]:
        if isinstance(self.value, Condition):
            return self.value.value(scope.names), scope
        result = await self.value.invoke(scope, visit)
        if not result.fine:
            raise MemberFailed.of(result)
        return result.output, scope.after(result)

    def _steps(self, value: Any, visit: Visit) -> list[Step]:
        values: list[Any] = cast("list[Any]", value) if isinstance(value, list) and value else [value]
        found: dict[int, Step] = {}
        for each in values:
            steps = self.cases.get(case_key(each), self.default)
            if steps is None:
                known = ", ".join(sorted(self.cases))
                raise ConditionFault(
                    f"route {visit.name}: no case for {_shown(each)!r}, and no default; cases: {known}"
                )
            found |= {id(step): step for step in steps}
        return list(found.values())


def case_key(value: Any) -> str:
    """A value as cases are compared: models like to write `Bug.` for `bug`."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value).strip().strip("\"'`").removesuffix(".").casefold()


def _shown(value: Any) -> str:
    """A value in the books and in messages."""
    return case_key(value) if value is None or isinstance(value, bool) else str(value)[:_SHOWN]


def build(config: RouteConfig, name: str, assembly: Assembly) -> RouteFlow:
    """The flow that `config` describes."""

    def steps(members: Member | list[Member]) -> tuple[Step, ...]:
        return assembly.steps(members if isinstance(members, list) else [members])

    if isinstance(config.route, RouterConfig):
        value = assembly.steps([config.route.agent])[0]
    else:
        value = Condition(config.route, where=f"groups.{name}.route")
    return RouteFlow(
        value=value,
        cases={case_key(case): steps(members) for case, members in config.cases.items()},
        default=None if config.default is None else steps(config.default),
    )
