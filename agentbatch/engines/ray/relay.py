"""What a worker tells of while it works: spans for the driver's observers, trace lines, log messages."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from agentbatch.engines.ray.parcels import LogRow, SpanRow
from agentbatch.trace import Span
from agentbatch.traces.otlp import encode_trace

_MOST_WAITING = 20_000
"""Spans and messages that wait for the driver; more are dropped."""


class TraceLines:
    """A `SpanObserver` that makes each item's line of the trace file, to travel with its result."""

    def __init__(self, content: bool, redact: Callable[[bytes], bytes]) -> None:
        self._content = content
        self._redact = redact
        self._lines: dict[int, bytes] = {}

    def on_start(self, span: Span) -> None:
        """Nothing to do: a span is written when its item has ended."""

    def on_work(self, span: Span) -> None:
        """Nothing to do."""

    def on_end(self, span: Span) -> None:
        """An item's root has ended: its tree is whole."""
        if span.kind == "item":
            try:
                line = encode_trace(tuple(span.tree), content=self._content)
            except (TypeError, ValueError):  # a value that has no JSON form
                return
            self._lines[span.attributes["item.index"]] = self._redact(line)

    def take(self, index: int) -> bytes | None:
        """The line of an item that has ended."""
        return self._lines.pop(index, None)


class SpanRelay:
    """A `SpanObserver` that keeps what it is told for observers in another process."""

    def __init__(self) -> None:
        self.waiting: deque[SpanRow] = deque(maxlen=_MOST_WAITING)

    def on_start(self, span: Span) -> None:
        """A span has begun."""
        self._put("started", span)

    def on_work(self, span: Span) -> None:
        """It has left the queue."""
        self._put("working", span)

    def on_end(self, span: Span) -> None:
        """It has ended."""
        self._put("ended", span)

    def _put(self, word: str, span: Span) -> None:
        attributes = {name: value for name, value in span.attributes.items() if name not in ("messages", "answer")}
        self.waiting.append((word, replace(span, tree=[], attributes=attributes)))


class LogRelay(logging.Handler):
    """Keeps log messages for the driver's log."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.waiting: deque[LogRow] = deque(maxlen=_MOST_WAITING)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.waiting.append((record.name, record.levelno, record.getMessage()))
