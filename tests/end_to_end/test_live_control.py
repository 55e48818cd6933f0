"""A run that is looked into, paused, given other limits and stopped from another process."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from end_to_end.checker import faults_of
from end_to_end.project import Project, Running
from end_to_end.provider import Asked, Provider, Reply, good

from agentbatch.ctl.socket_place import connect, socket_path
from agentbatch.files.lock import read_holder


class Gate:
    """A provider's script that answers only so many requests as were let through."""

    def __init__(self) -> None:
        self._let = threading.Semaphore(0)

    def let(self, requests: int) -> None:
        self._let.release(requests)

    def __call__(self, asked: Asked) -> Reply:
        return good(asked.id) if self._let.acquire(blocking=False) else Reply(raw=b"", then="hang")


def ctl(project: Project, *words: str) -> tuple[int, dict[str, Any], str]:
    with project.start_verb("ctl", "in.results.jsonl", *words, "--json") as run:
        ended = run.end()
    return ended.code, json.loads(ended.stdout or b"{}"), ended.stderr


@contextmanager
def slow_run(
    project: Project, provider: Provider, items: int = 20_000, delay: float = 0.05, **model: Any
) -> Iterator[Running]:
    """A run that outlasts many commands: its answers take 50 ms, four at once."""
    project.configure(model={"max_concurrency": 4, **model})
    project.give(items)
    provider.script = lambda asked: good(asked.id, delay=delay)
    with project.start() as run:
        provider.wait_for(4, answered=True)
        yield run


def test_status_says_how_things_stand(project: Project, provider: Provider) -> None:
    with slow_run(project, provider) as run:
        code, status, stderr = ctl(project, "status")
        assert (code, stderr) == (0, "")
        assert (status["state"], status["pid"], status["items"]["total"]) == ("running", run.pid, 20_000)
        assert status["items"]["ended"] >= 4
        assert status["requests"]["in_flight"] <= 4
        assert status["held_by"] == "max_concurrency of model m"
        assert status["limits"]["models.m.max_concurrency"] == 4
        assert status["spent_usd"] > 0
        with project.start_verb("ctl", "in.results.jsonl") as told:
            text = told.end().stdout.decode()
        assert text.startswith(f"running (pid {run.pid}, ")
        assert "limit     models.m.max_concurrency=4" in text


def test_a_pause_sends_nothing_and_loses_nothing(project: Project, provider: Provider) -> None:
    with slow_run(project, provider, items=60, delay=0.4) as run:
        assert ctl(project, "pause")[1]["state"] == "paused"
        while provider.in_flight:
            provider.wait_for_change()
        sent = len(provider.requests)
        for _ in range(2):  # each takes as long as an answer
            assert ctl(project, "status")[1]["held_by"] == "paused"
        assert len(provider.requests) == sent < 60
        assert ctl(project, "resume")[1]["state"] == "running"
        assert run.end().code == 0
    assert not faults_of(project.results, [str(number) for number in range(1, 61)])
    assert len(provider.requests) == 60


def test_limits_change_while_it_goes(project: Project, provider: Provider) -> None:
    with slow_run(project, provider) as run:
        assert ctl(project, "set", "models.m.max_concurrency=40")[1]["limits"]["models.m.max_concurrency"] == 40
        assert ctl(project, "set", "limits.max_concurrency=30")[1]["limits"]["limits.max_concurrency"] == 30
        while provider.in_flight < 30:
            provider.wait_for_change()
        assert ctl(project, "set", "limits.max_concurrency=3")[0] == 0
        while provider.in_flight > 3:
            provider.wait_for_change()
        seen = len(provider.requests)
        provider.wait_for(seen + 30)
        assert max(asked.in_flight for asked in provider.requests[seen + 5 :]) <= 3
        assert ctl(project, "set", "limits.max_cost=0.0001")[0] == 0
        ended = run.end()
    assert ended.code == 3
    assert "max_cost" in ended.stderr
    assert provider.peak <= 40


def test_a_rate_changes_while_it_goes(project: Project, provider: Provider) -> None:
    with slow_run(project, provider, items=40, rpm=30) as run:
        assert ctl(project, "set", "models.m.rpm=60000")[1]["limits"]["models.m.rpm"] == 60000
        assert run.end().code == 0


def test_what_cannot_be_set_is_refused_with_its_reason(project: Project, provider: Provider) -> None:
    with slow_run(project, provider) as run:
        for setting, reason in {
            "models.m.max_concurency=3": "did you mean 'models.m.max_concurrency'?",
            "models.m.max_concurrency=0": "at least 1",
            "models.m.rpm=1.5": "whole number",
            "limits.max_cost=nan": "expected a number",
            "models.m.temperature=1": "These can:",
        }.items():
            code, answer, stderr = ctl(project, "set", setting)
            assert (code, answer) == (2, {})
            assert reason in stderr
        assert ctl(project, "set")[0] == ctl(project, "status", "a=1")[0] == ctl(project, "set", "x=y")[0] == 2
        assert run.process.poll() is None


def test_stop_drains_as_an_interrupt_does(project: Project, provider: Provider) -> None:
    with slow_run(project, provider) as run:
        assert ctl(project, "stop")[1]["state"] == "stopping"
        ended = run.end()
    assert ended.code == 130
    assert "agentbatch ctl stop" in ended.stderr
    assert len(project.lines()) == len(provider.requests)
    assert not socket_path(project.results).exists()


def test_a_paused_run_stops_too(project: Project, provider: Provider) -> None:
    with slow_run(project, provider) as run:
        ctl(project, "pause")
        ctl(project, "stop")
        assert run.end().code == 130


def test_only_the_owner_gets_in_and_where_no_run_is_that_is_said(project: Project, provider: Provider) -> None:
    with slow_run(project, provider) as run:
        mode = socket_path(project.results).stat().st_mode
        assert (stat.S_ISSOCK(mode), stat.S_IMODE(mode)) == (True, 0o600)
        run.kill()
    code, _, stderr = ctl(project, "status")
    assert code == 2
    assert "no run writes it now" in stderr


def test_a_dead_socket_hurts_nobody(project: Project, provider: Provider) -> None:
    with slow_run(project, provider, items=30) as run:
        run.kill()
    assert socket_path(project.results).is_socket()
    assert project.run().code == 0
    assert not socket_path(project.results).exists()


def test_what_stands_in_its_place_and_is_no_socket_is_left_alone(project: Project, provider: Provider) -> None:
    project.give(3)
    socket_path(project.results).write_text("mine")
    assert project.run().code == 0
    assert socket_path(project.results).read_text() == "mine"


def test_a_path_longer_than_the_kernel_takes(project: Project, provider: Provider, tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["a folder with a long name"] * 6)
    folder.mkdir(parents=True)
    results = folder / f"{'long' * 50}.results.jsonl"
    project.configure(model={"max_concurrency": 4})
    project.give(200)
    provider.script = lambda asked: good(asked.id, delay=0.05)
    with project.start("-o", str(results)) as run:
        provider.wait_for(4, answered=True)
        with project.start_verb("ctl", str(results), "status", "--json") as status:
            assert json.loads(status.end().stdout)["pid"] == run.pid


def test_nonsense_is_answered_with_an_error(control: Path) -> None:
    with closing(connect(control, 30)) as client, client.makefile() as answers:
        for said in (b"junk\n", b"[]\n", b"{}\n", b'{"do":"dance"}\n', b'{"do":"set"}\n', b"\xff\n", b"\n"):
            client.sendall(said)
            assert json.loads(answers.readline())["ok"] is False


def test_clients_that_are_silent_slow_or_many_hold_nothing_up(
    project: Project, provider: Provider, control: Path
) -> None:
    silent = [connect(control, 30) for _ in range(20)]
    flood = silent[0]
    flood.setblocking(False)
    try:
        while True:  # it asks, and never reads
            flood.send(b'{"do":"status"}\n' * 1000)
    except (BlockingIOError, ConnectionError):
        pass
    endless = silent[1]
    try:
        endless.sendall(b"x" * 1_000_000)
    except OSError:
        pass
    seen = len(provider.requests)
    provider.wait_for(seen + 40)
    for client in silent:
        client.close()
    while True:  # its places are free again
        with closing(connect(control, 30)) as client:
            try:
                client.sendall(b'{"do":"status"}\n')
                if json.loads(client.makefile().readline() or "{}").get("ok"):
                    break
            except ConnectionError:
                continue


@pytest.fixture
def control(project: Project, provider: Provider) -> Iterator[Path]:
    """The socket of a run that goes on."""
    with slow_run(project, provider, items=5000):
        assert read_holder(project.results) is not None
        yield socket_path(project.results)
