"""A run that is killed at any moment, and continued, is worth as much as one that was left alone."""

from __future__ import annotations

import json
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from end_to_end.checker import committed, faults_of, paid_twice
from end_to_end.project import Project
from end_to_end.provider import Asked, Provider, Reply, good
from end_to_end.tracing import can_trace, strace, strace_of

CONCURRENCY = 8


def slowly(asked: Asked) -> Reply:
    """Answers of different length, so that items end out of order."""
    return good(asked.id, delay=0.005 + 0.03 * random.Random(asked.id).random())


def kill_and_continue(project: Project, provider: Provider, moments: Iterator[int], items: int) -> dict[str, Any]:
    """Kill at each of these numbers of new requests; after each kill look at what is there. Then let it end.

    Returns the audit of the summary.
    """
    ids = project.give(items)
    provider.script = slowly
    for more in moments:
        before, asked_before = committed(project.results), len(provider.requests)
        with project.start() as run:
            provider.wait_for(asked_before + more)
            run.kill()
        assert not faults_of_whole_lines(project, ids)
        assert not paid_twice(before, provider.requests[asked_before:])
        assert before <= committed(project.results)
    before, asked_before = committed(project.results), len(provider.requests)
    ended = project.run("--json")
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    assert not paid_twice(before, provider.requests[asked_before:])
    return ended.summary["audit"]


def two_steps(project: Project) -> None:
    """Items of two calls, so that there is a journal."""
    agents = {name: {"model": "m", "prompt": f"item={{{{ item.id }}}};{name}"} for name in ("first", "final")}
    project.configure(agents=agents, workflow=["first", "final"])


def faults_of_whole_lines(project: Project, ids: list[str]) -> list[object]:
    """What is wrong after a kill, but for a torn last line, which the next run heals."""
    faults = faults_of(project.results, ids, complete=False)
    torn = [line for line in faults.torn if line.endswith(b"\n")]
    return [*faults.doubled, *faults.mixed_up, *faults.strangers, *torn]


def test_killed_a_few_times_nothing_is_lost_doubled_or_paid_again(project: Project, provider: Provider) -> None:
    audit = kill_and_continue(project, provider, iter([1, 9, 40, 23]), items=150)
    # only what was in flight at a kill is paid again
    assert len(provider.requests) <= 150 + 4 * 2 * CONCURRENCY
    # and the summary says how much that was, over all the runs
    again = len(provider.requests) - 150
    assert again > 0
    assert audit["missing"] == 0
    # what was entered and not yet on the wire when the kill came is counted too
    assert again <= audit["paid_twice"]["calls"] <= again + 4 * CONCURRENCY
    assert audit["paid_twice"]["answered"] <= again
    assert audit["paid_twice"]["cost_usd"] == pytest.approx(audit["paid_twice"]["calls"] * 15e-6)


def test_a_run_that_nothing_interrupted_has_no_audit(project: Project, provider: Provider) -> None:
    project.give(3)
    assert project.run("--json").summary["audit"] is None
    project.give(3)
    assert project.run("--json").summary["audit"] is None


def test_after_an_interrupt_it_is_known_what_was_paid_twice(project: Project, provider: Provider) -> None:
    project.give(20)
    provider.script = slowly
    with project.start() as run:
        provider.wait_for(9)
        run.send(signal.SIGINT)
        assert run.end().code == 130
    assert json.loads(header_of(project).read_bytes())["bound_by"]  # the end of a run writes its header again
    audit = project.run("--json").summary["audit"]
    assert audit["missing"] == 0
    assert audit["paid_twice"] is not None


def test_what_was_in_memory_only_is_not_known_after_a_restart(project: Project, provider: Provider) -> None:
    project.give(20)
    provider.script = slowly
    with project.start() as run:
        provider.wait_for(9)
        run.kill()
    header = json.loads(header_of(project).read_bytes())
    header_of(project).write_text(json.dumps(header | {"created_at": "2026-01-01T00:00:00+00:00"}))  # another run's
    ended = project.run("--json")
    assert ended.summary["audit"] == {"missing": 0, "paid_twice": None}
    assert "missing: 0, paid twice: not known" in ended.stderr


def header_of(project: Project) -> Path:
    return project.results.with_name("in.results.run.json")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1))
def test_killed_many_times_at_random_moments(project: Project, provider: Provider, seed: int) -> None:
    draw = random.Random(seed)
    kill_and_continue(project, provider, (draw.randrange(1, 60) for _ in range(20)), items=700)
    assert len(provider.requests) <= 700 + 20 * 2 * CONCURRENCY


def test_a_finished_run_run_again_asks_nothing_and_changes_nothing(project: Project, provider: Provider) -> None:
    project.give(5)
    assert project.run().code == 0
    before = project.results.read_bytes()
    again = project.run()
    assert again.code == 0
    assert len(provider.requests) == 5
    assert project.results.read_bytes() == before
    assert "Nothing left to do" in again.stderr


CHAIN = {
    "first": {"model": "m", "prompt": "item={{ item.id }};first"},
    "second": {"model": "m", "prompt": "item={{ item.id }};second {{ first.output }}"},
    "third": {"model": "m", "prompt": "item={{ item.id }};third {{ second.output }}"},
}


def test_paid_steps_of_unfinished_items_are_not_paid_again(project: Project, provider: Provider) -> None:
    """Whoever made a call and got its answer keeps it over the crash; only calls in flight are made again."""
    ids = project.give(12)
    project.configure(agents=CHAIN, workflow=["first", "second", "third"], model={"max_concurrency": 4})

    def third_hangs(asked: Asked) -> Reply:
        return Reply(raw=b"", then="hang") if "third" in asked.prompt else good(asked.id)

    provider.script = third_hangs
    with project.start("--max-concurrency", "4") as run:
        provider.wait_for(3 * 4)
        run.kill()
    assert not project.lines()
    provider.script = lambda asked: good(asked.id)
    ended = project.run("--max-concurrency", "4")
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    asked = [(one.id, one.prompt.split(";")[1].split()[0]) for one in provider.requests]
    paid_again = sorted({call for call in asked if asked.count(call) > 1})
    assert paid_again == [(str(number), "third") for number in range(1, 5)]
    # what an earlier run paid belongs to the item's books all the same
    assert all(line["usage"]["requests"] == 3 for line in project.lines())
    assert not list(project.folder.glob("*.sqlite*")), "a complete run needs no journal"


@pytest.mark.slow
def test_running_a_part_does_not_throw_away_what_was_paid_for_the_rest(project: Project, provider: Provider) -> None:
    ids = project.give(12)
    project.configure(agents=CHAIN, workflow=["first", "second", "third"])
    provider.script = lambda asked: Reply(raw=b"", then="hang") if "third" in asked.prompt else good(asked.id)
    with project.start("--max-concurrency", "4") as run:
        provider.wait_for(3 * 4)
        run.kill()
    provider.script = lambda asked: good(asked.id)
    assert project.run("--limit", "2").code == 0
    assert project.run().code == 0
    assert not faults_of(project.results, ids)
    paid = Counter((one.id, one.prompt.split(";")[1].split()[0]) for one in provider.requests if one.status)
    assert [call for call, times in paid.items() if times > 1] == []


KILLS = [
    ("fdatasync", "in.results.jsonl", 2),
    pytest.param("rename", "in.results.run.json", 1, marks=pytest.mark.slow),
    pytest.param("write", "in.results.jsonl", 1, marks=pytest.mark.slow),
    pytest.param("write", "in.results.traces.jsonl", 1, marks=pytest.mark.slow),
    pytest.param("unlink", "in.results.jsonl.lock", 1, marks=pytest.mark.slow),
]


@pytest.mark.skipif(not can_trace(), reason="needs strace, and the right to trace")
@pytest.mark.parametrize(("call", "file", "when"), KILLS)
def test_killed_at_an_exact_system_call(project: Project, provider: Provider, call: str, file: str, when: int) -> None:
    ids = project.give(30)
    provider.script = slowly
    inject = strace(project.folder / file, call, f"signal=KILL:when={when}")
    killed = project.run(under=inject)
    assert killed.code in (-9, 137), killed.stderr
    before, asked_before = committed(project.results), len(provider.requests)
    assert not faults_of_whole_lines(project, ids)
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    assert not paid_twice(before, provider.requests[asked_before:])


@pytest.mark.slow
@pytest.mark.skipif(not can_trace(), reason="needs strace, and the right to trace")
@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_killed_at_each_system_call_in_turn_until_none_is_left(project: Project, provider: Provider, call: str) -> None:
    project.configure(model={"max_concurrency": 2})
    ids = project.give(8)
    provider.script = slowly
    for when in range(1, 100):
        for path in project.folder.glob("in.results.*"):
            path.unlink()
        killed = project.run("--max-concurrency", "2", under=strace(project.results, call, f"signal=KILL:when={when}"))
        if killed.code == 0:
            assert when > 3
            return
        before, asked_before = committed(project.results), len(provider.requests)
        assert not faults_of_whole_lines(project, ids)
        assert project.run().code == 0
        assert not faults_of(project.results, ids)
        assert not paid_twice(before, provider.requests[asked_before:])
    raise AssertionError("the run never came to its end")


ENDS = {
    "of a run in order": ("--ordered",),
    "of the journal": (),
    "of what is overwritten": ("--overwrite",),
}


@pytest.mark.slow
@pytest.mark.skipif(not can_trace(), reason="needs strace, and the right to trace")
@pytest.mark.parametrize("call", ["rename", "unlink", "fsync"])
@pytest.mark.parametrize("args", ENDS.values(), ids=ENDS)
def test_killed_at_each_call_of_its_beginning_and_its_end(
    project: Project, provider: Provider, call: str, args: tuple[str, ...]
) -> None:
    """While files are put in place, put in order, and taken away, what was committed stays, and is not paid again."""
    two_steps(project)
    ids = project.give(6)
    names = ("jsonl", "jsonl.lock", "run.json", "journal.sqlite", "journal.sqlite-wal", "traces.jsonl")
    under = strace_of([project.folder / f"in.results.{name}" for name in names], call)
    for when in range(1, 40):
        if "--overwrite" not in args:
            for path in project.folder.glob("in.results.*"):
                path.unlink()
        killed = project.run(*args, under=[*under, "-e", f"inject={call}:signal=KILL:when={when}"])
        before, asked_before = committed(project.results), len(provider.requests)
        assert not faults_of_whole_lines(project, ids)
        ended = project.run(*(arg for arg in args if arg != "--overwrite"))
        assert ended.code == 0, ended.stderr
        assert not faults_of(project.results, ids)
        assert not paid_twice(before, provider.requests[asked_before:])
        assert not list(project.folder.glob("*.sqlite*"))
        if killed.code == 0:
            assert when > 1
            return
    raise AssertionError("the run never came to its end")


def test_a_cancelled_job_whose_signals_reach_only_its_shell(project: Project, provider: Provider) -> None:
    """It passes none on; then everything is killed."""
    ids = project.give(60)
    provider.script = lambda asked: good(asked.id, delay=0.05)
    with project.start(under=["bash", "-c", '"$@"; echo after', "bash"]) as run:
        provider.wait_for(20)
        run.send(signal.SIGINT)
        run.send(signal.SIGTERM)
        provider.wait_for(30)
        run.kill()
    before, asked_before = committed(project.results), len(provider.requests)
    assert before
    assert project.run().code == 0
    assert not faults_of(project.results, ids)
    assert not paid_twice(before, provider.requests[asked_before:])


@pytest.mark.slow
def test_a_killed_run_does_not_keep_its_output_locked(project: Project, provider: Provider) -> None:
    project.give(3)
    provider.script = lambda asked: Reply(raw=b"", then="hang")
    with project.start() as run:
        provider.wait_for(3)
        run.kill()
    provider.script = lambda asked: good(asked.id)
    assert project.run().code == 0  # at once, without any --force


def test_the_lock_that_a_crash_left_is_only_a_hint(project: Project) -> None:
    """Whatever pid it names: the kernel decides, and it knows that nobody holds the file."""
    project.give(2)
    lock = project.folder / "in.results.jsonl.lock"
    lock.write_text('{"pid": 1, "host": "elsewhere", "boot_id": "another", "started_at": "2020-01-01T00:00:00"}\n')
    assert project.run().code == 0


@pytest.mark.slow
def test_a_multi_step_run_killed_at_random_repays_no_answer_that_was_used(project: Project, provider: Provider) -> None:
    """An answer that a later request was built on had been kept before that request was sent."""
    ids = project.give(40)
    project.configure(agents=CHAIN, workflow=["first", "second", "third"])
    provider.script = slowly
    for moment in (17, 30, 44):
        asked_before = len(provider.requests)
        with project.start() as run:
            provider.wait_for(asked_before + moment)
            run.kill()
    assert project.run().code == 0
    assert not faults_of(project.results, ids)
    steps = ["first", "second", "third"]
    seen: dict[str, int] = {}
    for one in provider.requests:
        step = steps.index(one.prompt.split(";")[1].split()[0])
        assert step >= seen.get(one.id, 0), f"item {one.id}: {steps[step]} was asked again after {steps[step + 1]}"
        seen[one.id] = step
