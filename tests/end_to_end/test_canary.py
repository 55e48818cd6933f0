"""A canary on the real program: a sample is paid for first, and the rest follows only if it fits."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from end_to_end.checker import faults_of
from end_to_end.project import Project, Running
from end_to_end.provider import Provider, good, refused
from end_to_end.test_provider_batches import provider_of, stats, use
from jsonschema import validate
from summary_schema import SUMMARY_SCHEMA

from agentbatch import load, run_batch
from agentbatch.canary.findings import Canary
from agentbatch.errors import RunStopped

PATIENCE_S = 60.0


def prices(project: Project, **more: Any) -> None:
    """A dollar for each token: what runs cost is easily reckoned. Every answer uses the same."""
    project.configure(model={"price": {"input": 1e6, "output": 1e6}, "params": {"max_tokens": 5}}, **more)


def test_the_sample_is_spread_paid_first_and_paid_once(project: Project, provider: Provider) -> None:
    prices(project)
    ids = project.give(100)
    ended = project.run("--canary", "10", "--json")
    assert ended.code == 0, ended.stderr
    assert sorted((int(name) - 1) // 10 for name in provider.ids[:10]) == list(range(10))
    assert sorted(provider.ids, key=int) == ids
    assert not faults_of(project.results, ids)
    validate(ended.summary, SUMMARY_SCHEMA)
    found = ended.summary["canary"]
    each = ended.summary["cost_usd"] / 100
    assert found["items"] == 10
    assert found["others"] == 90
    assert found["cost_usd"]["expected"] == pytest.approx(90 * each)
    assert found["went_on"]
    assert "90% interval" in ended.stderr


def test_what_does_not_fit_stops_and_the_same_command_pays_for_no_other_sample(
    project: Project, provider: Provider
) -> None:
    prices(project)
    ids = project.give(50)
    ended = project.run("--canary", "5", "--max-cost", "200", "--json")
    assert ended.code == 3, ended.stderr
    assert len(project.lines()) == len(provider.ids) == 5
    assert "max_cost" in ended.summary["stop_reason"]
    assert ended.summary["canary"]["went_on"] is False
    assert ended.summary["continue_command"].endswith("--max-cost 200 --json --canary 0"), "it would refuse again"
    assert project.run("--canary", "5", "--max-cost", "200").code == 3
    assert len(provider.ids) == 5
    ended = project.run("--canary", "5", "--max-cost", "5000", "--json")
    assert ended.code == 0, ended.stderr
    assert sorted(provider.ids, key=int) == ids
    assert ended.summary["canary"]["items"] == 5


def test_without_the_option_the_rest_is_run_all_the_same(project: Project, provider: Provider) -> None:
    prices(project)
    ids = project.give(30)
    assert project.run("--canary", "5", "--max-cost", "200").code == 3
    assert project.run("--canary", "0", "--set", "limits.canary=5").code == 0
    assert sorted(provider.ids, key=int) == ids


@pytest.mark.parametrize(("allowed", "code"), [((), 3), (("--max-failures", "80%"), 0), (("--max-failures", "5%"), 3)])
def test_a_sample_that_fails_stops_the_run(
    project: Project, provider: Provider, allowed: tuple[str, ...], code: int
) -> None:
    provider.script = lambda asked: refused("400 No") if int(asked.id) % 10 < 7 else good(asked.id)
    ids = project.give(80)
    ended = project.run("--canary", "10", "--set", "limits.breaker.same_error=0", *allowed)
    assert ended.code == code, ended.stderr
    assert len(provider.ids) <= 10 if code == 3 else len(provider.ids) == 80, "max_failures may stop it sooner"
    assert not faults_of(project.results, ids, complete=code == 0)


def test_few_failures_do_not_stop_it(project: Project, provider: Provider) -> None:
    provider.script = lambda asked: refused("400 No") if int(asked.id) % 10 == 7 else good(asked.id)
    project.give(80)
    assert project.run("--canary", "10").code == 1
    assert len(provider.ids) == 80


def test_a_sample_broken_off_is_completed_by_the_same_command(project: Project, provider: Provider) -> None:
    project.configure(model={"price": {"input": 1.0, "output": 1.0}, "max_concurrency": 2})
    ids = project.give(60)
    provider.script = lambda asked: good(asked.id, delay=0.3)
    with project.start("--canary", "20") as running:
        until = time.monotonic() + PATIENCE_S
        while not project.results.exists() or len(project.lines()) < 5:
            assert time.monotonic() < until
            time.sleep(0.01)
        running.kill()
    asked = len(provider.ids)
    assert asked < 20
    provider.script = lambda asked: good(asked.id, delay=0.01)
    ended = project.run("--canary", "20", "--json")
    assert ended.code == 0, ended.stderr
    assert ended.summary["canary"]["items"] == 20
    assert not faults_of(project.results, ids)
    # what was in flight at the kill, and answers whose lines were on their way to the disk
    assert len(provider.ids) <= 60 + 2 * 2
    sample = set(provider.ids[: 20 + 2])
    assert len({(int(name) - 1) // 3 for name in sample}) >= 20


def test_with_a_part_of_the_inputs_the_sample_is_of_that_part(project: Project, provider: Provider) -> None:
    prices(project)
    project.give(100)
    assert project.run("--canary", "4", "--limit", "20", "--offset", "10").code == 0
    assert sorted(map(int, provider.ids)) == list(range(11, 31))
    assert sorted((int(name) - 11) // 5 for name in provider.ids[:4]) == [0, 1, 2, 3]


def test_with_a_sample_and_in_order(project: Project, provider: Provider) -> None:
    prices(project)
    project.give(100)
    assert project.run("--canary", "4", "--sample", "20", "--ordered").code == 0
    indexes = [line["index"] for line in project.lines()]
    assert len(indexes) == 20
    assert indexes == sorted(indexes)


def test_a_sample_as_large_as_the_run_is_the_run(project: Project, provider: Provider) -> None:
    prices(project)
    ids = project.give(5)
    assert project.run("--canary", "50", "--max-cost", "1000").code == 0
    assert not faults_of(project.results, ids)


def test_bad_lines_are_not_drawn_and_get_their_results(project: Project, provider: Provider) -> None:
    prices(project)
    project.give([*({"text": "x"} for _ in range(10)), 7, *({"text": "x"} for _ in range(10))])
    assert project.run("--canary", "10").code == 1
    assert len(provider.ids) == 20
    assert [line["index"] for line in project.lines() if line["status"] == "error"] == [10]


def test_a_pipe_and_an_ordered_stream_are_refused(project: Project, provider: Provider) -> None:
    project.give(5)
    with (
        project.inputs.open("rb") as pipe,
        project.start_verb("run", "config.yaml", "-", "--canary", "2", stdin=pipe) as running,
    ):
        ended = running.end()
    assert ended.code == 2
    assert "save them to a file" in ended.stderr
    ended = project.run("--canary", "2", "--ordered", "-o", "-")
    assert ended.code == 2
    assert "-o FILE" in ended.stderr
    assert not provider.requests


@contextmanager
def at_a_terminal(project: Project, *args: str) -> Iterator[tuple[Running, int]]:
    """A run whose stdin and stderr are a terminal; gives the terminal's other end."""
    leader, follower = os.openpty()
    try:
        env = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
        with project.start(*args, env=env, stdin=follower, stderr=follower) as running:
            os.close(follower)
            yield running, leader
    finally:
        os.close(leader)


def read_until(leader: int, words: bytes) -> bytes:
    """What the terminal shows up to these words."""
    shown = b""
    until = time.monotonic() + PATIENCE_S
    while words not in shown:
        assert time.monotonic() < until, shown
        if select.select([leader], [], [], 0.1)[0]:
            shown += os.read(leader, 65536)
    return shown


def drained(leader: int, running: Running) -> int:
    """The exit code, with everything read that comes until then."""
    until = time.monotonic() + PATIENCE_S
    while (code := running.process.poll()) is None:
        assert time.monotonic() < until
        if select.select([leader], [], [], 0.05)[0]:
            try:
                os.read(leader, 65536)
            except OSError:  # the other end is closed
                time.sleep(0.01)
    return code


@pytest.mark.parametrize(("answer", "code", "asked"), [(b"y\n", 0, 40), (b"n\n", 3, 5), (b"\n", 3, 5), (b"\x04", 3, 5)])
def test_at_a_terminal_a_person_is_asked(
    project: Project, provider: Provider, answer: bytes, code: int, asked: int
) -> None:
    prices(project)
    project.give(40)
    with at_a_terminal(project, "--canary", "5") as (running, leader):
        shown = read_until(leader, b"[y/N]")
        assert b"the other 35" in shown
        os.write(leader, answer)
        assert drained(leader, running) == code
    assert len(provider.ids) == asked


def test_a_person_may_go_on_against_what_was_found(project: Project, provider: Provider) -> None:
    prices(project)
    project.give(12)
    with at_a_terminal(project, "--canary", "4", "--max-failures", "0%", "--max-cost", "130") as (running, leader):
        shown = read_until(leader, b"[y/N]")
        assert b"does not fit" in shown
        os.write(leader, b"yes\n")
        assert drained(leader, running) in (0, 3)  # the cap itself stays
    assert len(provider.ids) > 4


def test_yes_is_not_asked(project: Project, provider: Provider) -> None:
    prices(project)
    project.give(20)
    with at_a_terminal(project, "--canary", "5", "--yes") as (running, leader):
        assert drained(leader, running) == 0
    assert len(provider.ids) == 20


def test_a_signal_ends_the_question(project: Project, provider: Provider) -> None:
    prices(project)
    project.give(20)
    with at_a_terminal(project, "--canary", "5") as (running, leader):
        read_until(leader, b"[y/N]")
        running.process.send_signal(2)
        assert drained(leader, running) == 130
    assert len(project.lines()) == 5


@pytest.mark.parametrize("went_on", [True, False])
async def test_from_python_a_function_decides(project: Project, provider: Provider, went_on: bool) -> None:
    prices(project)
    project.give(20)
    told: list[Canary] = []

    async def confirm(found: Canary) -> bool:
        told.append(found)
        return went_on

    config = load(project.folder / "config.yaml", environ={"TEST_KEY": "sk-test"})
    run = run_batch(config, project.inputs, output=project.results, canary=5, confirm=confirm)
    seen = 0
    try:
        async for _ in run:
            seen += 1
    except RunStopped:
        assert not went_on
    assert seen == (20 if went_on else 5)
    (found,) = told
    assert (found.items, found.others, found.failed) == (5, 15, 0)
    assert run.summary.canary is not None
    assert run.summary.canary.went_on is went_on


def test_through_a_providers_batches(project: Project, tmp_path: Any) -> None:
    with provider_of(tmp_path) as url:
        use(project, "openai", url)
        ids = project.give(30)
        ended = project.run("--canary", "5", "--json")
        assert ended.code == 0, ended.stderr
        assert sorted(project.by_id(), key=int) == ids
        assert stats(url)["batches"] == 2, "one of the sample, which waits for nothing, and one of the rest"
        found = ended.summary["canary"]
        assert found["cost_usd"]["expected"] == pytest.approx(ended.summary["cost_usd"] * 25 / 30, rel=0.2)
