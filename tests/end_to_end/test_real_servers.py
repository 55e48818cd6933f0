"""Against servers that other people wrote: aimock (`llmock` in PATH) and the proxy of LiteLLM (`litellm` in PATH)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from end_to_end.checker import committed, faults_of
from end_to_end.project import Project

pytestmark = pytest.mark.slow

MIXED = 2_000
SEEN = "Oslo is cold and Rome is warm."
CALLS = [{"name": "get_weather", "arguments": json.dumps({"city": city})} for city in ("Oslo", "Rome")]
FIXTURES = [
    {"match": {"userMessage": "weather", "hasToolResult": False}, "response": {"toolCalls": CALLS}},
    {"match": {"userMessage": "weather", "hasToolResult": True}, "response": {"content": SEEN}},
    {"match": {"userMessage": "item="}, "response": {"content": "noted"}},
]
PROXY = {
    "model_list": [
        {
            "model_name": "test-model",
            "litellm_params": {"model": "openai/x", "api_key": "none", "mock_response": "noted"},
        }
    ]
}
TOOL = '''
async def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 7 degrees"
'''
BASES = {"openai": "/v1", "openai-responses": "/v1", "anthropic": "", "gemini": "/v1beta"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(command: Sequence[str | Path], port: int, folder: Path, **environ: str) -> Iterator[str]:
    """A server's origin, once it answers anything at all; the server is ended afterwards."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **environ})
    origin = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if process.poll() is not None:
                pytest.fail((folder / "server.log").read_text()[-2000:])
            if answers(origin):
                break
            time.sleep(0.1)
        yield origin
    finally:
        process.kill()
        process.wait()


def answers(origin: str) -> bool:
    try:
        urllib.request.urlopen(f"{origin}/health", timeout=1)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@pytest.fixture
def aimock(tmp_path: Path) -> Iterator[str]:
    program = shutil.which("llmock") or pytest.skip("needs llmock (npm: @copilotkit/aimock) in PATH")
    fixtures = tmp_path / "fixtures"
    fixtures.mkdir()
    (fixtures / "all.json").write_text(json.dumps({"fixtures": FIXTURES}))
    port = free_port()
    with serving([program, "-p", str(port), "-f", "fixtures", "--log-level", "warn"], port, tmp_path) as origin:
        yield origin


@pytest.fixture
def litellm(tmp_path: Path) -> Iterator[str]:
    program = shutil.which("litellm") or pytest.skip("needs litellm (pip: litellm[proxy]) in PATH")
    (tmp_path / "proxy.yaml").write_text(json.dumps(PROXY))
    port = free_port()
    address = ["--host", "127.0.0.1", "--port", str(port)]
    offline = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    command = [program, "--config", "proxy.yaml", *address, "--telemetry", "False"]
    with serving(command, port, tmp_path, **offline) as origin:
        yield origin


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", BASES)
def test_tools_go_round_with_aimock(tmp_path: Path, aimock: str, provider: str, stream: bool) -> None:
    project = Project(tmp_path, aimock + BASES[provider])
    (tmp_path / "weather.py").write_text(TOOL)
    agent = {"model": "m", "prompt": "what is the weather in {{ input.text }}?", "tools": ["get_weather"]}
    tools = {"get_weather": {"function": "weather:get_weather"}}
    project.configure(agents={"a": agent}, model={"provider": provider, "stream": stream}, tools=tools)
    project.give([{"text": "Oslo and Rome"}])
    assert project.run().code == 0
    (line,) = project.lines()
    assert line["output"] == SEEN
    assert (line["agents"]["a"]["turns"], line["agents"]["a"]["tool_calls"]) == (2, 2)


def killed_and_continued(project: Project) -> None:
    """A run of many inputs of every size, killed twice on its way."""
    ids = project.give(mixed(MIXED))
    for share in (0.2, 0.6):
        with project.start("-q") as run:
            while len(committed(project.results)) < share * MIXED:
                assert run.process.poll() is None
                time.sleep(0.05)
            run.kill()
    ended = project.run("--json")
    assert ended.code == 0, ended.stderr
    assert not replace(faults_of(project.results, ids), mixed_up=[])  # all answers are the same there
    assert ended.summary["audit"]["missing"] == 0


def mixed(count: int) -> Iterator[dict[str, Any]]:
    texts = ["short", "näïve 漢字 🎈\n\ttabs", "x" * 5_000, '{"json": [1, 2]}', "{{ no.template }}"]
    return ({"text": texts[number % len(texts)], "number": number} for number in range(count))


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_two_thousand_inputs_at_aimock_killed_and_continued(tmp_path: Path, aimock: str, provider: str) -> None:
    project = Project(tmp_path, aimock + BASES[provider])
    agent = {"model": "m", "prompt": "item={{ item.id }} {{ input.text }}"}
    project.configure(agents={"a": agent}, model={"provider": provider})
    killed_and_continued(project)
    assert {line["output"] for line in project.lines()} == {"noted"}


def test_two_thousand_inputs_at_the_proxy_killed_and_continued(tmp_path: Path, litellm: str) -> None:
    killed_and_continued(Project(tmp_path, f"{litellm}/v1"))
