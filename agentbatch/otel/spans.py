"""A line of the trace file, which is OTLP-JSON, as spans of the SDK: the same ids, names and attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import orjson

from agentbatch.otel.sdk import Sdk

Fields = Mapping[str, Any]

_CHAIN: Final = {"openinference.span.kind": "CHAIN"}
"""Viewers that know spans by OpenInference's kinds take the other operations' from `gen_ai`, but not a workflow's
(https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md)."""


def spans_in(line: bytes) -> list[Fields]:
    """The spans of a line as its JSON has them; none where it is torn, or no trace."""
    try:
        document = orjson.loads(line)
        return [
            span
            for resource in document["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]
    except (ValueError, KeyError, TypeError):
        return []


def attributes_of(encoded: Iterable[Fields]) -> dict[str, Any]:
    """OTLP attributes as plain values."""
    return {attribute["key"]: _value(attribute["value"]) for attribute in encoded}


def _value(encoded: Fields) -> Any:
    for form, value in encoded.items():
        if form == "intValue":
            return int(value)
        if form == "arrayValue":
            return [_value(cast(Fields, one)) for one in value["values"]]
        return value
    return None


class SpanMaker:
    """Makes spans of the SDK."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk
        self._sampled = sdk.TraceFlags(sdk.TraceFlags.SAMPLED)
        self._kinds = {1: sdk.SpanKind.INTERNAL, 3: sdk.SpanKind.CLIENT}
        self._codes = {0: sdk.StatusCode.UNSET, 1: sdk.StatusCode.OK, 2: sdk.StatusCode.ERROR}

    def span(self, fields: Fields, attributes: Mapping[str, Any]) -> Any:
        """One ended span."""
        trace_id = int(fields["traceId"], 16)
        if attributes.get("gen_ai.operation.name") == "invoke_workflow":
            attributes = {**attributes, **_CHAIN}
        parent = fields.get("parentSpanId")
        return self._sdk.ReadableSpan(
            name=fields["name"],
            context=self._context(trace_id, fields["spanId"]),
            parent=self._context(trace_id, parent) if parent else None,
            resource=self._sdk.resource,
            attributes=attributes,
            events=[self._event(event) for event in fields.get("events", ())],
            kind=self._kinds.get(fields["kind"], self._sdk.SpanKind.INTERNAL),
            status=self._status(fields.get("status", {})),
            start_time=int(fields["startTimeUnixNano"]),
            end_time=int(fields["endTimeUnixNano"]),
            instrumentation_scope=self._sdk.scope,
        )

    def _context(self, trace_id: int, span_id: str) -> Any:
        return self._sdk.SpanContext(trace_id, int(span_id, 16), is_remote=False, trace_flags=self._sampled)

    def _event(self, event: Fields) -> Any:
        attributes = attributes_of(event.get("attributes", ()))
        return self._sdk.Event(event["name"], attributes, int(event["timeUnixNano"]))

    def _status(self, status: Fields) -> Any:
        code = status.get("code", 0)
        return self._sdk.Status(self._codes[code], status.get("message") if code == 2 else None)
