"""Two runs on one output: one works, the other is told so at once."""

from __future__ import annotations

import threading

import pytest
from end_to_end.checker import faults_of
from end_to_end.project import Project
from end_to_end.provider import Provider, Reply, good


def test_the_second_run_is_refused_with_the_pid_of_the_first(project: Project, provider: Provider) -> None:
    ids = project.give(30)
    release = threading.Event()
    provider.script = lambda asked: good(asked.id, delay=0.0 if release.is_set() else 2.0)
    with project.start() as first:
        provider.wait_for(1)
        second = project.run()
        assert second.code == 75, second.stderr
        assert str(first.pid) in second.stderr
        assert second.seconds < 5
        overwriting = project.run("--overwrite")
        assert overwriting.code == 75
        release.set()
        ended = first.end()
    assert ended.code == 0
    assert not faults_of(project.results, ids)
    assert sorted(provider.counts.values()) == [1] * 30, "an item was paid twice"


def test_a_lock_file_that_somebody_deletes_lets_nobody_in(project: Project, provider: Provider) -> None:
    ids = project.give(30)
    release = threading.Event()
    provider.script = lambda asked: good(asked.id, delay=0.0 if release.is_set() else 2.0)
    with project.start() as first:
        provider.wait_for(1)
        lock = project.results.with_name(f"{project.results.name}.lock")
        lock.unlink()
        for arguments in ((), ("--overwrite",)):
            second = project.run(*arguments)
            assert second.code == 75, second.stderr
            assert "another run writes to it" in second.stderr
            lock.unlink(missing_ok=True)
        release.set()
        assert first.end().code == 0
    assert not faults_of(project.results, ids)
    assert sorted(provider.counts.values()) == [1] * 30, "an item was paid twice"
    assert project.run().code == 0, "and then it is free"
    assert len(provider.requests) == 30


@pytest.mark.slow
def test_of_several_that_begin_at_once_one_works(project: Project, provider: Provider) -> None:
    ids = project.give(10)
    provider.script = lambda asked: good(asked.id, delay=1.0) if asked.attempt == 1 else Reply(status="500 again")
    with project.start() as one, project.start() as two, project.start() as three:
        ends = [run.end() for run in (one, two, three)]
    assert sorted(end.code for end in ends) == [0, 75, 75], [end.stderr for end in ends]
    assert not faults_of(project.results, ids)
    assert len(provider.requests) == 10


@pytest.mark.slow
def test_two_names_of_one_output_are_one_output(project: Project, provider: Provider) -> None:
    project.give(3)
    (project.folder / "other.jsonl").symlink_to("in.results.jsonl")
    provider.script = lambda asked: good(asked.id, delay=1.5)
    with project.start() as first:
        provider.wait_for(1)
        assert project.run("-o", "other.jsonl").code == 75
        assert first.end().code == 0
