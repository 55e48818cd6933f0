"""Whether a run's spans go to an OpenTelemetry collector, and to which.

The variables are those of https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and
https://opentelemetry.io/docs/specs/otel/protocol/exporter/; the exporter itself reads the others of them (headers,
timeouts, certificates, compression, the resource).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

from agentbatch.errors import ConfigError

_ENDPOINTS: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)
_MISSING: Final = "sending spans needs OpenTelemetry's libraries: pip install 'agentbatch[otel]'"


def otel_choice(
    configured: bool | str | None, asked: bool | None, environ: Mapping[str, str]
) -> tuple[Mapping[str, str] | None, str | None]:
    """The sender's environment, None where nothing is sent; and a note, where not all that is asked for can be done.

    Args:
        configured: `trace.otlp` of the config: a URL, true, false, or nothing.
        asked: `--otel` or `--no-otel`.

    Raises:
        ConfigError: it was asked for by name, and the libraries are not installed.
    """
    by_name = bool(asked or (asked is None and configured))
    named = next((name for name in _ENDPOINTS if environ.get(name)), None)
    refused = asked is False or (asked is None and configured is False)
    if refused or not (by_name or named) or _is_off(environ):
        return None, None
    if not installed():
        if by_name:
            raise ConfigError(_MISSING)
        return None, f"{named} is set, but {_MISSING}"
    chosen = {"OTEL_EXPORTER_OTLP_ENDPOINT": configured} if isinstance(configured, str) else {}
    return {**environ, **chosen}, _protocol_note(environ)


def installed() -> bool:
    """Whether the extra `otel` is."""
    try:
        return (
            find_spec("opentelemetry.exporter.otlp.proto.http") is not None
            and find_spec("opentelemetry.sdk") is not None
        )
    except ModuleNotFoundError:
        return False


def _is_off(environ: Mapping[str, str]) -> bool:
    exporters = {environ.get(name, "").strip().lower() for name in ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER")}
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporters == {"none"}


def _protocol_note(environ: Mapping[str, str]) -> str | None:
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or ""
    if protocol in ("", "http/protobuf"):
        return None
    return (
        f"spans are sent as http/protobuf, not as {protocol}: the endpoint is to be the collector's HTTP port, as 4318"
    )
