"""A tool as an agent offers it to its model: checked, limited, timed, retried, traced; what comes of a call is text."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any

import orjson

from agentbatch.errors import CommandFault, FunctionFault, HookFault, StepError, StepTimeout, ToolFault
from agentbatch.files.plain_json import to_plain
from agentbatch.hooks import ToolResult, ToolUse
from agentbatch.hooks.calling import NO_HOOKS, Hooks
from agentbatch.items import Scope
from agentbatch.kept.journal import Journal
from agentbatch.kept.paid_work import PaidWork
from agentbatch.kept.tape import Tape
from agentbatch.limits import Limiter
from agentbatch.messages import ToolCall, ToolSpec
from agentbatch.process.deadlines import Deadlines
from agentbatch.record import record
from agentbatch.retry import RetryPolicy
from agentbatch.step import Visit, overtime, within
from agentbatch.text.redact import visible
from agentbatch.text.suggestions import did_you_mean, listing
from agentbatch.tools.base import MAX_OUTPUT, Tool
from agentbatch.tools.parameters import ArgumentCheck
from agentbatch.trace import Span, SpanStatus

_MAY_PASS = (CommandFault, FunctionFault, ToolFault)
"""Failures of somebody else's code: nobody can tell whether they would come again."""
_NEVER_S = 1e9
"""For those that may take as long as they like."""
_BACKOFF = RetryPolicy(base_s=0.2, cap_s=10.0)


@record
class ToolTerms:
    """How a tool may be used.

    Attributes:
        limiter: calls at once, over all agents that have the tool.
        timeout: of one call, in seconds of work.
        retries: calls after a failed one.
        max_output: characters of a result that the model is given.
        delegates: its work is done by steps, which wait for permits and keep their times themselves.
    """

    limiter: Limiter
    timeout: float | None = None
    retries: int = 0
    max_output: int = MAX_OUTPUT
    delegates: bool = False


class Offer:
    """One tool on its terms, shared by all agents that have it."""

    def __init__(
        self,
        tool: Tool,
        terms: ToolTerms,
        journal: Journal | None = None,
        hooks: Hooks = NO_HOOKS,
        tape: Tape | None = None,
    ) -> None:
        self.tool = tool
        self.hooks = hooks
        self.terms = terms
        self.journal = None if terms.delegates else journal
        self.tape = None if terms.delegates else tape
        self.spec: ToolSpec = tool.spec
        self._check = ArgumentCheck(tool.spec.parameters)
        self._deadlines = Deadlines(terms.timeout or _NEVER_S)
        self._random = random.Random()

    async def answer(self, call: ToolCall, scope: Scope, visit: Visit) -> str:
        """What the model is told of its call: the result, or what went wrong. `visit` is the agent's.

        Only cancellation, `RunStopped` and the failure of a hook pass through.
        """
        work = PaidWork(self.journal, visit, [call.name, call.arguments], self.tape)
        own = _enter(self.spec.name, call, visit)
        try:
            text = await self._text(work, call, scope, own, visit)
        except HookFault as error:
            _end(own, _told(error, self.terms.max_output), error)
            raise
        except StepError as error:
            return _end(own, _told(error, self.terms.max_output), error)
        except BaseException:
            visit.tracer.end(own.span, "cancelled")
            raise
        return _end(own, capped(text, self.terms.max_output))

    async def _text(self, work: PaidWork, call: ToolCall, scope: Scope, own: Visit, visit: Visit) -> str:
        known = work.recalled()
        if known is not None:
            own.span.attributes["recalled"] = True
            return known[0]
        arguments = self._check.read(call.arguments)

        async def result() -> str:
            return _as_text(await self._hooked(arguments, scope, own, visit))

        return await work.done(result)

    async def _hooked(self, arguments: Mapping[str, Any], scope: Scope, own: Visit, visit: Visit) -> Any:
        """The result, between the hooks before and after."""
        about = visit.item, visit.path, self.spec.name
        before, after = self.hooks.before_tool, self.hooks.after_tool
        if before is not None:
            arguments = (await before.call(ToolUse(*about, arguments), own)).arguments
            own.span.attributes["arguments"] = _as_text(arguments)
        result = await self._result(arguments, scope, own)
        return result if after is None else (await after.call(ToolResult(*about, arguments, result), own)).result

    async def _result(self, arguments: Mapping[str, Any], scope: Scope, own: Visit) -> Any:
        """Call until it succeeds or no retry is left."""
        for attempt in range(1, self.terms.retries + 1):
            try:
                return await self._attempt(arguments, scope, own)
            except StepError as error:
                if not (error.retryable or isinstance(error, _MAY_PASS)):
                    raise
                delay = max(_BACKOFF.backoff(attempt, self._random), error.retry_after or 0.0)
            own.span.events.append((time.time_ns(), "retry", {"delay_s": round(delay, 3)}))
            await asyncio.sleep(delay)
        return await self._attempt(arguments, scope, own)

    async def _attempt(self, arguments: Mapping[str, Any], scope: Scope, own: Visit) -> Any:
        """Call once. The time in the queue for a permit does not count: the clock runs while something works."""
        permits = self.terms.limiter.permits
        if permits is None:
            return await self._timed(arguments, scope, own)
        async with permits.held(own.item.index):
            return await self._timed(arguments, scope, own)

    async def _timed(self, arguments: Mapping[str, Any], scope: Scope, own: Visit) -> Any:
        if self.terms.delegates:
            return await within(self.terms.timeout, own, self.tool.call(arguments, scope, own))
        deadline = self._deadlines.next()
        own.begin_work()
        try:
            with deadline:
                return await self.tool.call(arguments, scope, own)
        except TimeoutError:
            if not deadline.expired:
                raise
            raise overtime(own, self._deadlines.seconds) from None
        finally:
            own.end_work()


def unknown_tool(call: ToolCall, names: list[str], visit: Visit) -> str:
    """What the model is told when it calls a tool that its agent does not have."""
    there = f"the tools are: {listing(names, 100)}" if names else "there are no tools"
    fault = ToolFault(f"there is no tool {visible(call.name, 80)!r}{did_you_mean(call.name, names)}; {there}")
    return refused(call, fault, visit)


def refused(call: ToolCall, fault: StepError, visit: Visit) -> str:
    """What the model is told of a call that is not made; the trace has it, too."""
    own = _enter(visible(call.name, 80), call, visit)
    return _end(own, _told(fault, MAX_OUTPUT), fault)


def capped(text: str, limit: int) -> str:
    """The beginning of a text, and how much is missing."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n[truncated: {len(text) - limit:,} more characters]"


def _enter(name: str, call: ToolCall, visit: Visit) -> Visit:
    """The visit of one call: in the agent's own books, under a span of its own."""
    span: Span = visit.tracer.start(name, "tool", visit.span)
    span.attributes["call_id"], span.attributes["arguments"] = call.id, call.arguments
    return Visit(
        visit.item,
        visit.tracer,
        name,
        visit.path,
        span,
        parent=visit,
        prefix=visit.prefix,
        seed=visit.seed,
        paths=visit.paths,
        steps=visit.steps,
    )


def _end(own: Visit, text: str, error: StepError | None = None) -> str:
    own.span.attributes["result"] = text
    if error is None:
        own.tracer.end(own.span)
    else:
        status: SpanStatus = "timeout" if isinstance(error, StepTimeout) else "error"
        own.tracer.end(own.span, status, error.type, error.message)
    return text


def _told(error: StepError, limit: int) -> str:
    return capped(f"Error: {error.message}", limit)


def _as_text(value: Any) -> str:
    """A result as the model reads it: text as it is, everything else as JSON."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    try:
        return orjson.dumps(value).decode()
    except (TypeError, RecursionError):
        return orjson.dumps(to_plain(value)).decode()
