"""Hand over to another step when one fails, or when its answer is not good enough."""

from __future__ import annotations

from dataclasses import dataclass

from agentbatch.errors import StepError
from agentbatch.items import Output, Scope
from agentbatch.step import MemberFailed, Runnable, Step, Visit
from agentbatch.templates import Condition


@dataclass(frozen=True, slots=True)
class WithFallback:
    """A step and those that take over, in order. `when` also replaces good answers for which it holds.

    The first answer that is good enough wins; if there is none, the last answer there was, else the last error.
    """

    inner: Runnable
    others: tuple[Step, ...]
    when: Condition | None = None

    @property
    def kind(self) -> str:
        return self.inner.kind

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Run the step, and then its replacements for as long as they are needed.

        Raises:
            StepError: nobody gave an answer.
        """
        best: Output | None = None
        error: StepError | None = None
        try:
            best = await self.inner.run(scope, visit)
            if not self._poor(best, scope):
                return best
        except StepError as failed:
            error = failed
        for other in self.others:
            result = await other.invoke(scope, visit)
            if result.status == "skipped":
                continue
            if not result.ok:
                error = MemberFailed.of(result)
                continue
            best, visit.extra["fallback"] = Output(result.output, result.messages), other.name
            if not self._poor(best, scope):
                return best
        if best is not None:
            return best
        assert error is not None
        raise error

    def _poor(self, answer: Output, scope: Scope) -> bool:
        return self.when is not None and self.when.holds(scope.plus("output", answer.value).names)
