"""OpenTelemetry's Python libraries, which are an extra: the only file that imports them, and only in the sender."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from agentbatch import __version__
from agentbatch.record import record


@record
class Sdk:
    """What is used of them (https://opentelemetry-python.readthedocs.io), by the libraries' own names."""

    ReadableSpan: Any
    Event: Any
    SpanContext: Any
    TraceFlags: Any
    SpanKind: Any
    Status: Any
    StatusCode: Any
    SpanExportResult: Any
    OTLPSpanExporter: Any
    OTLPMetricExporter: Any
    MeterProvider: Any
    PeriodicExportingMetricReader: Any
    resource: Any
    scope: Any


def load_sdk() -> Sdk:
    """Import them. The resource has what the environment says of it, and is `agentbatch` where it does not.

    Raises:
        ImportError: they are not installed.
    """
    trace, sdk_trace = import_module("opentelemetry.trace"), import_module("opentelemetry.sdk.trace")
    metrics = import_module("opentelemetry.sdk.metrics")
    otlp = "opentelemetry.exporter.otlp.proto.http"
    own = {"service.name": "agentbatch", "service.version": __version__}
    resources = import_module("opentelemetry.sdk.resources")
    from_environment = resources.OTELResourceDetector().detect()
    return Sdk(
        ReadableSpan=sdk_trace.ReadableSpan,
        Event=sdk_trace.Event,
        SpanContext=trace.SpanContext,
        TraceFlags=trace.TraceFlags,
        SpanKind=trace.SpanKind,
        Status=trace.Status,
        StatusCode=trace.StatusCode,
        SpanExportResult=import_module("opentelemetry.sdk.trace.export").SpanExportResult,
        OTLPSpanExporter=import_module(f"{otlp}.trace_exporter").OTLPSpanExporter,
        OTLPMetricExporter=import_module(f"{otlp}.metric_exporter").OTLPMetricExporter,
        MeterProvider=metrics.MeterProvider,
        PeriodicExportingMetricReader=import_module("opentelemetry.sdk.metrics.export").PeriodicExportingMetricReader,
        resource=resources.Resource.create(own).merge(from_environment),
        scope=import_module("opentelemetry.sdk.util.instrumentation").InstrumentationScope("agentbatch", __version__),
    )
