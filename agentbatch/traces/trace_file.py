"""The trace file: one line per item, written beside the run and never in its way."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from agentbatch.errors import OutputError
from agentbatch.files.append_lines import append, open_for_append
from agentbatch.trace import Span
from agentbatch.traces.otlp import decode_trace, encode_trace

__all__ = ["MAX_WAITING_TRACES", "TraceFile", "encode_trace", "read_traces"]

MAX_WAITING_TRACES: Final = 10_000
"""Ended items whose lines are not yet written; more are dropped, and counted."""


class TraceSink(Protocol):
    """Where else trace lines go."""

    def put(self, line: bytes, spans: int) -> None:
        """Take one item's line, which has so many spans, without waiting for anything."""
        ...


class TraceFile:
    """A `SpanObserver` that appends one line per ended item, from a thread of its own.

    The run never waits for it and never fails by it: where the disk is full or slow, spans are dropped and counted.
    Lines reach the file within about `period` seconds, and all of them at `close()`.
    """

    def __init__(
        self,
        path: Path | None,
        content: bool = False,
        *,
        fresh: bool = False,
        redact: Callable[[bytes], bytes] | None = None,
        also: TraceSink | None = None,
        max_waiting: int = MAX_WAITING_TRACES,
        period: float = 0.1,
    ) -> None:
        """Open the file, empty it if `fresh`, and cut a line that an earlier run left torn.

        Without a path the lines only go to `also`.

        Raises:
            OutputError: the file can't be opened for appending.
        """
        self.path = path
        self.error: str | None = None
        self._content = content
        self._redact = redact
        self._also = also
        self._period = period
        self._waiting: deque[list[Span] | bytes] = deque()
        self._max_waiting = max_waiting
        self._refused = 0
        self._lost = 0
        self._closing = threading.Event()
        self._fd = None if path is None else _open(path, fresh)
        self._thread = threading.Thread(target=self._write_until_closed, name="trace file", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Spans that are not in the file and never will be."""
        return self._refused + self._lost

    def on_start(self, span: Span) -> None:
        """Nothing to do: a span is written when its item has ended."""

    def on_work(self, span: Span) -> None:
        """Nothing to do."""

    def on_end(self, span: Span) -> None:
        """Hand over the whole tree when its root ends."""
        if span.kind != "item":
            return
        if len(self._waiting) >= self._max_waiting or self._closing.is_set():
            self._refused += len(span.tree)
        else:
            self._waiting.append(span.tree)

    def put(self, line: bytes) -> None:
        """One item's line, from where it was worked on."""
        if len(self._waiting) >= self._max_waiting or self._closing.is_set():
            self._refused += 1
        else:
            self._waiting.append(line)

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits and close the file. Gives up after `timeout` seconds: traces are never worth a hang."""
        self._closing.set()
        self._thread.join(timeout)
        if self._thread.is_alive():  # a write that hangs (a dead network disk); the thread is a daemon
            self._refused += sum(_spans_in(each) for each in list(self._waiting))
            self.error = self.error or "the disk did not answer"

    def _write_until_closed(self) -> None:
        """Looked at by the clock, not woken per item: a wake-up per item would fight the event loop for the GIL."""
        try:
            while not self._closing.wait(self._period):
                self._write_waiting()
            self._write_waiting()
        finally:
            if self._fd is not None:
                os.close(self._fd)

    def _write_waiting(self) -> None:
        while self._waiting:
            trees = [self._waiting.popleft() for _ in range(min(len(self._waiting), 200))]
            lines = [each if isinstance(each, bytes) else self._encode(each) for each in trees]
            try:
                if self._fd is not None:
                    append(self._fd, b"".join(lines))
            except OSError as error:
                self._lost += sum(_spans_in(each) for each in trees)
                self.error = error.strerror or str(error)
            if self._also is not None:
                for line, each in zip(lines, trees, strict=True):
                    self._also.put(line, _spans_in(each))

    def _encode(self, tree: list[Span]) -> bytes:
        try:
            line = encode_trace(tuple(tree), content=self._content)
        except (TypeError, ValueError) as error:  # a value that has no JSON form, such as a lone surrogate
            self._lost += len(tree)
            self.error = str(error)
            return b""
        return self._redact(line) if self._redact else line


def _spans_in(trace: list[Span] | bytes) -> int:
    """How many spans a trace has; one at least, where they are not counted."""
    return 1 if isinstance(trace, bytes) else len(trace)


def _open(path: Path, fresh: bool) -> int:
    try:
        return open_for_append(path, fresh=fresh)
    except OSError as error:
        raise OutputError(
            f"{path}: the trace file can't be written: {error.strerror}. "
            "Choose another with --traces FILE, or none with --no-traces"
        ) from error


def read_traces(path: Path, trace_id: str | None = None) -> Iterator[list[Span]]:
    """The span trees of a trace file, in the order their items ended; only the one of `trace_id` if given.

    Attributes have their plain names again. A line that is torn (a run was killed) or is no trace is skipped.
    """
    wanted = trace_id.encode() if trace_id else b""
    with path.open("rb") as file:
        for line in file:
            if wanted in line and (tree := decode_trace(line)) and trace_id in (None, tree[-1].trace_id):
                yield tree
