"""Several runs with one key, in processes of their own: together they keep what one of them may."""

from __future__ import annotations

import json

import pytest
from end_to_end.checker import faults_of
from end_to_end.project import Project
from end_to_end.provider import Provider, good


def shared(project: Project, **model: object) -> None:
    project.configure(model=model, limits={"shared": "limits.shared"})


@pytest.mark.slow
def test_two_runs_keep_one_rate_together_and_use_it(project: Project, provider: Provider) -> None:
    ids = project.give(400)
    shared(project, rpm=300)
    began = None
    with project.start("-o", "a.jsonl") as one, project.start("-o", "b.jsonl") as two:
        provider.wait_for(150)  # of 300 in the first minute
        began = provider.requests[0].at
        assert provider.busiest(1.0) <= 10, "evenly paced, over both"
        provider.wait_for(240)
        took = provider.requests[239].at - began
        one.kill()
        two.kill()
    assert took <= 240 / 300 * 60 / 0.9, "at least nine tenths of the rate"
    assert provider.busiest(60.0) <= 300
    by_run = {name: len((project.folder / name).read_text().splitlines()) for name in ("a.jsonl", "b.jsonl")}
    assert min(by_run.values()) >= 60, f"a fair share: {by_run}"
    assert len(ids) == 400


def test_two_runs_keep_the_number_in_flight_together(project: Project, provider: Provider) -> None:
    ids = project.give(60)
    shared(project, max_concurrency=6)
    provider.script = lambda asked: good(asked.id, delay=0.1)
    with project.start("-o", "a.jsonl") as one, project.start("-o", "b.jsonl") as two:
        ends = one.end(), two.end()
    assert [end.code for end in ends] == [0, 0], [end.stderr for end in ends]
    for name in ("a.jsonl", "b.jsonl"):
        assert not faults_of(project.folder / name, ids)
    assert provider.peak <= 6
    assert provider.peak >= 4


def test_what_a_killed_run_held_is_free_again(project: Project, provider: Provider) -> None:
    project.give(20)
    shared(project, max_concurrency=4)
    provider.script = lambda asked: good(asked.id, delay=60)
    with project.start("-o", "a.jsonl") as one:
        provider.wait_for(4)
        one.kill()
    provider.script = lambda asked: good(asked.id)
    ended = project.run("-o", "b.jsonl")
    assert ended.code == 0, ended.stderr
    books = json.loads((project.folder / "limits.shared").read_text())
    assert books["holders"] == {}
    assert "sk-" not in (project.folder / "limits.shared").read_text()


def test_a_file_that_can_not_be_used_ends_the_run(project: Project, provider: Provider) -> None:
    project.give(3)
    project.configure(limits={"shared": "."})
    ended = project.run()
    assert ended.code == 3, ended.stderr
    assert "limits.shared" in ended.stderr
    assert not provider.requests


@pytest.mark.parametrize("left", [b"", b"{", b"[1]", b'{"version": 1}', b"\x00" * 5000])
def test_books_that_are_damaged_are_begun_anew(project: Project, provider: Provider, left: bytes) -> None:
    project.give(5)
    (project.folder / "limits.shared").write_bytes(left)
    shared(project, rpm=6000)
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert len(project.lines()) == 5
