"""One item's spans as the page draws them: in the order they began, times from the item's start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

from agentbatch.report.rows import trimmed
from agentbatch.trace import Span

KINDS = ("item", "group", "agent", "chat", "tool")
STATUSES = ("ok", "error", "timeout", "cancelled", "skipped", "stopped")

MOST_SPANS = 2000
"""Spans kept of one item: an endless tool loop has more."""

_KIND_CODES = {kind: code for code, kind in enumerate(KINDS)}
_STATUS_CODES = {status: code for code, status in enumerate(STATUSES)}
_STEPS = 5000
"""An item's length in the unit its times are given in, at least; a screen has fewer dots."""

_WITH_REQUEST_IDS = 2000
"""Request ids, which don't compress, are kept where an item may have that many characters."""


def encode_timeline(tree: Sequence[Span], chars: int) -> list[Any]:
    """`[microseconds a unit, spans left out, spans]`; a span is a list, and its parent a place in the list.

    `[kind, name, parent, start, length, status, queued, attempt, tokens in, tokens out, cost, more]`
    """
    spans = list(tree)[::-1]  # of what began at once, parents come first
    spans.sort(key=_start)
    begin = spans[0].start_ns
    unit = _unit(max(1, tree[-1].end_ns - begin))
    kept = spans[:MOST_SPANS]
    places = {span.span_id: place for place, span in enumerate(kept)}
    encoded: list[Any] = []
    for span in kept:
        line, chars = _span(span, places, begin, unit, chars)
        encoded.append(line)
    return [unit // 1000, len(spans) - len(kept), encoded]


def _start(span: Span) -> int:
    return span.start_ns if span.parent_id else span.start_ns - 1


def _unit(length_ns: int) -> int:
    """Nanoseconds: 1 us for what is short, then 10 us, 100 us, ..."""
    unit = 1000
    while length_ns // (unit * 10) >= _STEPS:
        unit *= 10
    return unit


def _span(span: Span, places: Mapping[str, int], begin: int, unit: int, chars: int) -> tuple[Sequence[Any], int]:
    get, start_ns = span.attributes.get, span.start_ns
    queued_s = get("queued_s")
    more, chars = _more(span, begin, unit, chars)
    encoded = [
        _KIND_CODES[span.kind],
        span.name,
        places.get(span.parent_id or "", -1),
        (start_ns - begin) // unit,
        (span.end_ns - start_ns) // unit,
        _STATUS_CODES.get(span.status, 0),
        int(queued_s * 1e9) // unit if queued_s else 0,
        get("attempt"),
        get("input_tokens"),
        get("output_tokens"),
        get("cost_usd") if span.kind == "chat" else None,
        more or None,
    ]
    return trimmed(encoded), chars


_FLAGS = ("possibly_billed", "cached", "recalled")
_TEXTS = ("arguments", "result")


def _more(span: Span, begin: int, unit: int, chars: int) -> tuple[dict[str, Any], int]:
    """What else the page shows of a span, by name; the text of people and models as far as `chars` go."""
    attributes = span.attributes
    more: dict[str, Any] = {}
    if span.error_type:
        more["error"] = [span.error_type, (span.error_message or "")[:2000]]
    if span.events:
        more["waits"] = [
            [(at - begin) // unit, int(facts.get("delay_s", 0) * 1e9) // unit]
            for at, name, facts in span.events
            if name == "retry"
        ]
    if span.kind == "chat":
        finish = attributes.get("finish_reason")
        if finish and finish != "stop":
            more["finish"] = finish
        if chars >= _WITH_REQUEST_IDS and "request_id" in attributes:
            more["request"] = attributes["request_id"]
        for flag in _FLAGS:
            if attributes.get(flag):
                more[flag] = 1
        if "http_status" in attributes:
            more["http"] = attributes["http_status"]
        if "messages" in attributes or "answer" in attributes:
            chars = _add_content(more, attributes, chars)
    elif span.kind == "tool":
        for name in _TEXTS:
            if name in attributes:
                text = str(attributes[name])
                more[name] = text[: max(0, chars)]
                chars -= len(more[name])
    elif attributes.get("path", span.name) != span.name:
        more["path"] = attributes["path"]
    return more, chars


def _add_content(more: dict[str, Any], attributes: Mapping[str, Any], chars: int) -> int:
    said: list[list[Any]] = []
    for name in ("messages", "answer"):
        for role, text in conversation(attributes.get(name)):
            kept = text[: max(0, chars)]
            chars -= len(kept)
            said.append([role, kept] if len(kept) == len(text) else [role, kept, len(text)])
    more["said"] = said
    return chars


def conversation(encoded: Any) -> list[tuple[str, str]]:
    """Roles and texts of messages in the shape of the OpenTelemetry conventions' JSON, as the trace file has them."""
    try:
        messages: Any = orjson.loads(encoded) if isinstance(encoded, str) else []
    except orjson.JSONDecodeError:
        return [("", str(encoded))]
    if not isinstance(messages, list):
        return []
    said: list[tuple[str, str]] = []
    for message in cast("list[Any]", messages):
        if isinstance(message, dict):
            fields = cast("dict[str, Any]", message)
            parts = cast("list[Any]", fields.get("parts")) if isinstance(fields.get("parts"), list) else []
            said.append((str(fields.get("role", "")), "\n".join(_part(part) for part in parts)))
    return said


def _part(part: Any) -> str:
    if not isinstance(part, dict):
        return str(part)
    fields = cast("dict[str, Any]", part)
    if fields.get("type") == "tool_call":
        return f"{fields.get('name')}({fields.get('arguments')})"
    text = fields.get("content", fields.get("response"))
    return text if isinstance(text, str) else orjson.dumps(text).decode()
