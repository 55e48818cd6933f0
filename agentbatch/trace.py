"""Spans: what happened, when, under what. The one stream of events that progress, trace files and exports listen to.

A `Span` is plain data, so that it can travel between machines; who listens is the `Tracer`'s business. Ids are those of
W3C Trace Context (https://www.w3.org/TR/trace-context/).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import getrandbits
from typing import Any, Literal, Protocol

from agentbatch.record import NEW_DICT, NEW_LIST

SpanKind = Literal["item", "group", "agent", "chat", "tool"]
SpanStatus = Literal["ok", "error", "timeout", "cancelled", "skipped", "stopped"]


@dataclass(slots=True)
class Span:
    """One piece of work with a beginning and an end. Times are Unix nanoseconds.

    `attributes` hold plain names (`model`, `input_tokens`); their spelling on the wire is `spans.py`'s business.
    `tree` is shared by all spans of one item, and gets each of them as it ends: children before parents.
    """

    name: str
    kind: SpanKind
    trace_id: str
    span_id: str
    parent_id: str | None
    start_ns: int
    tree: list[Span]
    attributes: dict[str, Any] = field(default_factory=NEW_DICT)
    events: list[tuple[int, str, dict[str, Any]]] = field(default_factory=NEW_LIST)
    end_ns: int = 0
    status: SpanStatus = "ok"
    error_type: str | None = None
    error_message: str | None = None
    began: float = 0.0
    """`time.perf_counter()` at the start: durations don't jump with the wall clock."""

    @property
    def traceparent(self) -> str:
        """The `traceparent` header value that names this span as the caller's."""
        return f"00-{self.trace_id}-{self.span_id}-01"

    @property
    def duration_s(self) -> float:
        """Seconds from start to end; 0 while it has not ended."""
        return max(0, self.end_ns - self.start_ns) / 1e9


def failed_agent(root: Span) -> str | None:
    """The agent that failed first with the error of the item: the deepest one, as children end before parents."""
    for span in root.tree:
        if span.kind == "agent" and span.error_type == root.error_type and span.status in ("error", "timeout"):
            return span.name
    return None


current_item: ContextVar[Span | None] = ContextVar("current_item", default=None)
"""The span of the item that the running code works for: by it, log records say which item they are about."""


class SpanObserver(Protocol):
    """Someone who wants to know. Called on the event loop, so each method must be quick and must not block."""

    def on_start(self, span: Span) -> None:
        """A span has begun; it may still be waiting for a permit."""
        ...

    def on_work(self, span: Span) -> None:
        """The first work inside an agent's or item's span has begun: it has left the queue."""
        ...

    def on_end(self, span: Span) -> None:
        """A span has ended, and will not change again."""
        ...


class Tracer:
    """Opens and closes spans and tells the observers. An observer that raises is dropped, never the run."""

    def __init__(self, observers: Iterable[SpanObserver] = ()) -> None:
        self.observers: tuple[SpanObserver, ...] = tuple(observers)

    def start(
        self, name: str, kind: SpanKind, parent: Span | None = None, attributes: dict[str, Any] | None = None
    ) -> Span:
        """Begin a span: a child of `parent`, or the root of a new trace. `attributes` are what is known of it now."""
        if parent is None:
            span = Span(name, kind, f"{getrandbits(128) or 1:032x}", f"{getrandbits(64) or 1:016x}", None, 0, [])
        else:
            span = Span(name, kind, parent.trace_id, f"{getrandbits(64) or 1:016x}", parent.span_id, 0, parent.tree)
        if attributes is not None:
            span.attributes = attributes
        span.start_ns = time.time_ns()
        span.began = time.perf_counter()
        for observer in self.observers:
            try:
                observer.on_start(span)
            except Exception:
                self._drop(observer)
        return span

    def work(self, span: Span) -> None:
        """Say that the work inside `span` has begun."""
        for observer in self.observers:
            try:
                observer.on_work(span)
            except Exception:
                self._drop(observer)

    def end(
        self, span: Span, status: SpanStatus = "ok", error_type: str | None = None, error_message: str | None = None
    ) -> None:
        """End a span. `error_type` and `error_message` say why its status is not ok."""
        span.end_ns = span.start_ns + int((time.perf_counter() - span.began) * 1e9)
        span.status, span.error_type, span.error_message = status, error_type, error_message
        span.tree.append(span)
        for observer in self.observers:
            try:
                observer.on_end(span)
            except Exception:
                self._drop(observer)
        if span.parent_id is not None:
            span.tree = []  # no circle: an item's spans go with the last reference, not with the garbage collector

    def _drop(self, observer: SpanObserver) -> None:
        self.observers = tuple(other for other in self.observers if other is not observer)
        logging.getLogger(__name__).exception("an observer failed and is no longer told: %r", observer)
