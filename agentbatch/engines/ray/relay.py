"""What a worker tells of while it works: spans for the driver's observers, trace lines, log messages."""

from __future__ import annotations

import logging
import traceback
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace

from agentbatch.engines.ray.parcels import LogRow, SpanRow
from agentbatch.text.redact import Redactor
from agentbatch.trace import Span, current_item
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

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
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
        clean = replace(
            span,
            tree=[],
            attributes=self._redactor.value(attributes),
            events=self._redactor.value(span.events),
            error_message=self._redactor.value(span.error_message),
        )
        self.waiting.append((word, clean))


class LogRelay(logging.Handler):
    """Keeps log messages for the driver's log."""

    def __init__(self, level: int, redactor: Redactor) -> None:
        super().__init__(level)
        self._redactor = redactor
        self.waiting: deque[LogRow] = deque(maxlen=_MOST_WAITING)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        try:
            self.waiting.append(self._row(record))
        except Exception:  # as every handler: logging must not raise into the code that logs
            self.handleError(record)

    @contextmanager
    def listening(self) -> Generator[None]:
        """Hear all of this process, from the levels that `run_log` sets on the driver."""
        root, ours = logging.getLogger(), logging.getLogger("agentbatch")
        before = root.level, ours.level
        root.setLevel(min(root.level, max(self.level, logging.INFO)))
        ours.setLevel(min(ours.getEffectiveLevel(), self.level))
        root.addHandler(self)
        try:
            yield
        finally:
            root.removeHandler(self)
            root.setLevel(before[0])
            ours.setLevel(before[1])

    def _row(self, record: logging.LogRecord) -> LogRow:
        thrown = record.exc_info[1] if record.exc_info else None
        trace = None if thrown is None else self._redactor.text("".join(traceback.format_exception(thrown)))
        span = current_item.get()
        about = {} if span is None else {"item": span.attributes.get("item.id"), "trace_id": span.trace_id}
        return record.name, record.levelno, self._redactor.text(record.getMessage()), trace, about


def log_again(row: LogRow) -> None:
    """The driver's end: log what a worker logged."""
    name, level, message, trace, about = row
    logger = logging.getLogger(name)
    if logger.isEnabledFor(level):
        record = logger.makeRecord(name, level, "", 0, "%s", (message,), None, extra={"about": about})
        record.exc_text = trace
        logger.handle(record)
