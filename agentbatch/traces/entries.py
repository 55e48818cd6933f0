"""What one line of a trace file, or of a results file, says of its item in short: enough to list it and to find it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

import orjson

from agentbatch.trace import Span, failed_agent
from agentbatch.traces.otlp import decode_trace

_SPAN: Final = b'{"traceId":'
"""How a span begins in a line of ours. It stands nowhere else: inside a JSON text its quotes would be escaped."""
_AFTER_SPANS: Final = b"]}]}]}\n"

_ERROR: Final = 2
"""OTLP's `STATUS_CODE_ERROR`."""

_MOST_MESSAGE: Final = 300


class TraceEntry(NamedTuple):
    """One item's stay in a run.

    Attributes:
        offset, length: where its line stands in the file, in bytes.
        trace_id: 32 hex digits.
        item_id: as text, whatever it was in the inputs.
        status: `ok`, `error`, `timeout`, `cancelled`, `skipped`; `stopped` where the run ended before it.
        start_ns: Unix time in nanoseconds; 0 where it is unknown.
        duration_s: seconds of work; queued_s: seconds in which nothing of it worked.
        cost_usd: None where a price is unknown.
        error_type, error_message: None where it did not fail. The message is cut.
        agent: whose error it is; None where no agent failed, or it is not known.
    """

    offset: int
    length: int
    trace_id: str
    item_id: str
    status: str
    start_ns: int
    duration_s: float
    queued_s: float
    cost_usd: float | None
    error_type: str | None
    error_message: str | None
    agent: str | None = None

    @property
    def failed(self) -> bool:
        """Whether it ended, and not well."""
        return self.status not in ("ok", "skipped", "stopped")


def entry_of_trace(line: bytes, offset: int) -> TraceEntry | None:
    """The entry of a line of a trace file; None if it is torn or no trace.

    The root is a trace's last span, and the only one that is parsed where nothing failed: the others are most of the
    line.
    """
    try:
        root = orjson.loads(line[line.rindex(_SPAN) : -len(_AFTER_SPANS)])
        if root["parentSpanId"] or root["status"]["code"] == _ERROR:
            return _entry_of_tree(line, offset)
        return _entry_of_root(root, line, offset)
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return _entry_of_tree(line, offset)


def _entry_of_root(root: Mapping[str, Any], line: bytes, offset: int) -> TraceEntry | None:
    values = {attribute["key"]: attribute["value"] for attribute in root["attributes"]}
    status = values["agentbatch.status"]["stringValue"]
    queued_s, cost = _number(values.get("agentbatch.queued_s")) or 0.0, _number(values.get("agentbatch.cost_usd"))
    start_ns = int(root["startTimeUnixNano"])
    error = values.get("error.type")
    message = root["status"].get("message")
    return TraceEntry(
        offset=offset,
        length=len(line),
        trace_id=root["traceId"],
        item_id=str(next(iter(values["agentbatch.item.id"].values()))),
        status=status,
        start_ns=start_ns,
        duration_s=max(0.0, (int(root["endTimeUnixNano"]) - start_ns) / 1e9 - queued_s),
        queued_s=queued_s,
        cost_usd=cost,
        error_type=None if error is None else error["stringValue"],
        error_message=None if message is None else message[:_MOST_MESSAGE],
    )


def _number(value: Mapping[str, Any] | None) -> float | None:
    """An OTLP number; the whole ones are written as text."""
    return None if value is None else float(next(iter(value.values())))


def _entry_of_tree(line: bytes, offset: int) -> TraceEntry | None:
    """The slow way, for lines that another program has written anew."""
    root = root_of(decode_trace(line))
    if root is None:
        return None
    attributes = root.attributes
    queued_s, cost = attributes.get("queued_s") or 0.0, attributes.get("cost_usd")
    return TraceEntry(
        offset=offset,
        length=len(line),
        trace_id=root.trace_id,
        item_id=str(attributes.get("item.id", "?")),
        status=root.status,
        start_ns=root.start_ns,
        duration_s=max(0.0, root.duration_s - queued_s),
        queued_s=queued_s,
        cost_usd=cost,
        error_type=root.error_type,
        error_message=None if root.error_message is None else root.error_message[:_MOST_MESSAGE],
        agent=None if root.error_type is None else failed_agent(root),
    )


def root_of(tree: list[Span]) -> Span | None:
    """The span that the others are under: the last that has no parent."""
    return next((span for span in reversed(tree) if span.parent_id is None), None)


def entry_of_result(line: bytes, offset: int) -> TraceEntry | None:
    """The entry of a line of a results file; None if it is torn or no result."""
    try:
        value = orjson.loads(line)
        return _entry_of_fields(cast("dict[str, Any]", value), len(line), offset)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _entry_of_fields(fields: Mapping[str, Any], length: int, offset: int) -> TraceEntry:
    error = fields.get("error")
    return TraceEntry(
        offset=offset,
        length=length,
        trace_id=str(fields.get("trace_id") or ""),
        item_id=str(fields["id"]),
        status=str(fields["status"]),
        start_ns=start_of(fields),
        duration_s=float(fields.get("duration_s") or 0.0),
        queued_s=float(fields.get("queued_s") or 0.0),
        cost_usd=fields.get("cost_usd"),
        error_type=None if error is None else str(error["type"]),
        error_message=None if error is None else str(error["message"])[:_MOST_MESSAGE],
        agent=None if error is None or error.get("agent") is None else str(error["agent"]),
    )


def start_of(fields: Mapping[str, Any]) -> int:
    """When a result line's item began, as Unix nanoseconds; 0 where the line does not say."""
    try:
        return round(datetime.fromisoformat(fields["started_at"]).timestamp() * 1e6) * 1000
    except (KeyError, ValueError, TypeError):
        return 0
