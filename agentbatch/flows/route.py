"""One of many ways, by a value: the field's router."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import Field

from agentbatch.assembly import Assembly
from agentbatch.errors import ConditionFault
from agentbatch.flows.aggregate import as_map
from agentbatch.flows.base import GroupConfig, Member
from agentbatch.flows.together import together
from agentbatch.items import Output, Result, Scope
from agentbatch.settings import ConditionText, Settings, StepName
from agentbatch.step import MemberFailed, Step, Visit
from agentbatch.templates import Condition


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


@dataclass(frozen=True, slots=True)
class RouteFlow:
    """Steps by value."""

    value: Condition | None
    router: Step | None
    cases: Mapping[str, tuple[Step, ...]]
    default: tuple[Step, ...] | None
    kind: str = "route"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Find the way and take it.

        Raises:
            ConditionFault: the expression raised, or no case fits and there is no default.
            MemberFailed: the router, or a step on the way, failed.
        """
        value, scope = await self._value(scope, visit)
        steps = self._steps(value, visit)
        visit.extra["route"] = str(value)[:200]
        ended = [each for each in await together([step.invoke(scope, visit) for step in steps]) if each is not None]
        for result in ended:
            if not result.fine:
                raise MemberFailed.of(result)
        if len(ended) == 1:
            return Output(ended[0].output, ended[0].messages, skipped=ended[0].status == "skipped")
        return Output(as_map(ended))

    async def _value(self, scope: Scope, visit: Visit) -> tuple[Any, Scope]:
        if self.value is not None:
            return self.value.value(scope.names), scope
        assert self.router is not None
        result: Result = await self.router.invoke(scope, visit)
        if not result.fine:
            raise MemberFailed.of(result)
        return result.output, scope.after(result)

    def _steps(self, value: Any, visit: Visit) -> tuple[Step, ...]:
        values = cast("list[Any]", value) if isinstance(value, list) and value else [value]
        found: dict[str, Step] = {}
        for each in values:
            steps = self.cases.get(_key(each), self.default)
            if steps is None:
                known = ", ".join(sorted(self.cases))
                raise ConditionFault(
                    f"route {visit.name}: no case for {str(each)[:100]!r}, and no default; cases: {known}"
                )
            found |= {step.name: step for step in steps}
        return tuple(found.values())


def _key(value: Any) -> str:
    """A value as cases are compared: models like to write `Bug.` for `bug`."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.strip().strip("\"'`").removesuffix(".").casefold()


def build(config: RouteConfig, name: str, assembly: Assembly) -> RouteFlow:
    """The flow that `config` describes."""
    router = config.route.agent if isinstance(config.route, RouterConfig) else None
    expression = config.route if isinstance(config.route, str) else None

    def steps(members: Member | list[Member]) -> tuple[Step, ...]:
        return assembly.steps(members if isinstance(members, list) else [members])

    return RouteFlow(
        value=None if expression is None else Condition(expression, where=f"groups.{name}.route"),
        router=None if router is None else assembly.steps([router])[0],
        cases={_key(value): steps(members) for value, members in config.cases.items()},
        default=None if config.default is None else steps(config.default),
    )
