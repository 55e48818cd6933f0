"""`run --events FILE`: what happens, as JSON lines in the moment it happens, for whoever follows a run.

An event is one JSON object on a line of its own. Every event has:

    version    of this format: 1. Fields may be added within a version, never changed.
    time       RFC 3339, UTC, microseconds.
    event      NOUN.WORD. Nouns: run, item, group, iteration (one of a loop's), agent, attempt (one request to a model),
               tool. Words: `started` (it may still queue), `working` (it has left the queue), `ended`.
    id         of the run, or the span id that traces have: 16 hex digits.
    parent     the id that this one is inside; null for the run.
    trace_id   of the item, as in results and traces; null for the run.
    name       the agent's or group's name, the model's for an attempt, `item`, `run`.
    path       the agent's or group's key under `agents` in the result line (an attempt has its agent's); "" above them.
    item       {id, index}; null for the run.

An attempt's events also have `attempt`, from 1. What has ended also has:

    status     ok, error, timeout, cancelled, skipped; `stopped` for an item that the run's end left to do.
               For the run: ok, failed, stopped, interrupted, error.
    error      {type, message}, or null.
    usage      {input_tokens, output_tokens, requests}, of everything inside.
    cost_usd   of everything inside; null where a price is unknown.
    duration_s seconds at work; queued_s  seconds in queues.
    http_status, request_id  of an attempt, where the provider gave them.

`run.started` also has `agentbatch` (the program's version), `config`, `inputs`, `total` and `before` (items that have a
result already); `run.ended` also `exit_code`, `total`, `before`, `counts` and `remaining` as in the summary, and
`dropped`, the number of events that are not in the stream.

Everything that started ends, unless the process is killed. A reader that is slow or gone never slows the run: beyond
20,000 waiting events new ones are dropped and counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from random import getrandbits
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from agentbatch import __version__
from agentbatch.events.lines import EVENTS_VERSION, SpanEvent, Subject, Word
from agentbatch.events.writer import EventWriter
from agentbatch.files.plain_json import dump_line
from agentbatch.results import format_time
from agentbatch.text.figures import counted
from agentbatch.trace import Span

if TYPE_CHECKING:
    from agentbatch.summary import Summary

MAX_WAITING_EVENTS: Final = 20_000
"""Events that are not yet written; more are dropped, and counted."""

_PATIENCE_S = 1.0
"""How long the end of the run waits for a slow reader, twice."""


class EventFile:
    """A `SpanObserver` that streams events, from a thread of its own. `start` it, and `end` or `abort` it.

    `path` may be a file (which is appended to), a named pipe (which may get its reader later), or `-` for stdout.

    Raises:
        OutputError: it can't be opened for writing.
    """

    def __init__(
        self,
        path: str,
        *,
        fresh: bool = False,
        redact: Callable[[bytes], bytes] = bytes,
        max_waiting: int = MAX_WAITING_EVENTS,
        period: float = 0.05,
    ) -> None:
        self._id = f"{getrandbits(64) or 1:016x}"
        self._redact = redact
        self._open: dict[str, Subject] = {}
        self._out = EventWriter(path, fresh=fresh, encode=self._encode, max_waiting=max_waiting, period=period)
        self._began = perf_counter()

    @property
    def note(self) -> str | None:
        """What to say about events that are not in the stream; None where all are."""
        missing = self._out.missing
        return (
            f"{counted(missing, 'event is', 'events are')} not in {self._out.name}: {self._out.error or 'busy'}"
            if missing
            else None
        )

    def on_start(self, span: Span) -> None:
        """Something began."""
        subject = Subject.of(span, self._open.get(span.parent_id or ""))
        self._open[span.span_id] = subject
        self._put("started", span.start_ns, span, subject)

    def on_work(self, span: Span) -> None:
        """It left the queue."""
        subject = self._open.get(span.span_id)
        if subject is not None:
            self._put("working", time.time_ns(), span, subject)

    def on_end(self, span: Span) -> None:
        """It ended."""
        subject = self._open.pop(span.span_id, None)
        if subject is None:  # it ran elsewhere, and its beginning was not seen
            subject = Subject.of(span, self._open.get(span.parent_id or ""))
        if span.kind == "chat":
            subject.count_request(span)
        self._put("ended", span.end_ns, span, subject)

    def start(self, *, config: str, inputs: str, total: int | None, before: int) -> None:
        """Say that the run begins."""
        facts = {"agentbatch": __version__, "config": config, "inputs": inputs, "total": total, "before": before}
        self._put_run("started", facts)

    def drain(self) -> None:
        """Give the writer the time to write what waits, if anybody reads."""
        self._out.drain(_PATIENCE_S)

    def end(self, summary: Summary) -> None:
        """Say how the run ended, and close."""
        error = None if summary.stop_reason is None else {"type": summary.verdict, "message": summary.stop_reason}
        facts = {
            **_run_end(summary.verdict, error, summary.wall_s),
            "usage": {
                "input_tokens": summary.input_tokens,
                "output_tokens": summary.output_tokens,
                "requests": summary.calls,
            },
            "cost_usd": summary.cost_usd,
            "exit_code": summary.exit_code,
            "total": summary.total,
            "before": dict(summary.before),
            "counts": dict(summary.counts),
            "remaining": summary.remaining,
            "dropped": self._out.missing,
        }
        self._put_run("ended", facts)
        self._out.close(_PATIENCE_S)

    def abort(self, error: BaseException) -> None:
        """Say that the run broke off, and close."""
        self.drain()
        failure = {"type": type(error).__name__, "message": str(error)}
        facts = _run_end("error", failure, perf_counter() - self._began)
        self._put_run("ended", {**facts, "dropped": self._out.missing})
        self._out.close(_PATIENCE_S)

    def _put(self, word: Word, time_ns: int, span: Span, subject: Subject) -> None:
        self._out.put(SpanEvent(word, time_ns, span, subject))

    def _encode(self, events: list[SpanEvent | bytes]) -> bytes:
        lines = [event if isinstance(event, bytes) else event.line(self._id) for event in events]
        return self._redact(b"".join(lines))

    def _put_run(self, word: Word, facts: Mapping[str, Any]) -> None:
        head = {
            "version": EVENTS_VERSION,
            "time": format_time(time.time_ns()),
            "event": f"run.{word}",
            "id": self._id,
            "parent": None,
            "trace_id": None,
            "name": "run",
            "path": "",
            "item": None,
        }
        self._out.put(dump_line({**head, **facts}))


def _run_end(status: str, error: Mapping[str, str] | None, duration_s: float) -> dict[str, Any]:
    return {"status": status, "error": error, "duration_s": round(duration_s, 6), "queued_s": 0.0}
