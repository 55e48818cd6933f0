"""A step whose answer is checked. What the checks find is told beside the answer, and changes nothing about it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from agentbatch.assembly import Assembly
from agentbatch.checks import KINDS
from agentbatch.checks.base import Check, Verdict
from agentbatch.checks.config import CheckConfig
from agentbatch.checks.judge import Judge
from agentbatch.errors import StepError
from agentbatch.flows.together import together
from agentbatch.items import Output, Scope
from agentbatch.record import record
from agentbatch.step import Runnable, Visit
from agentbatch.templates import Condition


@record
class NamedCheck:
    """A check, or a judge, by its name; `of` says what it looks at, where that is not the whole answer."""

    name: str
    look: Check | Judge
    of: Condition | None = None


@record
class Checked:
    """Runs a step, and then its checks, the judges among them all at once. A failed check is no failed step.

    A step that fails has no answer to check; one that is left out needs none.
    """

    inner: Runnable
    checks: tuple[NamedCheck, ...]

    @property
    def kind(self) -> str:
        return self.inner.kind

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """The step's own output; the verdicts stand in the books of the visit."""
        output = await self.inner.run(scope, visit)
        if not output.skipped:
            seen = scope.after(*visit.steps.values()).plus("output", output.value)
            verdicts = await self._verdicts(output.value, seen, visit)
            visit.extra["checks"] = {check.name: verdicts[check.name].document() for check in self.checks}
        return output

    async def _verdicts(self, output: Any, scope: Scope, visit: Visit) -> dict[str, Verdict]:
        verdicts: dict[str, Verdict] = {}
        judges: list[tuple[str, Judge, Scope]] = []
        for check in self.checks:
            try:
                value = output if check.of is None else check.of.value(scope.names)
                if isinstance(check.look, Judge):
                    judges.append((check.name, check.look, scope.plus("output", value)))
                else:
                    verdicts[check.name] = check.look.look(value, scope.names)
            except StepError as error:
                verdicts[check.name] = Verdict(False, None, error.message)
        results = await together([judge.step.invoke(own, visit) for _, judge, own in judges]) if judges else []
        for (name, judge, own), judged in zip(judges, results, strict=True):
            if judged is not None:
                verdicts[name] = judge.verdict(judged, own.names)
        return verdicts


def with_checks(runnable: Runnable, checks: Mapping[str, CheckConfig], where: str, assembly: Assembly) -> Runnable:
    """The runnable with the checks that its config asks for; as it is where there are none."""
    if not checks:
        return runnable
    named = (_named(name, config, f"{where}.{name}", assembly) for name, config in checks.items())
    return Checked(runnable, tuple(named))


def _named(name: str, config: CheckConfig, where: str, assembly: Assembly) -> NamedCheck:
    look: Check | Judge = import_module(KINDS[config.kind]).build(config, f"{where}.{config.kind}", assembly)
    return NamedCheck(name, look, None if config.of is None else Condition(config.of, where=f"{where}.of"))
