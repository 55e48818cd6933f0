"""Events as lines of JSON. What each field means stands in `events.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from agentbatch.files.plain_json import dump_line
from agentbatch.results import format_time
from agentbatch.trace import Span

EVENTS_VERSION = 1

Word = Literal["started", "working", "ended"]

_NOUNS: Final = {"item": "item", "group": "group", "agent": "agent", "chat": "attempt", "tool": "tool"}


@dataclass(slots=True, eq=False)
class Subject:
    """What events of one span say beside the span's own fields, and the tokens that were spent inside it so far."""

    item: Mapping[str, Any] | None
    path: str
    noun: str
    parent: Subject | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0

    @classmethod
    def of(cls, span: Span, parent: Subject | None) -> Subject:
        """The subject of a span that begins. What it takes part in, it shares with its parent."""
        attributes = span.attributes
        if "item.id" in attributes:
            item = {"id": attributes["item.id"], "index": attributes.get("item.index")}
        else:
            item = None if parent is None else parent.item
        path = attributes.get("path") or ("" if parent is None else parent.path)
        noun = "iteration" if attributes.get("kind") == "iteration" else _NOUNS[span.kind]
        return cls(item, path, noun, parent)

    def count_request(self, span: Span) -> None:
        """Add what a request that has ended used, here and to all above. An answer from the cache used nothing."""
        if span.attributes.get("cached"):
            return
        given, made = span.attributes.get("input_tokens") or 0, span.attributes.get("output_tokens") or 0
        subject: Subject | None = self
        while subject is not None:
            subject.requests += 1
            subject.input_tokens += given
            subject.output_tokens += made
            subject = subject.parent


class SpanEvent(NamedTuple):
    """Something that happened to a span, at a Unix time in nanoseconds."""

    word: Word
    time_ns: int
    span: Span
    subject: Subject

    def line(self, run_id: str) -> bytes:
        """Its line of JSON. `run_id` is the parent of those spans that have none."""
        span, subject = self.span, self.subject
        event = {
            "version": EVENTS_VERSION,
            "time": format_time(self.time_ns),
            "event": f"{subject.noun}.{self.word}",
            "id": span.span_id,
            "parent": span.parent_id or run_id,
            "trace_id": span.trace_id,
            "name": span.name,
            "path": span.attributes.get("path") or subject.path,
            "item": subject.item,
        }
        if span.kind == "chat":
            event["attempt"] = span.attributes.get("attempt", 1)
        if self.word == "ended":
            event |= _end(span, subject)
        return dump_line(event)


def _end(span: Span, subject: Subject) -> dict[str, Any]:
    attributes = span.attributes
    failed = span.error_type is not None
    unpriced = span.kind == "chat" and span.status == "ok"
    queued = attributes.get("queued_s") or 0.0
    end: dict[str, Any] = {
        "status": span.status,
        "error": {"type": span.error_type, "message": span.error_message or ""} if failed else None,
        "usage": {
            "input_tokens": subject.input_tokens,
            "output_tokens": subject.output_tokens,
            "requests": subject.requests,
        },
        "cost_usd": attributes.get("cost_usd", None if unpriced else 0.0),
        "duration_s": round(
            span.duration_s if span.kind in ("chat", "tool") else max(0.0, span.duration_s - queued), 6
        ),
        "queued_s": round(queued, 6),
    }
    return end | {name: attributes[name] for name in ("http_status", "request_id") if attributes.get(name)}
