"""The program against its own mock server, in the dialects it speaks, with chance to decide what goes wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from end_to_end.cases import cases
from end_to_end.project import Project, environment


@contextmanager
def mock_server(folder: Path, *args: str) -> Iterator[str]:
    """`agentbatch mock ARGS` on any free port; gives its address."""
    command = [sys.executable, "-m", "agentbatch", "mock", "--port", "0", "--log", "mock.log", *args]
    with subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            greeting = process.stderr.readline()
            found = re.search(r"http://[0-9.:]+", greeting)
            assert found, greeting
            yield found[0]
        finally:
            process.terminate()


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "mock.log").read_text().splitlines()]


REPLY = ("--reply", "{{ prompt }}")


def check_answers(results: Path, items: int) -> None:
    """One answer for each item, and its own."""
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert sorted(line["index"] for line in lines) == list(range(items))
    assert all(line["output"] == f"item={line['id']};text {line['index']}" for line in lines), lines[:3]


WEATHER = {
    "errors": ("--errors", "rate_limited=0.1,overloaded=0.05,server=0.1,retry_after=100ms"),
    "a bad network": ("--disconnect", "0.15", "--truncate", "0.1"),
    "silence": ("--hang", "0.1"),
    "all": ("--error-rate", "0.15", "--disconnect", "0.05", "--truncate", "0.05", "--hang", "0.02"),
}


@pytest.mark.parametrize("weather", cases({name: [*args] for name, args in WEATHER.items()}, "all"))
@pytest.mark.parametrize("dialect", cases(["openai", "anthropic"], "openai"))
def test_every_item_has_its_own_answer_in_any_weather(project: Project, dialect: str, weather: Sequence[str]) -> None:
    project.give(60)
    with mock_server(project.folder, *REPLY, *weather) as url:
        model = {"provider": dialect, "base_url": f"{url}/v1" if dialect == "openai" else url}
        project.configure(model={**model, "timeout": "1s", "retries": 10, "max_concurrency": 32})
        ended = project.run()
    assert ended.code == 0, ended.stderr
    check_answers(project.results, 60)
    assert sum(line["status"] == 200 and not line["reason"] for line in log_of(project.folder)) == 60


@pytest.mark.slow
def test_two_runs_that_share_a_limited_key_lose_nothing(project: Project) -> None:
    """Neither knows of the other; the server's refusals tell them enough."""
    project.give(30)
    (project.folder / "limits.yaml").write_text("{rpm: 1200, window: 1s, retry_after: ms}\n")
    with mock_server(project.folder, *REPLY, "--config", "limits.yaml") as url:
        project.configure(model={"base_url": f"{url}/v1", "max_concurrency": 16})
        with project.start("-o", "a.jsonl") as one, project.start("-o", "b.jsonl") as two:
            ends = one.end(), two.end()
    assert [end.code for end in ends] == [0, 0], [end.stderr for end in ends]
    for output in ("a.jsonl", "b.jsonl"):
        check_answers(project.folder / output, 30)
    log = log_of(project.folder)
    assert sum(line["status"] == 200 for line in log) == 60
    assert len(log) < 200


@pytest.mark.slow
def test_a_server_that_takes_few_at_once_is_not_hammered(project: Project) -> None:
    project.give(200)
    with mock_server(project.folder, *REPLY, "--max-in-flight", "10", "--latency", "50ms") as url:
        project.configure(model={"base_url": f"{url}/v1", "max_concurrency": 60})
        ended = project.run()
    assert ended.code == 0, ended.stderr
    check_answers(project.results, 200)
    refused = sum(line["status"] == 429 for line in log_of(project.folder))
    assert refused < 100


@pytest.mark.slow
def test_a_trace_of_every_attempt_leads_to_the_servers_log(project: Project) -> None:
    project.give(10)
    with mock_server(project.folder, *REPLY, "--errors", "server=0.2") as url:
        project.configure(model={"base_url": f"{url}/v1", "retries": 10})
        assert project.run().code == 0
    traces = {line["trace_id"] for line in project.lines()}
    seen = {line["traceparent"].split("-")[1] for line in log_of(project.folder)}
    assert seen == traces
    assert len(traces) == 10


STREAMS = {
    "whole": (),
    "cut": ("--truncate", "0.2", "--disconnect", "0.1"),
    "an error amid": ("--config", "stream.yaml"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", STREAMS)
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_stream_that_breaks_off_is_never_half_an_answer(project: Project, dialect: str, what: str) -> None:
    project.give(40)
    (project.folder / "stream.yaml").write_text("{stream_error: 0.3}\n")
    with mock_server(project.folder, *REPLY, *STREAMS[what]) as url:
        model = {"provider": dialect, "base_url": f"{url}/v1" if dialect == "openai" else url, "stream": True}
        project.configure(model={**model, "timeout": "5s", "retries": 10})
        ended = project.run()
    assert ended.code == 0, ended.stderr
    check_answers(project.results, 40)
    if what != "whole":
        assert len(log_of(project.folder)) > 40


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_an_announced_limit_is_kept_without_being_configured(project: Project, dialect: str) -> None:
    project.give(45)
    with mock_server(project.folder, *REPLY, "--rpm", "60") as url:
        base = f"{url}/v1" if dialect == "openai" else url
        project.configure(model={"provider": dialect, "base_url": base, "max_concurrency": 4})
        ended = project.run()
    assert ended.code == 0, ended.stderr
    check_answers(project.results, 45)
    assert [line["status"] for line in log_of(project.folder)] == [200] * 45
    assert ended.seconds > 12, "half of the minute's 60 at once, then one a second"
