"""What the traces of a run say: every attempt, what it waited for and how it ended, and the timelines of the rows."""

from __future__ import annotations

from collections.abc import Container, Mapping

from agentbatch.record import record
from agentbatch.report.activity import Activity
from agentbatch.report.blocks import Blocks, Packer
from agentbatch.report.breakdown import AgentBook, ShareBook
from agentbatch.report.rows import trace_key
from agentbatch.report.timelines import encode_timeline
from agentbatch.trace import Span

TIMELINES_A_BLOCK = 128
_LONGEST_MESSAGE = 500


@record
class Refusals:
    """Failed attempts of one type at one model, whether or not another attempt mended it; the last one's message."""

    type: str
    model: str
    count: int
    message: str


@record
class TraceTerms:
    """What has to be known of the results before their traces are read.

    Attributes:
        wanted: the traces (by `trace_key`) whose timelines the page shows.
        chars: how much text of one item is kept.
        with_agents: the results say nothing of their agents, so the spans have to.
        origin: Unix nanoseconds that times are counted from; None where the results say nothing of time.
    """

    wanted: Container[bytes]
    chars: int
    with_agents: bool
    origin: int | None


class TraceSums:
    """What traces come to. The sums of the parts of a file, taken together in its order, are those of the whole.

    Attributes:
        models: by their names in the config, where the traces have them, and what the provider calls them.
        trees: traces read; `ended` of them are of items that have a result.
        bad: lines that are no traces.
        stopped: the ids of items that were stopped in the middle.
        possibly_billed: failed attempts that the provider may have billed.
    """

    def __init__(self, origin: int | None = None) -> None:
        self.activity, self.agents = Activity(origin), AgentBook()
        self.models: dict[tuple[str, str], ShareBook] = {}
        self.trees = self.ended = self.bad = self.possibly_billed = 0
        self.stopped: set[str] = set()
        self.failed: dict[tuple[str, str], Refusals] = {}

    def include(self, other: TraceSums) -> None:
        """All that another one counted, later in the file."""
        self.activity.include(other.activity)
        self.agents.include(other.agents)
        for key, book in other.models.items():
            if key in self.models:
                self.models[key].include(book)
            else:
                self.models[key] = book
        self.trees, self.ended = self.trees + other.trees, self.ended + other.ended
        self.bad, self.possibly_billed = self.bad + other.bad, self.possibly_billed + other.possibly_billed
        self.stopped |= other.stopped
        for key, refused in other.failed.items():
            before = self.failed.get(key)
            count = refused.count + (0 if before is None else before.count)
            self.failed[key] = Refusals(refused.type, refused.model, count, refused.message)

    def total(self, field: str) -> int:
        """A sum over all models."""
        return sum(getattr(model, field) for model in self.models.values())

    def refusals(self) -> list[Refusals]:
        """The failed attempts, the most frequent first."""
        return sorted(self.failed.values(), key=lambda one: -one.count)


class TraceBook:
    """Counts traces, one at a time.

    Attributes:
        sums: what they come to.
        timelines: packed; `keys` says whose stands where.
    """

    def __init__(self, terms: TraceTerms, packer: Packer) -> None:
        self.sums = TraceSums(terms.origin)
        self.timelines = Blocks(TIMELINES_A_BLOCK, packer)
        self.keys: list[bytes] = []
        self._terms = terms
        self._activity, self._agents = self.sums.activity, self.sums.agents

    def add(self, tree: list[Span]) -> None:
        """One item's spans."""
        sums, with_agents = self.sums, self._terms.with_agents
        sums.trees += 1
        agents = {span.span_id: span for span in tree if span.kind == "agent"}
        for span in tree:
            if span.kind == "chat":
                self._add_call(span, agents, with_agents)
            elif span.kind == "agent" and with_agents:
                self._add_agent(span)
            if span.events:
                self._add_waits(span)
        root = tree[-1]
        if root.status == "stopped":
            sums.stopped.add(str(root.attributes.get("item.id")))
            return
        sums.ended += 1
        key = trace_key(root.trace_id)
        if key in self._terms.wanted:
            self.keys.append(key)
            self.timelines.add(encode_timeline(tree, self._terms.chars))

    def _add_call(self, span: Span, agents: Mapping[str, Span], with_agents: bool) -> None:
        if span.attributes.get("recalled") or span.attributes.get("cached"):
            return  # no request was sent
        self._activity.took("calls", span.start_ns, span.end_ns)
        caller = agents.get(span.parent_id or "")
        agent = None if caller is None else self._agents.row(caller.name)
        self._add_attempt(self._model(span), span)
        if agent is not None:
            agent.retries += span.attributes.get("attempt", 1) > 1
            if with_agents:
                agent.attempts += 1
                _spend(agent, span)
        if span.error_type is not None:
            self._add_refusal(span, span.error_type)

    def _add_attempt(self, model: ShareBook, span: Span) -> None:
        model.attempts += 1
        model.retries += span.attributes.get("attempt", 1) > 1
        model.ended(span.status, span.error_type)
        model.queue.add(span.attributes.get("queued_s") or 0.0)
        _spend(model, span)
        if span.status == "ok":
            model.work.add((span.end_ns - span.start_ns) / 1e9)

    def _model(self, span: Span) -> ShareBook:
        name = str(span.attributes.get("endpoint") or span.name)
        found = self.sums.models.get((name, span.name))
        if found is None:
            provider = str(span.attributes.get("provider") or "")
            about = provider if name == span.name else " ".join(dict.fromkeys((provider, span.name)))
            found = self.sums.models[name, span.name] = ShareBook(name, about)
        return found

    def _add_agent(self, span: Span) -> None:
        row = self._agents.row(span.name)
        row.ended(span.status, span.error_type)
        if span.status in ("ok", "error", "timeout"):
            queued_s = span.attributes.get("queued_s") or 0.0
            row.queue.add(queued_s)
            row.work.add(span.duration_s - queued_s)

    def _add_refusal(self, span: Span, error_type: str) -> None:
        self._activity.failed(error_type, span.end_ns)
        self.sums.possibly_billed += bool(span.attributes.get("possibly_billed"))
        model = str(span.attributes.get("endpoint") or span.name)
        before = self.sums.failed.get((error_type, model))
        count = 1 if before is None else before.count + 1
        message = (span.error_message or "")[:_LONGEST_MESSAGE]
        self.sums.failed[error_type, model] = Refusals(error_type, model, count, message)

    def _add_waits(self, span: Span) -> None:
        for at, name, facts in span.events:
            if name == "retry":
                delay_s = facts.get("delay_s") or 0.0
                self._activity.took("waits", at, at + int(delay_s * 1e9))


def _spend(row: ShareBook, span: Span) -> None:
    if span.status == "ok":
        given, made = span.attributes.get("input_tokens") or 0, span.attributes.get("output_tokens") or 0
        row.spent(given, made, span.attributes.get("cost_usd"))
