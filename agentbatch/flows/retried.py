"""Begin a step again after a bad answer."""

from __future__ import annotations

from agentbatch.errors import (
    BadResponse,
    CommandFault,
    ContentFilter,
    FunctionFault,
    MaxTurns,
    Refused,
    SchemaFault,
    StepError,
    ToolFault,
)
from agentbatch.items import Output, Scope
from agentbatch.record import record
from agentbatch.step import MemberFailed, Runnable, Visit

_BAD_ANSWERS = (BadResponse, CommandFault, ContentFilter, FunctionFault, MaxTurns, Refused, SchemaFault, ToolFault)
"""Failures of the answer, not of the way to it: asking once more may give a better one."""


@record
class Retried:
    """A step that is begun again, at most `retries` times, each time as a new draw."""

    inner: Runnable
    retries: int

    @property
    def kind(self) -> str:
        return self.inner.kind

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Run the step until its answer is good.

        Raises:
            StepError: the last try's.
        """
        seed = visit.seed
        for again in range(1, self.retries + 1):
            try:
                return await self.inner.run(scope, visit)
            except StepError as error:
                if not _bad_answer(error):
                    raise
            visit.seed = f"{seed}/again {again}"
            visit.extra["tries"] = again + 1
        return await self.inner.run(scope, visit)


def _bad_answer(error: StepError) -> bool:
    if isinstance(error, MemberFailed):
        return error.failure.type in {each.type for each in _BAD_ANSWERS}
    return isinstance(error, _BAD_ANSWERS)
