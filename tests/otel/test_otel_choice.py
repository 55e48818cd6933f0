"""Whether spans are sent: what the command line, the config and the environment say, in that order."""

import pytest

from agentbatch.errors import ConfigError
from agentbatch.otel.choice import installed, otel_choice

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("configured", "asked", "environ"),
    [
        (None, None, {}),
        (None, None, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}),
        (None, False, ENDPOINT),
        (False, None, ENDPOINT),
        ("http://127.0.0.1:4318", False, {}),
        (True, True, {"OTEL_SDK_DISABLED": "true"}),
        (None, None, {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}),
    ],
)
def test_nothing_is_sent(configured: bool | str | None, asked: bool | None, environ: dict[str, str]) -> None:
    assert otel_choice(configured, asked, environ) == (None, None)


@pytest.mark.skipif(installed(), reason="the extra is installed here")
def test_without_the_libraries_who_asks_by_name_is_told_how_to_get_them() -> None:
    for configured, asked in ((True, None), (None, True), ("http://c:4318", None)):
        with pytest.raises(ConfigError, match=r"pip install 'agentbatch\[otel\]'"):
            otel_choice(configured, asked, {})
    environ, note = otel_choice(None, None, ENDPOINT)
    assert environ is None
    assert note is not None
    assert note.startswith("OTEL_EXPORTER_OTLP_ENDPOINT is set, but sending spans needs")


@pytest.mark.skipif(not installed(), reason="needs agentbatch[otel]")
@pytest.mark.parametrize(
    ("configured", "asked", "environ", "endpoint"),
    [
        (None, None, ENDPOINT, "http://127.0.0.1:4318"),
        ("http://c:6006", None, ENDPOINT, "http://c:6006"),
        ("http://c:6006", True, {}, "http://c:6006"),
        (None, True, {}, None),
        (False, True, {}, None),
    ],
)
def test_where_spans_are_sent(
    configured: bool | str | None, asked: bool | None, environ: dict[str, str], endpoint: str | None
) -> None:
    chosen, note = otel_choice(configured, asked, environ)
    assert chosen is not None
    assert chosen.get("OTEL_EXPORTER_OTLP_ENDPOINT") == endpoint
    assert note is None


@pytest.mark.skipif(not installed(), reason="needs agentbatch[otel]")
def test_another_protocol_is_told() -> None:
    _, note = otel_choice(None, None, {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert note is not None
    assert "as http/protobuf, not as grpc" in note
