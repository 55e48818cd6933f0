"""The hook at an item's end: a wrapper around the whole workflow."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from agentbatch.errors import HookFault, Refused, StepError
from agentbatch.hooks import ItemEnd
from agentbatch.hooks.calling import Hook
from agentbatch.items import Failure, Output, Scope
from agentbatch.record import record
from agentbatch.step import MemberFailed, Runnable, Visit


@record
class WithResultHook:
    """Runs the workflow, and then the hook, which may change the output or refuse it. A failure it can only hear of."""

    inner: Runnable
    hook: Hook[ItemEnd]

    @property
    def kind(self) -> str:
        return self.inner.kind

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """The output as the hook leaves it.

        Raises:
            Refused, HookFault: the hook does not let it pass, or failed.
        """
        try:
            output = await self.inner.run(scope, visit)
        except StepError as error:
            with suppress(HookFault, Refused):
                await self.hook.call(_failed(error, visit), visit)
            raise
        end = ItemEnd(visit.item, "skipped" if output.skipped else "ok", output.value, None)
        left = await self.hook.call(end, visit)
        return output if left is end else replace(output, value=left.output)


def _failed(error: StepError, visit: Visit) -> ItemEnd:
    if isinstance(error, MemberFailed):
        return ItemEnd(visit.item, error.status, None, error.failure)
    status = "timeout" if error.type == "timeout" else "error"
    return ItemEnd(visit.item, status, None, Failure.of(error, None, visit.requests))
