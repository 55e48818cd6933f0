"""The one door: every agent and every flow is a `Runnable`, entered through `Step.invoke`.

A visit is one item's stay in one step. It keeps the books (time, tokens, cost, children's results) in one mutable place,
so that they are right however the stay ends: a cancelled loser's spend is still counted, a failed flow still shows what
its members produced.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol, cast

from agentbatch.errors import InternalFault, RunStopped, StepError
from agentbatch.items import Failure, Item, Output, Result, Scope, Status
from agentbatch.messages import Usage
from agentbatch.trace import Span, SpanKind, Tracer


class Runnable(Protocol):
    """An agent or a flow: given the names it may see and its visit, it makes an output or raises a `StepError`."""

    @property
    def kind(self) -> str:
        """The word of the config: `chat`, `parallel`, `loop`, ..."""
        ...

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Do the work of this step for one item."""
        ...


@dataclass(slots=True, eq=False)
class Visit:
    """One item's stay in one step, and the books of it. Visits form a tree under the item's own.

    Work is what happens between `begin_work` and `end_work` of any leaf below; the rest of the stay was queueing. A
    timeout of the step runs only while something works.
    """

    item: Item
    tracer: Tracer
    name: str
    path: str
    span: Span
    parent: Visit | None = None
    prefix: str = ""
    """What the paths of the steps below begin with: empty, or a loop's `refine[2].`."""
    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = 0.0
    in_flight: int = 0
    """Requests on the wire now."""
    steps: dict[str, Result] = field(default_factory=dict[str, Result])
    _working: int = 0
    _since: float = 0.0
    _worked: float = 0.0
    _began: float = field(default_factory=perf_counter)
    _timeout: asyncio.Timeout | None = None
    _time_left: float = 0.0

    def begin_work(self) -> None:
        """A leaf of this visit starts to work: the clocks of all visits above it run."""
        now = perf_counter()
        visit: Visit | None = self
        while visit is not None:
            visit._working += 1
            if visit._working == 1:
                visit._since = now
                if visit._worked == 0.0:
                    visit.tracer.work(visit.span)
                if visit._timeout is not None:
                    visit._timeout.reschedule(asyncio.get_running_loop().time() + visit._time_left)
            visit = visit.parent

    def end_work(self) -> None:
        """That leaf pauses or is done; the clocks stop where nothing else works."""
        now = perf_counter()
        visit: Visit | None = self
        while visit is not None:
            visit._working -= 1
            if visit._working == 0:
                worked = now - visit._since
                visit._worked += worked or 1e-9
                if visit._timeout is not None and not visit._timeout.expired():
                    visit._time_left = max(0.001, visit._time_left - worked)
                    visit._timeout.reschedule(None)
            visit = visit.parent

    def count(self, usage: Usage, cost_usd: float | None) -> None:
        """Enter one request's tokens and price in the books of this visit and of all above it."""
        visit: Visit | None = self
        while visit is not None:
            visit.input_tokens += usage.input_tokens
            visit.output_tokens += usage.output_tokens
            visit.requests += usage.requests
            visit.cached_tokens += usage.cached_tokens
            visit.cache_write_tokens += usage.cache_write_tokens
            visit.reasoning_tokens += usage.reasoning_tokens
            visit.cost_usd = None if cost_usd is None or visit.cost_usd is None else visit.cost_usd + cost_usd
            visit = visit.parent

    def wire(self, change: int) -> None:
        """A request went out (+1) or came back (-1)."""
        visit: Visit | None = self
        while visit is not None:
            visit.in_flight += change
            visit = visit.parent

    def result(
        self, kind: str, status: Status, output: Output | None = None, error: Failure | None = None
    ) -> Result:
        """Close the books."""
        worked = self._worked + (perf_counter() - self._since if self._working else 0.0)
        return Result(
            status=status,
            output=None if output is None else output.value,
            error=error,
            usage=Usage(
                self.input_tokens,
                self.output_tokens,
                self.requests,
                self.cached_tokens,
                self.cache_write_tokens,
                self.reasoning_tokens,
            ),
            cost_usd=self.cost_usd,
            attempts=self.requests,
            queued_s=max(0.0, perf_counter() - self._began - worked),
            duration_s=worked,
            steps=self.steps,
            kind=kind,
            messages=() if output is None else output.messages,
        )


class MemberFailed(StepError):
    """A flow fails because a step below it did; the failure keeps that step's own words."""

    def __init__(self, failure: Failure, status: Status = "error") -> None:
        super().__init__(failure.message, http_status=failure.http_status)
        self.failure = failure
        self.status: Status = status


@dataclass(frozen=True, slots=True)
class Step:
    """A runnable with its place in the workflow: its name, and the time it may work."""

    name: str
    runnable: Runnable
    timeout: float | None = None

    async def invoke(self, scope: Scope, parent: Visit) -> Result:
        """Run this step for one item. Failures become data; only cancellation and `RunStopped` pass through."""
        visit = self.enter(parent)
        try:
            output = await self._run_in_time(scope, visit)
        except MemberFailed as error:
            return self._leave(visit, parent, error.status, error=error.failure)
        except StepError as error:
            status: Status = "timeout" if error.type == "timeout" else "error"
            return self._leave(visit, parent, status, error=Failure.of(error, self.name, visit.requests))
        except (asyncio.CancelledError, RunStopped):
            self._leave(visit, parent, "cancelled")
            raise
        except Exception as error:  # a bug, ours or a plugin's: loud in the log, but only this item's
            logging.getLogger(__name__).exception("step %s failed on item %s", self.name, visit.item.id)
            fault = InternalFault(f"{type(error).__name__}: {error}")
            return self._leave(visit, parent, "error", error=Failure.of(fault, self.name, visit.requests))
        return self._leave(visit, parent, "ok", output)

    def enter(self, parent: Visit) -> Visit:
        """Open this step's books and span. A name met a second time in one item is numbered: `writer[2]`."""
        path = parent.unused_path(self.name)
        span = parent.tracer.start(self.name, "agent", parent.span)
        return Visit(parent.item, parent.tracer, self.name, path, span, parent, parent.prefix)

    async def _run_in_time(self, scope: Scope, visit: Visit) -> Output:
        if self.timeout is None:
            return await self.runnable.run(scope, visit)
        return await in_time(self.timeout, visit, self.runnable.run(scope, visit))

    def _leave(
        self, visit: Visit, parent: Visit, status: Status, output: Output | None = None, error: Failure | None = None
    ) -> Result:
        result = visit.result(self.runnable.kind, status, output, error)
        parent.steps[visit.path] = result
        visit.tracer.end(visit.span, status, error and error.type, error and error.message)
        return result
