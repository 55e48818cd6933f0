"""The one door: every agent and every flow is a `Runnable`, entered through `Step.invoke`.

A visit is one item's stay in one step. It keeps the books (time, tokens, cost, children's results) in one mutable
place, so that they are right however the stay ends: a cancelled loser's spend is still counted, a failed flow still
shows what its members produced.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Protocol

from agentbatch.errors import InternalFault, RunStopped, StepError, StepTimeout
from agentbatch.items import Failure, Item, Output, Result, Scope, Status
from agentbatch.limits import Budget, Permits
from agentbatch.messages import Usage
from agentbatch.record import NEW_DICT, record
from agentbatch.templates import Condition, Value
from agentbatch.trace import Span, SpanKind, Tracer

PENDING = Result(status="cancelled")
"""Stands for a step that has begun and not ended."""

_NO_USAGE = Usage()

POSSIBLY_BILLED = "possibly_billed_usd"
"""What an item's attempts without an answer, and answers without a count of tokens, may have cost at most."""

Ending = tuple[Status, Output | None, Failure | None]
"""How a step's work ended."""


class Deadline(Protocol):
    """What of `asyncio.Timeout` a visit needs: it is told when its clock runs, and when it rests."""

    def when(self) -> float | None:
        """When it expires, in loop time; None while its clock rests."""
        ...

    def reschedule(self, when: float | None) -> None:
        """Let the clock run to that time; None lets it rest."""
        ...

    def expired(self) -> bool:
        """Whether it is over."""
        ...


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
    """What the paths of the steps below begin with: empty, or an iteration's `refine[2].`."""
    seed: str = ""
    """Tells copies of one agent apart in their requests."""
    paths: set[str] = field(default_factory=set[str])
    """All paths in use in this item, shared by its visits."""
    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cost_usd: float | None = 0.0
    purse: Budget | None = None
    """Of an item: what it may cost, where that is limited."""
    steps: dict[str, Result] = field(default_factory=NEW_DICT)
    extra: dict[str, Any] = field(default_factory=NEW_DICT)
    """What else this step has to say in its result line: `truncated`, the counts of a vote."""
    sets: dict[str, Any] = field(default_factory=NEW_DICT)
    """Values that this step and those below it have set for later ones."""
    tolerated: bool = False
    calls: int = 0
    """Model, tool and command calls this step has begun, each of which has its number."""
    _working: int = 0
    _since: float = 0.0
    _worked: float = 0.0
    _began: float = field(default_factory=perf_counter)
    _timeout: Deadline | None = None
    _time_left: float = 0.0

    @property
    def at_work(self) -> bool:
        return self._working > 0

    @property
    def worked_s(self) -> float:
        """Seconds of work so far."""
        return self._worked + (perf_counter() - self._since if self._working else 0.0)

    @property
    def working(self) -> int:
        """Leaves of this visit that are at work."""
        return self._working

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
                if visit._timeout is not None and not visit._timeout.expired():
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
                    due = visit._timeout.when() or 0.0
                    visit._time_left = max(0.001, due - asyncio.get_running_loop().time())
                    visit._timeout.reschedule(None)
            visit = visit.parent

    def set_deadline(self, deadline: Deadline | None, seconds: float = 0.0) -> None:
        """Let `deadline` expire after so many seconds of work, which has not begun yet; None takes it away."""
        self._timeout, self._time_left = deadline, seconds

    def count_work(self, seconds: float) -> None:
        """Enter work that was heard of too late: here, and in the visits above as far as nothing else works in them."""
        visit: Visit | None = self
        while visit is not None and visit._working == 0:
            visit._worked += seconds
            visit = visit.parent

    def may_have_cost(self, usd: float) -> None:
        """Note on the item that up to so many US dollars, which are in no cost, may be billed all the same."""
        if usd:
            extra = self.of_item.extra
            extra[POSSIBLY_BILLED] = extra.get(POSSIBLY_BILLED, 0.0) + usd

    @property
    def of_item(self) -> Visit:
        """The outermost visit around this one."""
        visit = self
        while visit.parent is not None:
            visit = visit.parent
        return visit

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
            visit.cache_write_1h_tokens += usage.cache_write_1h_tokens
            visit.cost_usd = None if cost_usd is None or visit.cost_usd is None else visit.cost_usd + cost_usd
            visit = visit.parent

    def next_call(self) -> int:
        """The number of this step's next call, from 1."""
        self.calls += 1
        return self.calls

    def new_path(self, path: str) -> str:
        """The path for a step below: the one given; with `#2`, `#3`, ... where it comes by again."""
        first, count = path, 1
        while path in self.paths:
            count += 1
            path = f"{first}#{count}"
        self.paths.add(path)
        return path

    def result(
        self,
        kind: str,
        status: Status,
        output: Output | None = None,
        error: Failure | None = None,
        is_copy: bool = False,
    ) -> Result:
        """Close the books."""
        now = perf_counter()
        worked = self._worked + (now - self._since if self._working else 0.0)
        return Result(
            name=self.name,
            status=status,
            output=None if output is None else output.value,
            error=error,
            usage=self.usage() if self.requests or self.input_tokens or self.output_tokens else _NO_USAGE,
            cost_usd=self.cost_usd,
            attempts=self.requests,
            queued_s=max(0.0, now - self._began - worked),
            duration_s=worked,
            steps=self.steps,
            kind=kind,
            messages=() if output is None else output.messages,
            extra=self.extra,
            tolerated=self.tolerated,
            sets=self.sets,
            is_copy=is_copy,
        )

    def usage(self) -> Usage:
        """The tokens and requests so far."""
        return Usage(
            self.input_tokens,
            self.output_tokens,
            self.requests,
            self.cached_tokens,
            self.cache_write_tokens,
            self.reasoning_tokens,
            self.cache_write_1h_tokens,
        )


class MemberFailed(StepError):
    """A flow fails because a step below it did; the failure keeps that step's own words."""

    def __init__(self, failure: Failure, status: Status = "error") -> None:
        super().__init__(failure.message, http_status=failure.http_status)
        self.failure = failure
        self.status: Status = status

    @classmethod
    def of(cls, result: Result) -> MemberFailed:
        """The failure of a flow because of this member."""
        failure = result.error or Failure("internal", f"{result.name} ended as {result.status}", result.name)
        return cls(failure, "timeout" if result.status == "timeout" else "error")


@record
class Terms:
    """On what terms a step stands in its flow.

    `when` decides whether it runs; `tolerate` keeps its failure from failing the flow, and `default` is then what later
    steps see as its output; `sets` are values it leaves for them.
    """

    when: Condition | None = None
    tolerate: bool = False
    default: Output | None = None
    sets: tuple[tuple[str, Value], ...] = ()


NO_TERMS = Terms()


@record
class Step:
    """A runnable with its place in the workflow: its name and its terms.

    Attributes:
        number: tells apart copies, the iterations of a loop, the elements of a list, from 1; 0 where there is only one.
            Steps below a numbered one have its path before theirs: `refine[2].critic`.
        is_part: its number is that of a part of the step around it, which has the same name: an iteration, an element.
        is_copy: it is one of several copies of one step.
        shared: the workflow has its name in several places, so that its path tells the one it is in: `panel.critic`.
    """

    name: str
    runnable: Runnable
    span_kind: SpanKind = "agent"
    terms: Terms = NO_TERMS
    number: int = 0
    is_part: bool = False
    is_copy: bool = False
    shared: bool = False

    @property
    def label(self) -> str:
        """The name, and the number where there is one."""
        return f"{self.name}[{self.number}]" if self.number else self.name

    def copy(self, number: int) -> Step:
        """The same step as one of several copies."""
        return replace(self, number=number, is_copy=True)

    def part(self, number: int) -> Step:
        """The same step as one part of the step around it."""
        return Step(self.name, self.runnable, self.span_kind, self.terms, number, is_part=True)

    async def invoke(self, scope: Scope, parent: Visit) -> Result:
        """Run this step for one item. Failures become data; only cancellation and `RunStopped` pass through."""
        visit = self._enter(parent)
        try:
            work = (
                self.runnable.run(scope, visit)
                if self.terms.when is None
                else self._run_if(self.terms.when, scope, visit)
            )
            ended = await ending(work, visit, visit.name)
        except BaseException:
            self._leave(visit, parent, ("cancelled", None, None))
            raise
        if self.terms is not NO_TERMS:
            ended = self._conclude(ended, scope, visit)
        return self._leave(visit, parent, ended)

    def skip(self, parent: Visit) -> Result:
        """Leave this step out. An entry says so, unless the step has run in this place before."""
        result = Result("skipped", kind=self.runnable.kind, name=self.label, left_out=True)
        path = self._path(parent, self.label)
        if path not in parent.paths:
            facts = {"path": path, "kind": result.kind}
            span = parent.tracer.start(self.name, self.span_kind, parent.span, facts)
            parent.tracer.end(span, "skipped")
            parent.steps[path] = result
        return result

    def _path(self, parent: Visit, label: str) -> str:
        if self.is_part:
            return f"{parent.path}[{self.number}]"
        if self.shared and parent.path:
            return f"{parent.path}.{label}"
        return parent.prefix + label

    def _enter(self, parent: Visit) -> Visit:
        label = self.label
        wanted = self._path(parent, label)
        path = parent.new_path(wanted)
        prefix, seed = parent.prefix, parent.seed
        if self.number or path is not wanted:
            prefix = f"{path}."
        if self.number:
            seed = f"{seed}/{self.number}"
        facts = {"path": path, "kind": self.runnable.kind}
        span = parent.tracer.start(self.name, self.span_kind, parent.span, facts)
        visit = Visit(parent.item, parent.tracer, label, path, span, parent, prefix, seed, parent.paths)
        parent.steps[path] = PENDING  # keeps the place, so that results stand in the order their steps began
        return visit

    async def _run_if(self, when: Condition, scope: Scope, visit: Visit) -> Output:
        return await self.runnable.run(scope, visit) if when.holds(scope.names) else Output(None, skipped=True)

    def _conclude(self, ended: Ending, scope: Scope, visit: Visit) -> Ending:
        """Apply the terms to how the step ended: what it sets, what is tolerated."""
        status, output, error = ended
        if error is not None and self.terms.tolerate:
            visit.tolerated, output = True, self.terms.default
        if not self.terms.sets or output is None or output.skipped:
            return status, output, error
        try:
            names = scope.plus("output", output.value).names
            visit.sets |= {name: value.of(names) for name, value in self.terms.sets}
        except StepError as fault:  # the output was paid for, and stays in the line
            visit.tolerated = self.terms.tolerate
            return "error", output, error or Failure.of(fault, visit.name, visit.requests)
        return status, output, error

    def _leave(self, visit: Visit, parent: Visit, ended: Ending) -> Result:
        status, output, error = ended
        result = visit.result(self.runnable.kind, status, output, error, self.is_copy)
        parent.steps[visit.path] = result
        if visit.sets and status != "cancelled":
            parent.sets |= visit.sets
        attributes = visit.span.attributes
        attributes["queued_s"], attributes["cost_usd"] = result.queued_s, result.cost_usd
        visit.tracer.end(visit.span, status, error and error.type, error and error.message)
        return result


async def ending(work: Awaitable[Output], visit: Visit, agent: str | None) -> Ending:
    """Await `work` and say how it ended. `agent` is who is named in its failure."""
    try:
        output = await work
        return "skipped" if output.skipped else "ok", output, None
    except MemberFailed as error:
        return error.status, None, error.failure
    except StepError as error:
        status: Status = "timeout" if error.type == "timeout" else "error"
        return status, None, Failure.of(error, agent, visit.requests)
    except RunStopped:
        raise
    except Exception as error:  # a bug, ours or a plugin's: loud in the log, but only this item's
        logging.getLogger(__name__).exception("step %s failed on item %s", visit.name, visit.item.id)
        fault = InternalFault(f"{type(error).__name__}: {error}")
        return "error", None, Failure.of(fault, agent, visit.requests)


async def within(seconds: float | None, visit: Visit, work: Awaitable[Output]) -> Output:
    """Await `work`, for at most so many seconds in which something of the visit is at work.

    Raises:
        StepTimeout: they are over.
    """
    if seconds is None:
        return await work
    deadline = asyncio.timeout(None)
    try:
        async with deadline:
            visit.set_deadline(deadline, seconds)
            try:
                return await work
            finally:
                visit.set_deadline(None)
    except TimeoutError:
        if not deadline.expired():
            raise
        raise overtime(visit, seconds) from None


def overtime(visit: Visit, seconds: float) -> StepTimeout:
    """The failure of what worked for longer than so many seconds."""
    return StepTimeout(f"{visit.name} worked for longer than its timeout of {seconds:g} s")


@record
class Bounded:
    """A runnable that works for at most `timeout` seconds on one item, and in no more places than it has permits."""

    inner: Runnable
    timeout: float | None = None
    permits: Permits | None = None

    @property
    def kind(self) -> str:
        return self.inner.kind

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """Wait for a permit, then run.

        Raises:
            StepTimeout: it took longer. Waiting for permits does not count.
        """
        if self.permits is None:
            return await within(self.timeout, visit, self.inner.run(scope, visit))
        async with self.permits.held(visit.item.index):
            return await within(self.timeout, visit, self.inner.run(scope, visit))
