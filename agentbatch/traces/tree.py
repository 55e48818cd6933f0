"""One item as a tree of what was done for it, each part with its times, tokens and cost: of spans, or of a result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from agentbatch.record import record
from agentbatch.trace import Span
from agentbatch.traces.entries import root_of

Interval = tuple[float, float]
"""From when to when, in seconds from the item's start."""


@record
class Node:
    """The item, or a part of it: a group, an agent, an attempt, a tool call.

    Attributes:
        label: its name as people know it: `item 36`, `writer`, `refine[2]`.
        kind: `item`; an agent's or group's kind (`chat`, `parallel`); `attempt`; `tool`.
        stay: from its first queue to its end; None where only durations are known.
        work: when something of it was at work; the rest of its stay it queued, or slept before a retry.
        cost_usd: None where a price is unknown.
        notes: what else there is to say, in words of models and inputs: not yet fit for a terminal.
    """

    label: str
    kind: str
    status: str
    duration_s: float
    queued_s: float
    stay: Interval | None = None
    work: tuple[Interval, ...] = ()
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    notes: tuple[str, ...] = ()
    children: tuple[Node, ...] = ()


def tree_of_spans(spans: list[Span]) -> Node | None:
    """The tree of one trace; None if it has no root. A span whose parent is missing stands under the root."""
    root = root_of(spans)
    if root is None:
        return None
    known = {span.span_id for span in spans}
    below: dict[str, list[Span]] = {}
    for span in spans:
        if span is not root:
            parent = span.parent_id if span.parent_id in known else root.span_id
            below.setdefault(parent or "", []).append(span)
    return _node(root, below, root.start_ns, "", 0)


_DEEPEST: Final = 100
"""Levels shown: flows nest by what a person wrote, and a damaged file must not end in a recursion error."""


def _node(span: Span, below: Mapping[str, Sequence[Span]], zero: int, path: str, level: int) -> Node:
    own_path = span.attributes.get("path") or path
    spans = sorted(below.get(span.span_id, ()), key=lambda one: one.start_ns) if level < _DEEPEST else ()
    children = tuple(_node(child, below, zero, own_path, level + 1) for child in spans)
    stay = ((span.start_ns - zero) / 1e9, (span.end_ns - zero) / 1e9)
    queued_s = span.attributes.get("queued_s") or 0.0
    is_leaf = span.kind in ("chat", "tool")
    return Node(
        label=_label(span, own_path, path),
        kind={"chat": "attempt", "tool": "tool", "item": "item"}.get(span.kind) or str(span.attributes.get("kind", "")),
        status=span.status,
        duration_s=span.duration_s if is_leaf else max(0.0, span.duration_s - queued_s),
        queued_s=queued_s,
        # an attempt's span begins when its queue ends
        stay=(stay[0] - queued_s, stay[1]) if span.kind == "chat" else stay,
        work=_work(span, stay, queued_s, children),
        **_sums(span, children),
        notes=_news(_notes(span), children),
        children=children,
    )


def _label(span: Span, path: str, above: str) -> str:
    """The last part of the path, which tells iterations and copies apart."""
    if span.kind == "item":
        return f"item {span.attributes.get('item.id', '?')}"
    if span.kind in ("chat", "tool"):
        return span.name
    return path.removeprefix(f"{above}.") if above else path or span.name


def _work(span: Span, stay: Interval, queued_s: float, children: Sequence[Node]) -> tuple[Interval, ...]:
    """When it worked: when one of its children did; without children, since its queue was over."""
    if children:
        return tuple(_merged(interval for child in children for interval in child.work))
    if span.status == "skipped":
        return ()
    return (stay,) if span.kind == "chat" else ((min(stay[1], stay[0] + queued_s), stay[1]),)


def _merged(intervals: Iterable[Interval]) -> Iterator[Interval]:
    """The union, in order."""
    current: Interval | None = None
    for start, end in sorted(intervals):
        if current is None:
            current = (start, end)
        elif start <= current[1]:
            current = (current[0], max(current[1], end))
        else:
            yield current
            current = (start, end)
    if current is not None:
        yield current


def _sums(span: Span, children: Sequence[Node]) -> dict[str, Any]:
    """Requests, tokens and cost: an attempt's own, anything else's are those below it."""
    attributes = span.attributes
    if span.kind == "chat":
        return {
            "requests": 1,
            "input_tokens": attributes.get("input_tokens") or 0,
            "output_tokens": attributes.get("output_tokens") or 0,
            "cost_usd": attributes.get("cost_usd", None if span.status == "ok" else 0.0),
        }
    requests = sum(child.requests for child in children)
    return {
        "requests": requests,
        "input_tokens": sum(child.input_tokens for child in children),
        "output_tokens": sum(child.output_tokens for child in children),
        "cost_usd": attributes.get("cost_usd", _total(child.cost_usd for child in children)),
    }


def _total(costs: Iterable[float | None]) -> float | None:
    known = list(costs)
    return None if None in known else sum(cost for cost in known if cost is not None)


def _news(notes: Iterable[str], children: Sequence[Node]) -> tuple[str, ...]:
    """The notes that nothing below has as well: a failure is told once, where it happened."""
    told = {note for child in children for note in _told(child)}
    return tuple(note for note in notes if note not in told)


def _told(node: Node) -> Iterator[str]:
    yield from node.notes
    for child in node.children:
        yield from _told(child)


def _notes(span: Span) -> Iterator[str]:
    attributes = span.attributes
    if attributes.get("attempt", 1) > 1:
        yield f"attempt {attributes['attempt']}"
    if attributes.get("recalled"):
        yield "paid by an earlier run"
    if attributes.get("cached"):
        yield "from the cache"
    if attributes.get("finish_reason", "stop") not in ("stop", "tool_calls"):
        yield f"ended by {attributes['finish_reason']}"
    if span.error_type is not None:
        http = f" ({attributes['http_status']})" if attributes.get("http_status") else ""
        yield f"{span.error_type}{http}: {span.error_message or ''}".removesuffix(": ")
    if attributes.get("request_id"):
        yield f"request {attributes['request_id']}"
    if attributes.get("possibly_billed"):
        yield "possibly billed"


def tree_of_result(fields: Mapping[str, Any]) -> Node:
    """The tree of a result line: durations without places in time, and no attempts."""
    return Node(
        label=f"item {fields['id']}",
        kind="item",
        children=tuple(_steps(cast("Mapping[str, Mapping[str, Any]]", fields.get("agents") or {}))),
        **_figures(fields),
    )


def _steps(agents: Mapping[str, Mapping[str, Any]], above: str = "") -> Iterator[Node]:
    """The steps below `above`. A line knows them by their paths alone: `refine[2].critic` is below `refine[2]`."""
    for path, step in agents.items():
        if _parent(path, agents) == above:
            yield Node(
                label=path.removeprefix(f"{above}.") if above else path,
                kind=str(step.get("kind") or ""),
                children=tuple(_steps(agents, path)),
                **_figures(step),
            )


def _parent(path: str, agents: Mapping[str, Any]) -> str:
    while "." in path:
        path = path.rpartition(".")[0]
        if path in agents:
            return path
    return ""


def _figures(fields: Mapping[str, Any]) -> dict[str, Any]:
    usage: Mapping[str, Any] = fields.get("usage") or {}
    error: Mapping[str, Any] | None = fields.get("error")
    return {
        "status": str(fields.get("status")),
        "duration_s": fields.get("duration_s") or 0.0,
        "queued_s": fields.get("queued_s") or 0.0,
        "requests": usage.get("requests", fields.get("attempts") or 0),
        "input_tokens": usage.get("input_tokens", 0),
        "output_tokens": usage.get("output_tokens", 0),
        "cost_usd": fields.get("cost_usd"),
        "notes": () if error is None else (_failure(error),),
    }


def _failure(error: Mapping[str, Any]) -> str:
    http = f" ({error['http_status']})" if error.get("http_status") else ""
    agent = f" in {error['agent']}" if error.get("agent") else ""
    return f"{error.get('type')}{http}{agent}: {error.get('message') or ''}".removesuffix(": ")
