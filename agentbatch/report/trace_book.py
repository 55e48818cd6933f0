"""What the traces of a run say: every attempt, what it waited for and how it ended, and the timelines of the rows."""

from __future__ import annotations

from collections.abc import Mapping

from agentbatch.record import record
from agentbatch.report.activity import Activity
from agentbatch.report.blocks import Blocks, Packer
from agentbatch.report.breakdown import AgentBook, ShareBook
from agentbatch.report.item_book import ItemBook
from agentbatch.report.rows import Rows
from agentbatch.report.timelines import encode_timeline
from agentbatch.trace import Span

_TIMELINES_A_BLOCK = 128
_LONGEST_MESSAGE = 500


@record
class Refusals:
    """Failed attempts of one type at one model, whether or not another attempt mended it; the last one's message."""

    type: str
    model: str
    count: int
    message: str


class TraceBook:
    """Counts traces, one at a time.

    Attributes:
        models: by their names in the config, where the traces have them, and what the provider calls them.
        timelines: packed; `places` says which row's stands where.
        trees: traces read; `ended` of them are of items that have a result.
        unfinished: items that were begun and have no result.
        possibly_billed: failed attempts that the provider may have billed.
    """

    def __init__(self, activity: Activity, agents: AgentBook, rows: Rows, book: ItemBook, packer: Packer) -> None:
        self._activity, self._agents, self._rows, self._book = activity, agents, rows, book
        self.models: dict[tuple[str, str], ShareBook] = {}
        self.timelines = Blocks(_TIMELINES_A_BLOCK, packer)
        self.places: dict[int, int] = {}
        self.trees = self.ended = self.possibly_billed = 0
        self._stopped: set[str] = set()
        self._refusals: dict[tuple[str, str], Refusals] = {}

    def add(self, tree: list[Span], *, with_agents: bool) -> None:
        """One item's spans. `with_agents`: the results say nothing of their agents, so the spans have to."""
        self.trees += 1
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
            self._stopped.add(str(root.attributes.get("item.id")))
            return
        self.ended += 1
        row = self._rows.row_of_trace(root.trace_id)
        if row is not None:
            self.places[row] = self.timelines.add(encode_timeline(tree, self._rows.chars))

    @property
    def unfinished(self) -> int:
        """Items that were stopped in the middle, and have no result to this day."""
        return sum(self._book.slot_of(item_id) is None for item_id in self._stopped)

    def total(self, field: str) -> int:
        """A sum over all models."""
        return sum(getattr(model, field) for model in self.models.values())

    def refusals(self) -> list[Refusals]:
        """The failed attempts, the most frequent first."""
        return sorted(self._refusals.values(), key=lambda one: -one.count)

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
        found = self.models.get((name, span.name))
        if found is None:
            provider = str(span.attributes.get("provider") or "")
            about = provider if name == span.name else " ".join(dict.fromkeys((provider, span.name)))
            found = self.models[name, span.name] = ShareBook(name, about)
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
        self.possibly_billed += bool(span.attributes.get("possibly_billed"))
        model = str(span.attributes.get("endpoint") or span.name)
        before = self._refusals.get((error_type, model))
        count = 1 if before is None else before.count + 1
        message = (span.error_message or "")[:_LONGEST_MESSAGE]
        self._refusals[error_type, model] = Refusals(error_type, model, count, message)

    def _add_waits(self, span: Span) -> None:
        for at, name, facts in span.events:
            if name == "retry":
                delay_s = facts.get("delay_s") or 0.0
                self._activity.took("waits", at, at + int(delay_s * 1e9))


def _spend(row: ShareBook, span: Span) -> None:
    if span.status == "ok":
        given, made = span.attributes.get("input_tokens") or 0, span.attributes.get("output_tokens") or 0
        row.spent(given, made, span.attributes.get("cost_usd"))
