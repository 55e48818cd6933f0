"""Finding an item in the files of a run: in its traces, or, where there are none, in its results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from agentbatch.errors import InputError
from agentbatch.record import record
from agentbatch.results import format_time
from agentbatch.results.files import ResultFiles
from agentbatch.results.lines import find_result, parse_result, reading
from agentbatch.results.opening import no_results
from agentbatch.text.redact import visible
from agentbatch.trace import Span
from agentbatch.traces.entries import TraceEntry, entry_of_result
from agentbatch.traces.index import ErrorKind, TraceIndex
from agentbatch.traces.longest import LongestStep, longest_step

_SHORTEST: Final = 4
"""Hex digits that may stand for a whole trace id."""
_TRACE_START: Final = b'{"resourceSpans"'


@record
class Found:
    """One item: its spans, or, where it has no trace, its result line.

    `others` are further stays of the same item, the oldest first.
    """

    entry: TraceEntry | None
    spans: tuple[Span, ...] = ()
    result: Mapping[str, Any] | None = None
    others: tuple[TraceEntry, ...] = ()


class TraceLookup:
    """The files of one run, opened for reading. Use as `with`.

    Raises:
        InputError: there are none, or they can't be read.
    """

    def __init__(
        self, results: Path, traces: Path | None = None, on_making: Callable[[int], None] | None = None
    ) -> None:
        """`results` may also be a trace file itself. `on_making` is told of how many bytes an index is made."""
        if traces is None and _is_trace_file(results):
            self.results, traces = None, results
        else:
            self.results = results
            traces = traces or _beside(results)
        self.has_traces = traces is not None
        self.index = (
            TraceIndex(results, read=entry_of_result, keep=False, on_making=on_making)
            if traces is None
            else TraceIndex(traces, on_making=on_making)
        )
        if not self.has_traces and not len(self.index) and results.stat().st_size:
            self.index.close()
            raise no_results(results)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.index.close()

    def find(self, wanted: str) -> Found:
        """The item of that id, or of that trace id, which may be cut, or with a request of that id at the provider.

        Raises:
            InputError: there is none, or there are several.
        """
        stays = self.index.of_item(wanted)
        if stays:
            entry = _that_counts(stays)
            return self._found(entry, tuple(stay for stay in stays if stay is not entry))
        if len(wanted) >= _SHORTEST and set(wanted) <= set("0123456789abcdef"):
            traces = self.index.of_trace(wanted)
            if len(traces) > 1:
                ids = ", ".join(entry.trace_id for entry in traces[:5])
                raise InputError(f"{visible(wanted)}: {len(traces):,} trace ids begin so: {ids}; give more digits")
            if traces:
                return self._found(traces[0], ())
        asked = list(self._with_request(wanted))
        return self._found(asked[-1], tuple(asked[:-1])) if asked else self._only_in_results(wanted)

    def with_request(self, request_id: str) -> list[TraceEntry]:
        """The items one of whose requests has this id at the provider.

        Raises:
            InputError: there is none.
        """
        entries = list(self._with_request(request_id))
        if not entries:
            raise InputError(f"{self._where}: no request has the id {visible(request_id)!r}")
        return entries

    def _with_request(self, request_id: str) -> Iterator[TraceEntry]:
        ids = self._ids_of_spans if self.has_traces else self._ids_of_result
        found = self.index.holding(request_id) if request_id else iter(())
        return (entry for entry in found if request_id in ids(entry))

    def _ids_of_spans(self, entry: TraceEntry) -> Iterator[str | None]:
        return (span.attributes.get("request_id") for span in self.index.spans(entry))

    def _ids_of_result(self, entry: TraceEntry) -> Iterator[str]:
        result = parse_result(self.index.line(entry)) or {}
        return (one for agent in result.get("agents", {}).values() for one in agent.get("request_ids", ()))

    @property
    def _where(self) -> str:
        return str(self.results or "these traces")

    def longest_step(self, entry: TraceEntry) -> LongestStep | None:
        """What took longest of the item; None where there are no traces to tell."""
        return longest_step(self.index.spans(entry)) if self.has_traces else None

    def errors(self) -> list[ErrorKind]:
        """The failed items by error type and agent."""
        return self.index.errors()

    def _found(self, entry: TraceEntry, others: tuple[TraceEntry, ...]) -> Found:
        if self.has_traces:
            return Found(entry, tuple(self.index.spans(entry)), None, others)
        return Found(entry, (), parse_result(self.index.line(entry)), others)

    def _only_in_results(self, wanted: str) -> Found:
        """An item whose trace is missing: dropped, or written by a run without traces."""
        result = None if self.results is None or not self.has_traces else _result_if_any(self.results, wanted)
        if result is None:
            wanted = visible(wanted)
            raise InputError(f"{self._where}: has no item, trace or request {wanted!r}; `agentbatch trace` lists items")
        return Found(None, (), result)


def _that_counts(stays: list[TraceEntry]) -> TraceEntry:
    """The last stay that ended: one that the run's end cut short says less than an earlier one."""
    return next((stay for stay in reversed(stays) if stay.status != "stopped"), stays[-1])


def _is_trace_file(path: Path) -> bool:
    with reading(path) as file:
        return file.read(len(_TRACE_START)) == _TRACE_START


def _beside(results: Path) -> Path | None:
    traces = ResultFiles(results).traces
    return traces if traces.exists() else None


def _result_if_any(results: Path, wanted: str) -> dict[str, Any] | None:
    return find_result(results, wanted) if results.exists() else None


def entry_document(entry: TraceEntry) -> dict[str, Any]:
    """What `--json` prints of one item in a list."""
    failed = entry.error_type is not None
    return {
        "trace_id": entry.trace_id,
        "item_id": entry.item_id,
        "status": entry.status,
        "started_at": format_time(entry.start_ns) if entry.start_ns else None,
        "duration_s": round(entry.duration_s, 6),
        "queued_s": round(entry.queued_s, 6),
        "cost_usd": entry.cost_usd,
        "error": _error_document(entry) if failed else None,
    }


def _error_document(entry: TraceEntry) -> dict[str, Any]:
    return {"type": entry.error_type, "message": entry.error_message or "", "agent": entry.agent}


def found_document(found: Found) -> dict[str, Any]:
    """What `--json` prints of one item: its entry, and its spans, parents before children, or its result line."""
    head = {} if found.entry is None else entry_document(found.entry)
    if found.result is not None:
        return {**head, "spans": [], "result": found.result}
    return {**head, "spans": [_span_document(span) for span in reversed(found.spans)]}


def _span_document(span: Span) -> dict[str, Any]:
    failed = span.error_type is not None
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "kind": span.kind,
        "name": span.name,
        "status": span.status,
        "error": {"type": span.error_type, "message": span.error_message or ""} if failed else None,
        "started_at": format_time(span.start_ns),
        "duration_s": round(span.duration_s, 6),
        "attributes": span.attributes,
        "events": list(_event_documents(span)),
    }


def _event_documents(span: Span) -> Iterator[dict[str, Any]]:
    for time_ns, name, attributes in span.events:
        yield {"time": format_time(time_ns), "name": name, "attributes": attributes}
