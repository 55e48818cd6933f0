"""`agentbatch trace --export otlp`: traces that were kept, sent to a collector as a run would have sent them."""

from __future__ import annotations

from collections.abc import Iterable

from agentbatch.errors import InputError, OutputError
from agentbatch.otel.sdk import load_sdk
from agentbatch.otel.sender import Sender, Sums, send_all
from agentbatch.text.figures import counted


def replay(lines: Iterable[bytes], endpoint: str | None) -> int:
    """Send the spans of these trace lines; how many they were.

    Args:
        endpoint: the collector's URL; None for the one that the environment names.

    Raises:
        InputError: the libraries are not installed. OutputError: the collector did not take them all.
    """
    try:
        sdk = load_sdk()
    except ImportError:
        raise InputError("sending spans needs OpenTelemetry's libraries: pip install 'agentbatch[otel]'") from None
    sums = send_all(Sender(sdk, None, _nobody, endpoint and f"{endpoint.rstrip('/')}/v1/traces"), lines)
    if sums.refused:
        raise OutputError(
            f"the collector took {counted(sums.accepted, 'span')}, and not the next {sums.refused:,}: {sums.why}"
        )
    return sums.accepted


def _nobody(sums: Sums) -> None:
    """Nobody follows it."""
