"""Requests in the providers' batches: half the price, every item its own answer, and nothing submitted twice."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from end_to_end.project import Project, environment

DIALECTS = pytest.mark.parametrize("dialect", ["openai", "anthropic"])
PATIENCE_S = 60.0


@contextmanager
def provider_of(folder: Path, **knobs: Any) -> Iterator[str]:
    """The mock server with these knobs; gives its address. What it answers is the prompt."""
    (folder / "mock.yaml").write_text(json.dumps({"reply": "{{ prompt }}", "batch_delay": "300ms", **knobs}))
    command = [sys.executable, "-m", "agentbatch", "mock", "--port", "0", "--config", "mock.yaml"]
    with subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"http://[0-9.:]+", process.stderr.readline())
            assert found
            yield found[0]
        finally:
            process.terminate()


def stats(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/stats", timeout=PATIENCE_S) as answer:
        return json.load(answer)


def wait_for(url: str, **least: int) -> dict[str, Any]:
    """Until the server has counted so much."""
    until = time.monotonic() + PATIENCE_S
    while any((seen := stats(url))[name] < count for name, count in least.items()):
        assert time.monotonic() < until, seen
        time.sleep(0.02)
    return seen


def use(project: Project, dialect: str, url: str, **batch: Any) -> None:
    """One agent, whose model goes through batches at that server. Whoever waits for `gather` waits too long."""
    base = url if dialect == "anthropic" else f"{url}/v1"
    settings = {"poll_every": "200ms", "gather": "1h", **batch}
    project.configure(
        model={"provider": dialect, "base_url": base, "provider_batch": settings, "max_concurrency": 64, "retries": 12}
    )


def check_answers(project: Project, items: int) -> None:
    lines = project.lines()
    assert sorted(line["index"] for line in lines) == list(range(items))
    for line in lines:
        assert line["output"] == f"item={line['id']};text {line['index']}", line


@DIALECTS
def test_all_items_go_into_one_batch_at_half_the_price(project: Project, dialect: str) -> None:
    project.give(300)
    with provider_of(project.folder) as url:
        use(project, dialect, url)
        ended = project.run("--max-concurrency", "10", "--json")
        seen = stats(url)
    assert ended.code == 0, ended.stderr
    check_answers(project, 300)
    assert (seen["requests"], seen["batches"], seen["batched_requests"], seen["answered_again"]) == (0, 1, 300, 0)
    tokens = ended.summary["input_tokens"] + ended.summary["output_tokens"]
    assert ended.summary["cost_usd"] == pytest.approx(tokens * 1e-6 / 2)
    assert not list(project.folder.glob("*.sqlite*")), "a complete run needs none"


def test_items_that_ask_the_same_wait_for_one_request(project: Project) -> None:
    project.give([{"text": f"text {number % 3}"} for number in range(40)])
    with provider_of(project.folder) as url:
        use(project, "openai", url)
        agents = {"writer": {"model": "m", "prompt": "{{ input.text }}"}}
        project.configure(
            agents=agents, model=project.config["models"]["m"], cache={"enabled": True, "path": "c.sqlite"}
        )
        ended = project.run("--max-concurrency", "4")
        seen = stats(url)
    assert ended.code == 0, ended.stderr
    assert {line["index"]: line["output"] for line in project.lines()} == {n: f"text {n % 3}" for n in range(40)}
    assert (seen["requests"], seen["batches"], seen["batched_requests"]) == (0, 1, 3)


def test_items_that_come_by_a_pipe_are_gathered_until_it_ends(project: Project) -> None:
    project.give(30)
    with provider_of(project.folder) as url, project.inputs.open("rb") as pipe:
        use(project, "openai", url)
        with project.start_verb("run", "config.yaml", "-", "-o", "in.results.jsonl", stdin=pipe) as running:
            ended = running.end()
        seen = stats(url)
    assert ended.code == 0, ended.stderr
    check_answers(project, 30)
    assert (seen["batches"], seen["batched_requests"]) == (1, 30)


@pytest.mark.slow
@DIALECTS
def test_a_killed_run_takes_up_its_batches(project: Project, dialect: str) -> None:
    project.give(40)
    with provider_of(project.folder, batch_delay="3s") as url:
        use(project, dialect, url, max_requests=10)
        for kills in range(2):
            with project.start() as running:
                wait_for(url, batches=4)
                if kills:
                    assert stats(url)["batches"] == 4
                running.kill()
        assert project.run().code == 0
        seen = stats(url)
    check_answers(project, 40)
    assert (seen["batches"], seen["batched_requests"], seen["answered"], seen["answered_again"]) == (4, 40, 40, 0)


@pytest.mark.slow
@DIALECTS
def test_a_batch_whose_id_was_never_heard_is_found_again(project: Project, dialect: str) -> None:
    project.give(12)
    with provider_of(project.folder, batch_lost_answers=1, batch_delay="2s") as url:
        use(project, dialect, url)
        with project.start() as running:
            wait_for(url, batches=1)
            running.kill()
        assert project.run().code == 0
        seen = stats(url)
    check_answers(project, 12)
    assert (seen["batches"], seen["answered"]) == (1, 12)


@pytest.mark.slow
@DIALECTS
def test_what_expires_is_asked_again_in_a_batch_or_the_ordinary_way(project: Project, dialect: str) -> None:
    project.give(40)
    for on_expired in ("retry", "online"):
        with provider_of(project.folder, batch_expire=0.3, errors={"overloaded": 0.1}) as url:
            use(project, dialect, url, on_expired=on_expired)
            ended = project.run("--overwrite")
            seen = stats(url)
        assert ended.code == 0, ended.stderr
        check_answers(project, 40)
        assert seen["answered_again"] == 0
        assert (seen["requests"] > 0) == (on_expired == "online")
        assert (seen["batches"] > 1) == (on_expired == "retry")
    assert "went the ordinary way" in ended.stderr


@pytest.mark.slow
def test_an_interrupted_run_leaves_its_batches_and_says_so(project: Project) -> None:
    project.give(20)
    with provider_of(project.folder, batch_delay="4s") as url:
        use(project, "openai", url)
        with project.start() as running:
            wait_for(url, batches=1)
            until = time.monotonic() + PATIENCE_S
            while b"batch_" not in (project.folder / "in.results.batches.sqlite-wal").read_bytes():
                assert time.monotonic() < until
                time.sleep(0.02)
            running.send(signal.SIGINT)
            ended = running.end()
        assert ended.code == 130
        assert "batch_000002 of model m (20 requests) goes on at the provider" in ended.stderr
        assert project.run().code == 0
        assert stats(url)["batches"] == 1
    check_answers(project, 20)


@pytest.mark.slow
def test_turns_of_one_item_go_through_batches_one_after_the_other(project: Project) -> None:
    project.give(15)
    with provider_of(project.folder) as url:
        use(project, "openai", url)
        agents = {
            "writer": {"model": "m", "prompt": "item={{ item.id }};{{ input.text }}"},
            "critic": {"model": "m", "prompt": "{{ writer.output }}"},
            "sides": {"model": "m", "prompt": "side of {{ item.id }}"},
        }
        workflow = [{"parallel": ["writer", "sides"]}, "critic"]
        model = project.config["models"]["m"]
        project.configure(agents=agents, workflow=workflow, model=model)
        assert project.run().code == 0
        seen = stats(url)
    check_answers(project, 15)
    assert (seen["batches"], seen["answered"]) == (2, 45)


def test_what_the_provider_refuses_fails_its_items_only(project: Project) -> None:
    project.give(10)
    with provider_of(project.folder, errors={"bad_request": 0.4}) as url:
        use(project, "openai", url)
        assert project.run().code == 1
    statuses = {line["status"] for line in project.lines()}
    assert statuses == {"ok", "error"}
    assert {line["error"]["type"] for line in project.lines() if line["error"]} == {"bad_request"}


def test_a_batch_needs_a_file_of_results(project: Project) -> None:
    project.give(1)
    use(project, "openai", "http://127.0.0.1:9")
    ended = project.run("-o", "-")
    assert (ended.code, "provider_batch: with results on stdout" in ended.stderr) == (2, True)


@pytest.mark.slow
@DIALECTS
def test_before_a_deadline_what_a_batch_has_not_answered_goes_the_ordinary_way(project: Project, dialect: str) -> None:
    project.give(60)
    with provider_of(project.folder, batch_delay="1h") as url:
        use(project, dialect, url, max_requests=20)
        ended = project.run("--deadline", "12s", "--json")
        seen = stats(url)
    assert ended.code == 0, ended.stderr
    check_answers(project, 60)
    assert (seen["batches"], seen["by_status"], seen["answered_again"]) == (3, {"200": 60}, 0)
    assert "batches answered 0 requests at half the price, 60 went the ordinary way" in ended.stderr
