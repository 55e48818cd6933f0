"""Signals: the first drains, the second ends now, and whatever was answered is kept."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from end_to_end.cases import cases
from end_to_end.checker import committed, faults_of, paid_twice
from end_to_end.project import Project, Running
from end_to_end.provider import Asked, Provider, Reply, good
from end_to_end.tracing import can_trace, strace

STARTED_ALREADY_S = 0.1
"""A request may be on its way when the signal comes."""


@contextmanager
def in_mid_run(
    project: Project, provider: Provider, *args: str, items: int = 200, answer_s: float = 0.3, **more
) -> Iterator[tuple[Running, list[str]]]:
    """A run with a full window, some answers in."""
    ids = project.give(items)
    provider.script = lambda asked: good(asked.id, delay=answer_s)
    with project.start(*args, **more) as run:
        provider.wait_for(20)
        yield run, ids


SIGNALS = {"INT": (signal.SIGINT, 130), "TERM": (signal.SIGTERM, 143), "HUP": (signal.SIGHUP, 129)}


@pytest.mark.parametrize(("number", "code"), cases(SIGNALS, "INT"))
def test_one_signal_lets_end_what_is_in_flight_and_says_how_to_go_on(
    project: Project, provider: Provider, number: signal.Signals, code: int
) -> None:
    with in_mid_run(project, provider) as (run, ids):
        sent = run.send(number)
        ended = run.end()
    assert ended.code == code, ended.stderr
    assert not provider.after(sent + STARTED_ALREADY_S), "a new request after the signal"
    assert not faults_of(project.results, ids, complete=False)
    answered = {asked.id for asked in provider.requests}
    assert committed(project.results) == answered, "what was in flight was thrown away"
    command = ended.stderr.partition("Continue with:\n  ")[2].splitlines()[0]
    assert command == "agentbatch run config.yaml in.jsonl"
    assert "Traceback" not in ended.stderr
    check_continues(project, provider, ids)


def check_continues(project: Project, provider: Provider, ids: list[str]) -> None:
    before, asked = committed(project.results), len(provider.requests)
    provider.script = lambda asked: good(asked.id)
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    assert not paid_twice(before, provider.requests[asked:])


def test_two_signals_end_at_once(project: Project, provider: Provider) -> None:
    with in_mid_run(project, provider) as (run, ids):
        provider.script = lambda asked: Reply(raw=b"", then="hang")
        provider.wait_for(28)
        run.send(signal.SIGINT)
        time.sleep(0.2)
        sent = run.send(signal.SIGINT)
        ended = run.end()
        assert time.perf_counter() - sent < 2
    assert ended.code == 130, ended.stderr
    answered = {asked.id for asked in provider.requests if asked.status and (asked.ended_at or sent) < sent - 0.1}
    assert answered <= committed(project.results), "an answer that was there is lost"
    assert not faults_of(project.results, ids, complete=False)
    check_continues(project, provider, ids)


@pytest.mark.slow
def test_what_hangs_is_cut_when_the_grace_is_over(project: Project, provider: Provider) -> None:
    with in_mid_run(project, provider) as (run, ids):
        provider.script = lambda asked: Reply(raw=b"", then="hang")
        provider.wait_for(28)
        sent = run.send(signal.SIGINT)
        ended = run.end()
        assert 4 < time.perf_counter() - sent < 7.5
    assert ended.code == 130, ended.stderr
    assert not faults_of(project.results, ids, complete=False)


@pytest.mark.slow
def test_the_signals_of_a_cancelled_ci_job(project: Project, provider: Provider) -> None:
    """SIGINT, after 7.5 s SIGTERM, after 2.5 s SIGKILL: all that is worth keeping is on disk before the second."""
    with in_mid_run(project, provider) as (run, ids):
        provider.script = lambda asked: good(asked.id, delay=30.0)
        provider.wait_for(28)
        run.send(signal.SIGINT)
        try:
            run.process.wait(7.5)
        except subprocess.TimeoutExpired:
            run.send(signal.SIGTERM)
        ended = run.end(2.5)
    assert ended.code in (130, 143), ended.stderr
    assert not faults_of(project.results, ids, complete=False)
    check_continues(project, provider, ids)


@pytest.mark.slow
def test_sigterm_after_sigint_ends_at_once(project: Project, provider: Provider) -> None:
    with in_mid_run(project, provider, answer_s=0.05) as (run, _):
        provider.script = lambda asked: good(asked.id, delay=30.0)
        provider.wait_for(28)
        run.send(signal.SIGINT)
        time.sleep(0.2)
        sent = run.send(signal.SIGTERM)
        ended = run.end()
        assert time.perf_counter() - sent < 2
    assert ended.code == 130, "the first signal says why it ended"


def test_a_hang_up_is_ignored_under_nohup(project: Project, provider: Provider) -> None:
    with in_mid_run(project, provider, items=40, answer_s=0.1, under=["nohup"]) as (run, ids):
        run.send(signal.SIGHUP)
        ended = run.end()
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)


@pytest.mark.parametrize(("signals", "patience"), cases({"one": (1, 8.0), "two": (2, 3.0)}, "two"))
def test_a_reader_of_results_that_does_not_read_can_be_left(
    project: Project, provider: Provider, signals: int, patience: float
) -> None:
    project.give(3000)
    provider.script = lambda asked: good(asked.id, text="x" * 3000)
    reading, writing = os.pipe()
    try:
        with project.start("-o", "-", stdout=writing) as run:
            provider.wait_for(100)
            for _ in range(signals):
                sent = run.send(signal.SIGINT)
                time.sleep(0.2)
            ended = run.end()
            assert time.perf_counter() - sent < patience
    finally:
        os.close(reading)
        os.close(writing)
    assert ended.code == 130, ended.stderr
    assert "results could not be written in time" in ended.stderr


@pytest.mark.slow
@pytest.mark.skipif(not can_trace(), reason="needs strace, and the right to trace")
def test_a_disk_that_hangs_can_be_left(project: Project, provider: Provider) -> None:
    """Nothing that is not on disk passes for done, and nothing is torn."""
    ids = project.give(60)
    provider.script = lambda asked: good(asked.id, delay=0.02)
    slow = strace(project.results, "fdatasync", "delay_enter=8000000:when=3+")
    with project.start("--json", under=slow) as run:
        provider.wait_for(50)
        tracee = int(Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()[0])
        for _ in range(2):
            os.kill(tracee, signal.SIGINT)
            time.sleep(0.2)
        ended = run.end(20)
    assert ended.code == 130, ended.stderr
    assert ended.summary["counts"].get("ok", 0) <= len(committed(project.results))
    assert not faults_of(project.results, ids, complete=False)
    check_continues(project, provider, ids)


@pytest.mark.slow
def test_a_background_job_of_a_script_ignores_ctrl_c(project: Project, provider: Provider) -> None:
    """A shell starts `command &` with SIGINT ignored; that is its wish."""
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    with in_mid_run(project, provider, items=40, answer_s=0.1, under=ignoring) as (run, ids):
        run.send(signal.SIGINT)
        ended = run.end()
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)


@pytest.mark.slow
def test_a_signal_before_the_first_request(project: Project, provider: Provider) -> None:
    """At any moment of the start: the end is quick and quiet, and nothing stands in the way of another start."""
    ids = project.give(20)
    provider.script = lambda asked: good(asked.id, delay=0.05)
    for wait in (0.1, 0.2, 0.35, 0.45):
        with project.start() as run:
            time.sleep(wait)
            run.send(signal.SIGINT)
            ended = run.end(10)
        assert ended.code in (130, -signal.SIGINT), (wait, ended)
        # the interpreter itself, while it starts, has a traceback for Ctrl-C; the program has none
        assert "agentbatch" not in ended.stderr.partition("Traceback")[2], (wait, ended.stderr)
    check_continues(project, provider, ids)


def rounds_of_signals(project: Project, provider: Provider, rounds: int, draw: random.Random) -> None:
    ids = project.give(2000)

    def now_and_then(asked: Asked) -> Reply:
        kind = draw.random()
        if kind < 0.1:
            return Reply(raw=b"", then="hang")
        return Reply(status="500 no", body="{}") if kind < 0.2 else good(asked.id, delay=0.02 * draw.random())

    project.configure(model={"max_concurrency": 32, "timeout": "1s"})
    provider.script = now_and_then
    for _ in range(rounds):
        before, asked = committed(project.results), len(provider.requests)
        with project.start() as run:
            provider.wait_for(asked + draw.randrange(1, 60))
            for _ in range(2):
                run.send(signal.SIGINT)
                time.sleep(0.05 * draw.random())
            ended = run.end(10)
        assert ended.code in (130, -signal.SIGINT), ended.stderr
        assert "Traceback" not in ended.stderr
        assert not faults_of(project.results, ids, complete=False)
        assert not paid_twice(before, provider.requests[asked:])


@pytest.mark.slow
def test_many_rounds_of_impatient_signals_never_hang(project: Project, provider: Provider) -> None:
    rounds_of_signals(project, provider, 30, random.Random(2))


@pytest.mark.slow
def test_stopped_and_continued_nothing_bursts_or_fails(project: Project, provider: Provider) -> None:
    """Ctrl-Z and fg: what waited does not come all at once, and nothing is counted as failed."""
    project.configure(model={"max_concurrency": 4, "rpm": 600, "timeout": "10s"})
    ids = project.give(30)
    provider.script = lambda asked: good(asked.id, delay=0.05)
    with project.start() as run:
        provider.wait_for(8)
        run.send(signal.SIGSTOP)
        time.sleep(1.5)
        asked = len(provider.requests)
        resumed = run.send(signal.SIGCONT)
        ended = run.end()
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    assert provider.peak <= 4
    assert sum(one.at < resumed + 0.5 for one in provider.requests[asked:]) <= 5 + 6 + 4, "a burst after the pause"


def test_a_hundred_interrupts_end_it_once_and_with_its_exit_code(project: Project, provider: Provider) -> None:
    """Also those that come while the interpreter puts itself away."""
    ids = project.give(40)
    provider.script = lambda asked: good(asked.id, delay=0.05)
    with project.start() as run:
        provider.wait_for(10)
        for _ in range(100):
            run.send(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                run.process.wait(0.003)
        ended = run.end()
    assert ended.code == 130, ended.stderr
    assert "Traceback" not in ended.stderr
    assert not faults_of(project.results, ids, complete=False)
