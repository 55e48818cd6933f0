"""Hand over to another step when one fails, or when its answer is not good enough."""

from __future__ import annotations

from typing import Any, TypeGuard

from agentbatch.errors import StepError
from agentbatch.items import Output, Scope
from agentbatch.record import record
from agentbatch.step import MemberFailed, Runnable, Step, Visit
from agentbatch.templates import Condition


@record
class WithFallback:
    """A step and those that take over, in order. `when` also replaces good answers for which it holds.

    The first answer that is good enough wins; if there is none, the last answer there was, else the last error. The
    last step's answer is not asked about: nobody would take over.
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
            ConditionFault: `when` raised.
            StepError: nobody gave an answer.
        """
        last: Output | StepError
        try:
            last = await self.inner.run(scope, visit)
        except StepError as error:
            last = error
        visit.extra["replaced"] = _told(last)  # before `when` is asked, which may raise: the answer was paid
        if self._is_good(last, scope):
            del visit.extra["replaced"]
            return last
        for other in self.others:
            result = await other.invoke(scope, visit)
            if result.ok or (result.tolerated and result.output is not None):
                last, visit.extra["fallback"] = Output(result.output, result.messages), other.label
                if other is self.others[-1] or self._is_good(last, scope):
                    break
            elif result.status != "skipped" and isinstance(last, StepError):
                last = MemberFailed.of(result)
        if isinstance(last, StepError):
            raise last
        if "fallback" not in visit.extra:
            del visit.extra["replaced"]
        return last

    def _is_good(self, last: Output | StepError, scope: Scope) -> TypeGuard[Output]:
        if isinstance(last, StepError):
            return False
        return last.skipped or self.when is None or not self.when.holds(scope.plus("output", last.value).names)


def _told(replaced: Output | StepError) -> dict[str, Any]:
    """What was replaced, for the books: an answer that was paid, or an error."""
    if isinstance(replaced, Output):
        return {"output": replaced.value}
    if isinstance(replaced, MemberFailed):
        return {"error": {"type": replaced.failure.type, "message": replaced.failure.message}}
    return {"error": {"type": replaced.type, "message": replaced.message}}
