"""Following a run from another process, by the files that it writes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from agentbatch.files.growing_lines import GrowingLines
from agentbatch.files.lock import Holder
from agentbatch.progress import Tally
from agentbatch.results.files import ResultFiles
from agentbatch.results.lines import parse_result
from agentbatch.results.stats import agent_of
from agentbatch.trace import Span, SpanKind
from agentbatch.traces.entries import start_of
from agentbatch.traces.otlp import decode_trace


class RunWatch:
    """What a run has done so far, counted from its traces, or from its results where it writes no traces.

    Attributes:
        tally: the counts, as the run's own display has them; what has not ended is not in the files.
        total: items that the run will do; None where it does not say.
        before: items that earlier runs finished.
    """

    def __init__(self, results: Path, holder: Holder, traces: Path | None = None) -> None:
        """Nothing is read yet: call `update`."""
        self._began_ns = _whole_number(holder.facts.get("began_ns")) or 0
        elapsed_s = max(0.0, (time.time_ns() - self._began_ns) / 1e9) if self._began_ns else 0.0
        self.before = _whole_number(holder.facts.get("before")) or 0
        total = _whole_number(holder.facts.get("total"))
        self.total = None if total is None else max(0, total - self.before)
        traces = traces or ResultFiles(results).traces
        self._reads_traces = traces.exists()
        self._lines = GrowingLines(traces if self._reads_traces else results)
        self.tally = Tally(elapsed_s=elapsed_s)

    def update(self) -> None:
        """Count what the run has written since the last time."""
        for line in self._lines.new():
            if self._lines.restarts:  # put in order at the run's end, or begun again by another run
                return
            tree = decode_trace(line) if self._reads_traces else spans_of_result(line)
            if tree and tree[-1].start_ns >= self._began_ns:
                replay(tree, self.tally)


def replay(tree: Sequence[Span], tally: Tally) -> None:
    """Let a tally see the spans of an item that has ended, children before parents, as if it had been there."""
    for span in sorted(tree, key=lambda each: each.start_ns):
        tally.on_start(span)
        tally.on_work(span)
    for span in tree:
        tally.on_end(span)


def spans_of_result(line: bytes) -> list[Span]:
    """The spans that a result line speaks of: its agents, each with one request that stands for all, and the item."""
    fields = parse_result(line)
    if fields is None:
        return []
    start_ns = start_of(fields)
    tree: list[Span] = []
    root = _span("item", "item", None, start_ns, fields, tree)
    root.attributes["item.id"] = fields["id"]
    for number, (path, step) in enumerate(_agents(fields)):
        agent = _span(agent_of(path), "agent", root, start_ns, step, tree, number)
        tree += [*_requests(agent, step, tree), agent]
    tree.append(root)
    return tree


def _agents(fields: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path, step in cast("Mapping[str, Mapping[str, Any]]", fields.get("agents") or {}).items():
        if "kind" not in step:
            yield path, step


def _requests(agent: Span, step: Mapping[str, Any], tree: list[Span]) -> Iterator[Span]:
    """Spans for the requests of an agent. How many of them were retries, and how each ended, the line does not say."""
    usage: Mapping[str, Any] = step.get("usage") or {}
    for number in range(usage.get("requests") or 0):
        span = Span(
            agent.name, "chat", agent.trace_id, f"{agent.span_id}.{number}", agent.span_id, agent.start_ns, tree
        )
        span.end_ns = span.start_ns
        span.attributes = {"cost_usd": 0.0}
        if number == 0:
            span.attributes = {name: usage.get(name) for name in ("input_tokens", "output_tokens")}
            span.attributes["cost_usd"] = step.get("cost_usd")
        yield span


def _span(
    name: str,
    kind: SpanKind,
    parent: Span | None,
    start_ns: int,
    fields: Mapping[str, Any],
    tree: list[Span],
    number: int = 0,
) -> Span:
    trace_id = str(fields.get("trace_id") or "") if parent is None else parent.trace_id
    span = Span(name, kind, trace_id, f"{trace_id}.{kind}.{number}", parent and parent.span_id, start_ns, tree)
    queued_s, duration_s = fields.get("queued_s") or 0.0, fields.get("duration_s") or 0.0
    span.attributes = {"queued_s": queued_s}
    span.end_ns = start_ns + int((queued_s + duration_s) * 1e9)
    span.status = fields["status"]
    error: Mapping[str, Any] | None = fields.get("error")
    if error is not None:
        span.error_type, span.error_message = str(error.get("type")), str(error.get("message"))
    return span


def _whole_number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
