"""The endpoint is gone for a while, for good, or was never there."""

from __future__ import annotations

import socket
import time

import pytest
from end_to_end.cases import cases
from end_to_end.checker import faults_of
from end_to_end.project import Project
from end_to_end.provider import Asked, Provider, Reply, good, refused

OUTAGES = {
    "503": refused("503 Unavailable"),
    "500": refused("500 Oops"),
    "resets": Reply(raw=b"", then="reset"),
    "HTML": Reply("<html>maintenance", headers={"content-type": "text/html"}),
    "429": refused("429 No", retry_after="1"),
}


@pytest.mark.parametrize("kind", cases(list(OUTAGES), "503"))
def test_an_outage_in_mid_run_loses_nothing(project: Project, provider: Provider, kind: str) -> None:
    """Longer than the retries of any item would last, if each counted for itself."""
    ids = project.give(120)
    project.configure(model={"max_concurrency": 16, "retries": 1})
    began: list[float] = []

    def script(asked: Asked) -> Reply:
        if asked.number > 40 and not began:
            began.append(asked.at)
        if began and asked.at < began[0] + 4.0:
            return OUTAGES[kind]
        return good(asked.id, delay=0.02)

    provider.script = script
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    assert len(provider.requests) < 120 + 80, "too many retries for an endpoint that is down"
    assert time.perf_counter() - began[0] < 4.0 + 10.0


@pytest.mark.slow
def test_an_endpoint_that_was_never_there_ends_the_run_soon(project: Project, provider: Provider) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        project.configure(model={"base_url": f"http://127.0.0.1:{unused.getsockname()[1]}/v1"})
        ids = project.give(2_000)
        ended = project.run()
        assert ended.code == 3, ended.stderr
        assert ended.seconds < 20
        assert "can't be reached" in ended.stderr
        assert len(project.lines()) <= 20
    assert len(ids) == 2_000


@pytest.mark.slow
def test_an_endpoint_that_never_gave_a_good_answer_ends_the_run(project: Project, provider: Provider) -> None:
    project.give(2_000)
    project.configure(model={"max_concurrency": 32})
    provider.script = lambda asked: refused("500 Oops")
    ended = project.run()
    assert ended.code == 3, ended.stderr
    assert "no good answer" in ended.stderr
    assert ended.seconds < 30
    assert len(provider.requests) < 400


def test_a_few_poisoned_items_are_no_outage(project: Project, provider: Provider) -> None:
    ids = project.give(60)
    project.configure(model={"retries": 1})
    poisoned = {"5", "6", "7", "8"}
    provider.script = lambda asked: refused("500 Oops") if asked.id in poisoned else good(asked.id, delay=0.01)
    ended = project.run()
    assert ended.code == 1, ended.stderr
    assert not faults_of(project.results, ids)
    assert {line["id"] for line in project.lines() if line["status"] == "error"} == poisoned
    assert all(provider.counts[one] == 2 for one in poisoned)


@pytest.mark.slow
def test_a_run_that_was_good_and_then_loses_its_endpoint_for_ever_comes_to_an_end(
    project: Project, provider: Provider
) -> None:
    """Within the run's own time: what is not answered stays to do."""
    ids = project.give(60)
    provider.script = lambda asked: good(asked.id) if asked.number <= 20 else Reply(raw=b"", then="reset")
    ended = project.run("--timeout", "4s")
    assert ended.code == 3, ended.stderr
    assert ended.seconds < 15
    assert not faults_of(project.results, ids, complete=False)
    provider.script = lambda asked: good(asked.id)
    assert project.run("--retry-failed").code == 0
    assert {line["id"] for line in project.lines() if line["status"] == "ok"} == set(ids)
