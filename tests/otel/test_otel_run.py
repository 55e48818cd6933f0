"""Spans and metrics of whole runs, as a collector gets them."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from otel.collector import Collected, collector

from agentbatch.otel.choice import installed
from agentbatch.traces.trace_file import read_traces

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not installed(), reason="needs agentbatch[otel]")]

ROOT = Path(__file__).parents[2]
CONFIG = """\
version: 1
models:
  m: {provider: mock, latency: 5ms, retries: 3, errors: {server: 0.1}, price: {input: 1, output: 2}, output_tokens: 7}
agents:
  writer: {model: m, prompt: "Write {{ input.n }}"}
  critic: {model: m, prompt: "Judge {{ writer.output }}"}
groups: {both: {sequence: [writer, critic]}}
workflow: both
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"id": f"i{n}", "n": n}) + "\n" for n in range(40)))
    return tmp_path


def agentbatch(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    env = {**clean, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-m", "agentbatch", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)


def run(folder: Path, *arguments: str, **environment: str) -> tuple[dict[str, Any], str]:
    done = agentbatch(
        folder, "run", "c.yaml", "in.jsonl", "-o", "r.jsonl", "--summary", "s.json", *arguments, **environment
    )
    assert done.returncode in (0, 1), done.stderr
    return json.loads((folder / "s.json").read_text()), done.stderr


def assert_same_spans(collected: Collected, traces: Path) -> None:
    """The collector has the spans of the trace file: ids, parents, names, times, tokens, status."""
    wanted = {span.span_id: span for tree in read_traces(traces) for span in tree}
    assert len(collected.spans) == len(wanted)
    for span in collected.spans:
        kept = wanted[span.span_id.hex()]
        attributes = collected.attributes(span)
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (kept.trace_id, kept.parent_id or "")
        assert (span.start_time_unix_nano, span.end_time_unix_nano) == (kept.start_ns, kept.end_ns)
        assert span.status.code == {"ok": 1, "error": 2}[kept.status]
        assert [event.name for event in span.events] == [name for _, name, _ in kept.events]
        assert attributes.get("gen_ai.usage.output_tokens") == kept.attributes.get("output_tokens")
        assert attributes["agentbatch.status"] == kept.status
        if kept.kind == "chat":
            assert (span.name, span.kind, attributes["gen_ai.operation.name"]) == ("chat mock", 3, "chat")
            assert wanted[kept.parent_id or ""].name in ("writer", "critic")


def test_the_collector_gets_what_the_trace_file_has(folder: Path) -> None:
    with collector() as collected:
        summary, stderr = run(folder, OTEL_EXPORTER_OTLP_ENDPOINT=collected.url, OTEL_RESOURCE_ATTRIBUTES="team=a")
        assert "collector" not in stderr
        assert_same_spans(collected, folder / "r.traces.jsonl")
        assert {(one["service.name"], one["team"]) for one in collected.resources} == {("agentbatch", "a")}
        (items,) = collected.metrics["agentbatch.items"].sum.data_points
        assert items.as_int == 40
        calls = collected.metrics["gen_ai.client.operation.duration"].histogram.data_points
        assert sum(point.count for point in calls) == summary["calls"]
        tokens = collected.metrics["gen_ai.client.token.usage"].histogram.data_points
        assert sum(point.sum for point in tokens) == summary["input_tokens"] + summary["output_tokens"]
        (cost,) = collected.metrics["agentbatch.cost"].sum.data_points
        assert cost.as_double == pytest.approx(summary["cost_usd"])


def test_headers_and_compression_are_the_environments(folder: Path) -> None:
    with collector() as collected:
        run(
            folder,
            "--no-traces",
            OTEL_EXPORTER_OTLP_ENDPOINT=collected.url,
            OTEL_EXPORTER_OTLP_HEADERS="x-tenant=blue",
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
            OTEL_METRICS_EXPORTER="none",
        )
        assert {headers["x-tenant"] for headers in collected.headers} == {"blue"}
        assert len({span.span_id for span in collected.spans}) == len(collected.spans) >= 40 * 6
        assert collected.metrics == {}
    assert not (folder / "r.traces.jsonl").exists()


def test_the_config_names_the_collector_and_the_command_line_wins(folder: Path) -> None:
    with collector() as collected:
        run(folder, "--set", f"trace.otlp={collected.url}", "--limit", "5")
        sent = len(collected.spans)
        assert sent >= 30
        run(folder, "--set", f"trace.otlp={collected.url}", "--no-otel")
        assert len(collected.spans) == sent


def test_prompts_and_answers_are_sent_only_where_the_config_says_so(folder: Path) -> None:
    for content in ("false", "true"):
        with collector() as collected:
            run(folder, "--overwrite", "--set", f"trace.content={content}", OTEL_EXPORTER_OTLP_ENDPOINT=collected.url)
            assert (b"Write 3" in b"".join(span.SerializeToString() for span in collected.spans)) == (content == "true")


def test_a_collector_that_is_not_there_costs_a_count(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    summary, stderr = run(folder, OTEL_EXPORTER_OTLP_ENDPOINT=url)
    assert sum(summary["counts"].values()) == 40
    spans = sum(len(tree) for tree in read_traces(folder / "r.traces.jsonl"))
    assert f"{spans:,} spans did not get to the collector: Connection refused" in stderr


def test_a_collector_that_refuses_or_hangs_costs_a_count(folder: Path) -> None:
    with collector(status=403) as collected:
        _, stderr = run(folder, OTEL_EXPORTER_OTLP_ENDPOINT=collected.url)
        assert "spans did not get to the collector: " in stderr
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        summary, stderr = run(folder, "--overwrite", OTEL_EXPORTER_OTLP_ENDPOINT=url)
    assert sum(summary["counts"].values()) == 40
    assert "spans did not get to the collector: the collector does not answer" in stderr


def test_a_trace_file_is_replayed(folder: Path) -> None:
    run(folder)
    with collector() as collected:
        done = agentbatch(folder, "trace", "r.jsonl", "--export", "otlp", "--endpoint", collected.url)
        assert done.stderr == f"sent {len(collected.spans):,} spans\n"
        assert_same_spans(collected, folder / "r.traces.jsonl")
        before = len(collected.spans)
        agentbatch(folder, "trace", "r.jsonl", "i3", "--export", "otlp", OTEL_EXPORTER_OTLP_ENDPOINT=collected.url)
        assert len({span.trace_id for span in collected.spans[before:]}) == 1
        collected.status = 400
        done = agentbatch(folder, "trace", "r.jsonl", "--export", "otlp", "--endpoint", collected.url)
        assert done.returncode == 74
        assert "the collector took 0 spans" in done.stderr
