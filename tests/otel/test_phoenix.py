"""A real Phoenix shows a run as it was: parents, kinds, token counts."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentbatch.otel.choice import installed
from agentbatch.traces.trace_file import read_traces

PHOENIX = os.environ.get("PHOENIX_COMMAND") or shutil.which("phoenix")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not installed(), reason="needs agentbatch[otel]"),
    pytest.mark.skipif(PHOENIX is None, reason="no phoenix here: install arize-phoenix, or name it in PHOENIX_COMMAND"),
]
ROOT = Path(__file__).parents[2]
CONFIG = """\
version: 1
models:
  m: {provider: mock, input_tokens: 11, output_tokens: 7}
  asks: {provider: mock, input_tokens: 11, output_tokens: 7, tool_calls: [{name: clock}]}
tools: {clock: {command: [date], description: The time.}}
agents:
  writer: {model: asks, prompt: "Write {{ input }}", tools: [clock]}
  critic: {model: m, prompt: "Judge {{ writer.output }}"}
groups: {both: {sequence: [writer, critic]}}
workflow: both
"""
SPANS = (
    "{projects{edges{node{spans(first:500){edges{node{"
    "name spanKind statusCode parentId context{spanId traceId} tokenCountPrompt tokenCountCompletion}}}}}}}"
)
KINDS = {"item": "chain", "group": "chain", "agent": "agent", "chat": "llm", "tool": "tool"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Phoenix with nothing in it."""
    port = free_port()
    environ = {
        **os.environ,
        "PHOENIX_WORKING_DIR": str(tmp_path_factory.mktemp("phoenix")),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("log") / "phoenix.log"
    with (
        log.open("wb") as out,
        subprocess.Popen([PHOENIX or "", "serve"], env=environ, stdout=out, stderr=out) as server,
    ):
        try:
            wait_until(lambda: answers(url), 120)
            yield url
        finally:
            server.terminate()


def wait_until(happened: Any, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < give_up
        time.sleep(0.2)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def shown(url: str) -> list[dict[str, Any]]:
    body = json.dumps({"query": SPANS}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        projects = json.load(answer)["data"]["projects"]["edges"]
    return [edge["node"] for project in projects for edge in project["node"]["spans"]["edges"]]


def test_phoenix_shows_the_run_as_it_was(phoenix: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "in.jsonl").write_text("".join(f'"subject {n}"\n' for n in range(10)))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OTEL_EXPORTER_OTLP_ENDPOINT": phoenix}
    command = [sys.executable, "-m", "agentbatch", "run", "c.yaml", "in.jsonl", "-o", "r.jsonl", "-q"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    wanted = {span.span_id: span for tree in read_traces(tmp_path / "r.traces.jsonl") for span in tree}
    wait_until(lambda: len(shown(phoenix)) >= len(wanted), 60)
    spans = {span["context"]["spanId"]: span for span in shown(phoenix)}
    assert spans.keys() == wanted.keys()
    for span_id, span in spans.items():
        kept = wanted[span_id]
        assert span["context"]["traceId"] == kept.trace_id
        assert (span["parentId"] or None) == kept.parent_id
        assert (span["spanKind"], span["statusCode"]) == (KINDS[kept.kind], "OK")
        if kept.kind == "chat":
            assert (span["tokenCountPrompt"], span["tokenCountCompletion"]) == (11, 7)
    assert {span.kind for span in wanted.values()} == set(KINDS)
