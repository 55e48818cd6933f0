"""Where a run tells what happens while it goes: counts for a display, traces, a collector, the event stream, a log."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentbatch.events import EventFile
from agentbatch.logs import SpanLog
from agentbatch.otel.choice import otel_choice
from agentbatch.otel.pipe import CLOSE_S, OtelPipe
from agentbatch.progress import Tally
from agentbatch.text.figures import counted
from agentbatch.text.redact import Redactor
from agentbatch.trace import SpanObserver
from agentbatch.traces.trace_file import TraceFile

if TYPE_CHECKING:
    from agentbatch.config import Config
    from agentbatch.run.options import RunOptions
    from agentbatch.summary import Summary

_HURRIED_S = 0.5
"""A run that is told to stop at once gives the collector so long."""


class Outlets:
    """Those of one run, open from the beginning.

    Attributes:
        tally: the counts. traces: the trace file, where one is written.
        others: whoever else hears of spans.

    Raises:
        ConfigError: spans are to go to a collector, and its libraries are not installed.
        OutputError: a file can't be written.
    """

    def __init__(self, config: Config, options: RunOptions, redactor: Redactor) -> None:
        self._redactor = redactor
        self._config_name = "" if config.origin is None else config.origin.text.name
        environ, self._otel_note = otel_choice(config.trace.otlp, options.otel, os.environ)
        self._otel = None if environ is None else OtelPipe(environ)
        self.tally = Tally(tuple(config.agents), redactor.text)
        self.traces = _open_traces(config, options, redactor, self._otel)
        self._events = _open_events(options, redactor)
        logs_spans = options.terminal is not None and options.log.lowest_level <= logging.INFO
        others = (self._events, SpanLog() if logs_spans else None)
        self.others: tuple[SpanObserver, ...] = tuple(each for each in others if each is not None)

    @property
    def observers(self) -> list[SpanObserver]:
        """All that hear of spans."""
        return [self.tally, *(() if self.traces is None else (self.traces,)), *self.others]

    @contextmanager
    def told(self, inputs: str, total: int | None, before: int) -> Generator[None]:
        """Tell whoever follows the run that it begins, or breaks off."""
        if self._events is None:
            yield
            return
        self._events.start(config=self._config_name, inputs=inputs, total=total, before=before)
        try:
            yield
        except BaseException as error:
            self._events.abort(error)
            raise

    async def close(self, *, hurried: bool) -> None:
        """No more spans come. What follows the run is told its end by `tell_end`."""
        if self.traces is not None:
            self.traces.close()
        if self._otel is not None:
            await asyncio.to_thread(self._otel.close, _HURRIED_S if hurried else CLOSE_S)

    def drain(self) -> None:
        """Give what waits the time to be written, before `notes` say what was not."""
        if self._events is not None:
            self._events.drain()

    def tell_end(self, summary: Summary) -> None:
        """Tell whoever follows the run how it ended."""
        if self._events is not None:
            self._events.end(summary)

    def notes(self) -> Iterator[str]:
        """What did not get where it was to go."""
        if self.traces is not None and self.traces.dropped:
            spans = counted(self.traces.dropped, "span is", "spans are")
            yield f"{spans} not in {self.traces.path}: {self.traces.error or 'busy'}"
        if self._otel is not None and self._otel.dropped:
            why = self._redactor.text(self._otel.error or "")
            yield f"{counted(self._otel.dropped, 'span')} did not get to the collector: {why}"
        if self._otel_note is not None:
            yield self._otel_note
        if self._events is not None and self._events.note is not None:
            yield self._events.note


def _open_traces(config: Config, options: RunOptions, redactor: Redactor, otel: OtelPipe | None) -> TraceFile | None:
    if options.traces is None and otel is None:
        return None
    return TraceFile(options.traces, config.trace.content, fresh=options.overwrite, redact=redactor.data, also=otel)


def _open_events(options: RunOptions, redactor: Redactor) -> EventFile | None:
    """The event stream, where one is wanted."""
    if options.events is None:
        return None
    return EventFile(options.events, fresh=options.overwrite, redact=redactor.data)
