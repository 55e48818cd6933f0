"""Spans as log records: what failed and what is tried again at INFO, everything else at DEBUG."""

from __future__ import annotations

import logging
from typing import Any, Final

from agentbatch.trace import Span, current_item

_LOGGER: Final = logging.getLogger(__name__)
_WORTH_TELLING: Final = frozenset({"chat", "tool", "item"})
"""Failures of agents and groups are those of what is below them, told again."""


class SpanLog:
    """A `SpanObserver` that logs each span's end."""

    def on_start(self, span: Span) -> None:
        """Nothing to say."""

    def on_work(self, span: Span) -> None:
        """Nothing to say."""

    def on_end(self, span: Span) -> None:
        """Say how it ended."""
        failed = span.error_type is not None
        level = logging.INFO if failed and span.kind in _WORTH_TELLING else logging.DEBUG
        if _LOGGER.isEnabledFor(level):
            _LOGGER.log(level, "%s", _sentence(span), extra={"about": _about(span)})


def _sentence(span: Span) -> str:
    name = _name(span)
    if span.error_type is None:
        return f"{name} ended {span.status} after {span.duration_s:.3f} s"
    http = f" ({span.attributes['http_status']})" if span.attributes.get("http_status") else ""
    return f"{name} failed after {span.duration_s:.3f} s: {span.error_type}{http}: {span.error_message or ''}"


def _name(span: Span) -> str:
    """What it is about, for a person: without the log's own fields, the item's id must be in the words."""
    item = _item_of(span)
    of = "" if item is None else f"item {item}: "
    if span.kind == "item":
        return f"item {item}"
    if span.kind == "chat":
        return f"{of}attempt {span.attributes.get('attempt', 1)} on {span.name}"
    return f"{of}{span.kind} {span.name}"


def _item_of(span: Span) -> Any:
    if "item.id" in span.attributes:
        return span.attributes["item.id"]
    current = current_item.get()
    return None if current is None or current.trace_id != span.trace_id else current.attributes.get("item.id")


def _about(span: Span) -> dict[str, Any]:
    """The fields that a record of a span has beside its sentence."""
    about: dict[str, Any] = {"item": _item_of(span), "trace_id": span.trace_id, "span_id": span.span_id}
    if span.attributes.get("request_id"):
        about["request_id"] = span.attributes["request_id"]
    return about
