"""Metrics made of spans as they end: how long, how many tokens, what it cost, how many items.

The `gen_ai.client` ones, with their buckets, are those of
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/; the `agentbatch` ones are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agentbatch import __version__
from agentbatch.otel.sdk import Sdk

_SECONDS: Final = [0.01 * 2**power for power in range(14)]
_TOKENS: Final = [float(4**power) for power in range(14)]
_LONG_SECONDS: Final = [0.1 * 2**power for power in range(16)]
"""From 0.1 s to about an hour: an item is many calls."""

_OF_CALLS: Final = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "error.type")


class Meters:
    """The instruments of a run. `close` sends the last figures."""

    def __init__(self, sdk: Sdk) -> None:
        reader = sdk.PeriodicExportingMetricReader(sdk.OTLPMetricExporter())
        self._provider = sdk.MeterProvider(metric_readers=[reader], resource=sdk.resource)
        meter = self._provider.get_meter("agentbatch", __version__)
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration", "s", explicit_bucket_boundaries_advisory=_SECONDS
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", explicit_bucket_boundaries_advisory=_TOKENS
        )
        self._cost = meter.create_counter("agentbatch.cost", "{USD}", "What calls cost, where the price is known")
        self._items = meter.create_counter("agentbatch.items", "{item}", "Ended items by status")
        self._item = meter.create_histogram(
            "agentbatch.item.duration",
            "s",
            "Items, queueing included",
            explicit_bucket_boundaries_advisory=_LONG_SECONDS,
        )
        self._agent = meter.create_histogram(
            "agentbatch.agent.duration",
            "s",
            "Agents, queueing included",
            explicit_bucket_boundaries_advisory=_LONG_SECONDS,
        )

    def count(self, attributes: Mapping[str, Any], seconds: float, is_root: bool) -> None:
        """Count one ended span."""
        operation, status = attributes.get("gen_ai.operation.name"), attributes.get("agentbatch.status", "")
        if operation == "chat":
            self._count_call(attributes, seconds)
        elif operation == "invoke_agent":
            self._agent.record(
                seconds, {"gen_ai.agent.name": attributes.get("gen_ai.agent.name", ""), "status": status}
            )
        elif is_root:
            self._items.add(1, {"status": status})
            self._item.record(seconds, {"status": status})

    def _count_call(self, attributes: Mapping[str, Any], seconds: float) -> None:
        if attributes.get("agentbatch.cached") or attributes.get("agentbatch.recalled"):
            return
        about = {name: attributes[name] for name in _OF_CALLS if name in attributes}
        self._duration.record(seconds, about)
        for kind in ("input", "output"):
            tokens = attributes.get(f"gen_ai.usage.{kind}_tokens")
            if tokens is not None:
                self._tokens.record(tokens, {**about, "gen_ai.token.type": kind})
        cost = attributes.get("agentbatch.cost_usd")
        if cost:
            self._cost.add(cost, about)

    def close(self, seconds: float) -> None:
        """Send what there is, in at most so many seconds."""
        self._provider.shutdown(timeout_millis=seconds * 1000)
