"""What a run has done so far, counted from its spans: one row per agent, totals by item status, errors by type.

Written on the event loop, read by the display's thread: every number is replaced whole, and a reader may see one event
half counted, which the next look mends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter

from agentbatch.progress.histogram import LatencyHistogram
from agentbatch.record import record
from agentbatch.trace import Span, failed_agent


@record
class AgentStats:
    """One agent's figures. Latencies are seconds of work, without the time it queued.

    `cost_usd` is the sum of all known prices; where `cost_known` is false, some calls had none.
    """

    name: str
    queued: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    calls: int = 0
    retries: int = 0
    cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    cost_known: bool = True
    p50_s: float | None = None
    p95_s: float | None = None
    queued_p95_s: float | None = None


@record
class ErrorGroup:
    """All failed items of one error type, with the first of them as the example."""

    type: str
    count: int
    item_id: str
    agent: str | None
    message: str


@record
class Refusal:
    """The attempts that failed in one way, whether or not another attempt mended it; `message` is the latest."""

    type: str
    count: int
    agent: str
    message: str


@record
class Counts:
    """Everything a tally knows, at one moment.

    `items` counts ended items by span status; `possibly_billed` the failed attempts whose provider may have worked.
    """

    agents: tuple[AgentStats, ...]
    items: Mapping[str, int]
    errors: tuple[ErrorGroup, ...]
    refusals: tuple[Refusal, ...]
    possibly_billed: int
    elapsed_s: float
    models: tuple[AgentStats, ...] = ()
    """The same figures by the config's names of models: `done` and `failed` are attempts."""

    @property
    def items_ended(self) -> int:
        """Items that have a result line: those stopped by the run's end have none."""
        return sum(number for status, number in self.items.items() if status != "stopped")

    @property
    def items_failed(self) -> int:
        """Items whose result is not a success. One that its own condition skipped is no failure."""
        return sum(number for status, number in self.items.items() if status in ("error", "timeout", "cancelled"))

    def total(self, field: str) -> int:
        """The sum of one whole-number field over all agents."""
        return sum(getattr(agent, field) for agent in self.agents)

    @property
    def cost_usd(self) -> float:
        """All known costs."""
        return sum(agent.cost_usd for agent in self.agents)

    @property
    def cost_known(self) -> bool:
        """Whether every call had a price."""
        return all(agent.cost_known for agent in self.agents)


class _Row:
    """The mutable side of `AgentStats`."""

    __slots__ = (
        "cached",
        "calls",
        "cost_known",
        "cost_usd",
        "done",
        "failed",
        "input_tokens",
        "latency",
        "name",
        "output_tokens",
        "queued",
        "retries",
        "running",
        "skipped",
        "waited",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.queued = self.running = self.done = self.failed = self.skipped = 0
        self.calls = self.retries = self.cached = self.input_tokens = self.output_tokens = 0
        self.cost_usd = 0.0
        self.cost_known = True
        self.latency = LatencyHistogram()
        self.waited = LatencyHistogram()

    def add(self, other: _Row) -> None:
        """Count all that another row counted."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.cost_known = self.cost_known and other.cost_known
        self.latency.include(other.latency)
        self.waited.include(other.waited)

    def spend(self, span: Span) -> None:
        """Add what a span says it used. What failed may well have been free."""
        attributes = span.attributes
        self.input_tokens += attributes.get("input_tokens") or 0
        self.output_tokens += attributes.get("output_tokens") or 0
        cost = attributes.get("cost_usd")
        if cost is not None:
            self.cost_usd += cost
        elif span.status == "ok":
            self.cost_known = False

    def stats(self) -> AgentStats:
        p50, p95 = self.latency.percentiles(0.5, 0.95)
        (queued_p95,) = self.waited.percentiles(0.95)
        return AgentStats(
            name=self.name,
            queued=self.queued,
            running=self.running,
            done=self.done,
            failed=self.failed,
            skipped=self.skipped,
            calls=self.calls,
            retries=self.retries,
            cached=self.cached,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost_usd=self.cost_usd,
            cost_known=self.cost_known,
            p50_s=p50,
            p95_s=p95,
            queued_p95_s=queued_p95,
        )


_SUMS = (
    "cached",
    "calls",
    "cost_usd",
    "done",
    "failed",
    "input_tokens",
    "output_tokens",
    "queued",
    "retries",
    "running",
    "skipped",
)
"""What of a row is a number that adds up."""


@record
class TallyPart:
    """What the tally of another process has counted so far of agents and calls; its items are counted here."""

    rows: Mapping[str, _Row]
    models: Mapping[str, _Row]
    refusals: Mapping[str, Refusal]
    possibly_billed: int


class Tally:
    """A `SpanObserver` that counts. Its memory grows with the number of agents and of spans in flight, not of items."""

    def __init__(
        self, agents: tuple[str, ...] = (), redact: Callable[[str], str] = str, *, elapsed_s: float = 0.0
    ) -> None:
        """`agents` get their rows at once, in this order; others get theirs when they first run.

        `redact` takes secrets out of the error messages that `counts` gives away. `elapsed_s` is for how long the run
        has been going.
        """
        self._redact = redact
        self._began = perf_counter() - elapsed_s
        self._ended: float | None = None
        self._rows: dict[str, _Row] = {name: _Row(name) for name in agents}
        self._models: dict[str, _Row] = {}
        self._queued: dict[str, _Row] = {}
        self._running: dict[str, _Row] = {}
        self._recalled: set[str] = set()
        """Running agents that got an answer which an earlier run had paid."""
        self._items: dict[str, int] = {}
        self._errors: dict[str, ErrorGroup] = {}
        self._error_counts: dict[str, int] = {}
        self._refusals: dict[str, Refusal] = {}
        self._possibly_billed = 0
        self._parts: dict[str, TallyPart] = {}

    def part(self) -> TallyPart:
        """What this tally has counted, for the one of another process; its rows go on counting."""
        refusals = {type_: self._clean(one) for type_, one in self._refusals.items()}
        return TallyPart(self._rows, self._models, refusals, self._possibly_billed)

    def take_in(self, source: str, part: TallyPart) -> None:
        """What another process has counted from its beginning; it replaces what that one said before."""
        self._parts[source] = part

    def lose(self, source: str) -> None:
        """That process is no more: nothing of it is under way, what it counted stands."""
        part = self._parts.get(source)
        for row in part.rows.values() if part is not None else ():
            row.queued = row.running = 0

    def work_for(self, agent: str, span_id: str) -> None:
        """Calls under this span are the agent's, whose own span is of another process."""
        self._running[span_id] = self._rows.get(agent) or self._rows.setdefault(agent, _Row(agent))

    def end_work_for(self, span_id: str) -> None:
        """There will be no more of them."""
        self._running.pop(span_id, None)

    def end_item(
        self,
        status: str,
        item_id: str = "?",
        error_type: str | None = None,
        agent: str | None = None,
        message: str = "",
    ) -> None:
        """An item has ended."""
        self._items[status] = self._items.get(status, 0) + 1
        if status not in ("error", "timeout"):
            return
        type_ = error_type or status
        self._error_counts[type_] = self._error_counts.get(type_, 0) + 1
        if type_ not in self._errors:
            self._errors[type_] = ErrorGroup(type_, 1, item_id, agent, message)

    def on_start(self, span: Span) -> None:
        """An agent is queued, an item begun."""
        if span.kind == "agent":
            row = self._rows.get(span.name) or self._rows.setdefault(span.name, _Row(span.name))
            row.queued += 1
            self._queued[span.span_id] = row

    def on_work(self, span: Span) -> None:
        """An agent has left the queue."""
        if span.kind == "agent" and (row := self._queued.pop(span.span_id, None)):
            row.queued -= 1
            row.running += 1
            self._running[span.span_id] = row

    def on_end(self, span: Span) -> None:
        """Count what an agent, a call or an item came to."""
        if span.kind == "chat":
            self._end_call(span)
        elif span.kind == "agent":
            self._end_agent(span)
        elif span.kind == "item":
            self._end_item(span)

    def counts(self) -> Counts:
        """All figures now."""
        return Counts(
            agents=tuple(row.stats() for row in self._with_parts(self._rows, lambda part: part.rows)),
            items=dict(self._items),
            errors=self._error_groups(),
            refusals=self._clean_refusals(),
            possibly_billed=self._possibly_billed + sum(part.possibly_billed for part in self._parts.values()),
            elapsed_s=self.elapsed_s,
            models=tuple(row.stats() for row in self._with_parts(self._models, lambda part: part.models)),
        )

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began, until it ended."""
        return (self._ended or perf_counter()) - self._began

    def end(self) -> None:
        """The run has ended: what is still to be closed is not its time."""
        self._ended = self._ended or perf_counter()

    def _with_parts(self, own: Mapping[str, _Row], of_part: Callable[[TallyPart], Mapping[str, _Row]]) -> list[_Row]:
        """The rows with what other processes counted."""
        if not self._parts:
            return list(own.values())
        merged = {name: _Row(name) for name in own}
        for rows in (own, *(of_part(part) for part in list(self._parts.values()))):
            for name, row in list(rows.items()):
                (merged.get(name) or merged.setdefault(name, _Row(name))).add(row)
        return list(merged.values())

    def _error_groups(self) -> tuple[ErrorGroup, ...]:
        groups = [
            replace(
                group,
                count=self._error_counts[group.type],
                item_id=self._redact(group.item_id),
                message=self._redact(group.message),
            )
            for group in list(self._errors.values())
        ]
        return tuple(sorted(groups, key=lambda group: -group.count))

    def _clean_refusals(self) -> tuple[Refusal, ...]:
        found = dict(self._refusals)
        for part in list(self._parts.values()):
            for type_, one in part.refusals.items():
                found[type_] = replace(one, count=one.count + (found[type_].count if type_ in found else 0))
        return tuple(sorted(map(self._clean, found.values()), key=lambda one: -one.count))

    def _clean(self, refusal: Refusal) -> Refusal:
        return replace(refusal, message=self._redact(refusal.message))

    def _end_agent(self, span: Span) -> None:
        recalled = span.span_id in self._recalled
        self._recalled.discard(span.span_id)
        if row := self._running.pop(span.span_id, None):
            row.running -= 1
        elif row := self._queued.pop(span.span_id, None):
            row.queued -= 1
        else:  # its beginning was not seen: it ran on another machine
            row = self._rows.get(span.name) or self._rows.setdefault(span.name, _Row(span.name))
        if "input_tokens" in span.attributes:  # it asked no model here, and says itself what it used: a command
            row.calls += 1
            row.spend(span)
        if span.status == "skipped":
            row.skipped += 1
            return
        if span.status == "ok":
            row.done += 1
        elif span.status in ("error", "timeout"):
            row.failed += 1
        else:  # cancelled, stopped: its end says nothing about it
            return
        if recalled:  # how long it took an earlier run to answer is not known here
            return
        waited = span.attributes.get("queued_s") or 0.0
        row.waited.add(waited)
        row.latency.add((span.end_ns - span.start_ns) / 1e9 - waited)

    def _end_call(self, span: Span) -> None:
        parent = span.parent_id or ""
        row = self._running.get(parent) or self._queued.get(parent) or self._row_of_ended(span)
        attributes = span.attributes
        if attributes.get("recalled"):  # an earlier run made it and paid for it
            if parent in self._running:
                self._recalled.add(parent)
            return
        row.calls += 1
        if attributes.get("cached"):  # its tokens were used, and paid, when it was first asked
            row.cached += 1
            return
        model = self._model_of(span)
        for one in (row, model):
            one.spend(span)
            if attributes.get("attempt", 1) > 1:
                one.retries += 1
        if span.error_type is not None:
            self._count_refusal(span.error_type, row.name, span.error_message or "")
        if attributes.get("possibly_billed"):
            self._possibly_billed += 1

    def _model_of(self, span: Span) -> _Row:
        """The row of the model that answered, or did not: it counts attempts."""
        name: str = span.attributes.get("endpoint") or span.name
        row = self._models.get(name) or self._models.setdefault(name, _Row(name))
        row.calls += 1
        if span.status == "ok":
            row.done += 1
            row.latency.add((span.end_ns - span.start_ns) / 1e9)
        elif span.status in ("error", "timeout"):
            row.failed += 1
        return row

    def _row_of_ended(self, span: Span) -> _Row:
        """Calls of an agent whose spans arrive after the fact, or that has ended: named by the model."""
        return self._rows.get(span.name) or self._rows.setdefault(span.name, _Row(span.name))

    def _count_refusal(self, type_: str, agent: str, message: str) -> None:
        before = self._refusals.get(type_)
        self._refusals[type_] = Refusal(type_, 1 + (before.count if before else 0), agent, message)

    def _end_item(self, span: Span) -> None:
        if span.status not in ("error", "timeout"):
            self.end_item(span.status)
            return
        item_id = str(span.attributes.get("item.id", "?"))
        self.end_item(span.status, item_id, span.error_type, failed_agent(span), span.error_message or "")
