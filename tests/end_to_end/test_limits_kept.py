"""Limits hold under fire: what the server asks for is waited for, and no more is in flight or sent than allowed."""

from __future__ import annotations

import signal
import time
from collections import Counter, defaultdict
from email.utils import formatdate
from itertools import pairwise

import pytest
from end_to_end.cases import cases
from end_to_end.checker import faults_of
from end_to_end.project import Project
from end_to_end.provider import Asked, Provider, Reply, good, refused


def gaps(provider: Provider) -> dict[str, float]:
    """Seconds between an item's first answer and its next request."""
    by_id: dict[str, list[Asked]] = defaultdict(list)
    for asked in provider.requests:
        by_id[asked.id].append(asked)
    return {
        one: later.at - (first.ended_at or first.at)
        for one, requests in by_id.items()
        for first, later in list(pairwise(requests))[:1]
    }


ASKED = {"seconds": {"retry_after": "2"}, "ms": {"retry_after_ms": "2000"}, "date": {"retry_after": "date"}}


@pytest.mark.parametrize("headers", cases(ASKED, "seconds"))
def test_nobody_comes_back_sooner_than_asked(project: Project, provider: Provider, headers: dict[str, str]) -> None:
    project.give(3)

    def script(asked: Asked) -> Reply:
        in_3_s = formatdate(time.time() + 3, usegmt=True)  # in whole seconds: 2 s from now at least
        said = {name: in_3_s if value == "date" else value for name, value in headers.items()}
        return good(asked.id) if asked.attempt > 1 else refused("429 Too Many Requests", **said)

    provider.script = script
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert set(provider.counts.values()) == {2}
    assert min(gaps(provider).values()) >= 1.99
    assert ended.seconds < 15


NONSENSE = ["nan", "inf", "-5", "1e99", "soon", "9" * 400, "", "Wed, 21 Oct 2015 07:28:00 GMT", "0x10", "٣"]


@pytest.mark.slow
def test_a_wait_that_makes_no_sense_counts_as_none_and_hammers_nobody(project: Project, provider: Provider) -> None:
    ids = project.give([{"id": str(number)} for number in range(len(NONSENSE))])
    project.configure(agents={"writer": {"model": "m", "prompt": "item={{ item.id }};"}}, model={"max_concurrency": 64})

    def script(asked: Asked) -> Reply:
        head = f"HTTP/1.1 429 No\r\ncontent-length: 2\r\nretry-after: {NONSENSE[int(asked.id)]}\r\n\r\n{{}}"
        return good(asked.id) if asked.attempt > 1 else Reply(raw=head.encode())

    provider.script = script
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert len(project.lines()) == len(ids)
    assert min(gaps(provider).values()) >= 0.4
    assert ended.seconds < 20


@pytest.mark.slow
def test_a_very_long_wait_is_for_everyone_and_a_signal_ends_it(project: Project, provider: Provider) -> None:
    ids = project.give(50)
    project.configure(model={"max_concurrency": 4})
    provider.script = lambda asked: refused("429 Too Many Requests", retry_after="90")
    with project.start() as run:
        provider.wait_for(4)
        time.sleep(2.5)
        assert len(provider.requests) <= 4, "somebody came back early, or did not wait with the others"
        run.send(signal.SIGINT)
        ended = run.end(3)
    assert ended.code == 130
    assert not project.lines()
    assert len(ids) == 50


def test_a_storm_of_refusals_pauses_the_endpoint_as_a_whole(project: Project, provider: Provider) -> None:
    """Inside a cooldown that the server asked for, no more requests come than were in flight when it began."""
    ids = project.give(100)
    storm_began: list[float] = []

    def script(asked: Asked) -> Reply:
        if asked.number <= 20:
            return good(asked.id, delay=0.02)
        storm_began.append(asked.at)
        return refused("429 No", retry_after="2") if asked.at < storm_began[0] + 2 else good(asked.id)

    provider.script = script
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    inside = [asked for asked in provider.requests[20:] if asked.at < storm_began[0] + 1.99]
    assert len(inside) <= 8


@pytest.mark.slow
def test_no_more_in_flight_than_allowed_whatever_happens_to_requests(project: Project, provider: Provider) -> None:
    """A permit is held until the socket is closed, also by what hangs, times out or is cut."""
    ids = project.give(120)
    project.configure(model={"max_concurrency": 5, "timeout": "300ms", "retries": 6})

    def script(asked: Asked) -> Reply:
        kind = (int(asked.id) + asked.attempt) % 4
        if kind == 0:
            return Reply(raw=b"", then="hang")
        return Reply(raw=b"HTTP/1.1 200", then="reset") if kind == 1 else good(asked.id, delay=0.02)

    provider.script = script
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    assert provider.peak <= 5


@pytest.mark.parametrize("of", cases(["model", "agent", "run"], "model"))
def test_each_limit_of_concurrency_holds(project: Project, provider: Provider, of: str) -> None:
    project.give(40)
    agent = {"model": "m", "prompt": "item={{ item.id }};"} | ({"max_concurrency": 3} if of == "agent" else {})
    limits = {"limits": {"max_concurrency": 3}} if of == "run" else {}
    project.configure(agents={"w": agent}, model={"max_concurrency": 3 if of == "model" else 30}, **limits)
    provider.script = lambda asked: good(asked.id, delay=0.02)
    assert project.run().code == 0
    assert provider.peak == 3


def test_requests_a_minute_are_spread_and_failures_count_too(project: Project, provider: Provider) -> None:
    ids = project.give(30)
    project.configure(model={"rpm": 600, "max_concurrency": 30})
    provider.script = lambda asked: (
        refused("500 No") if asked.id in ("3", "9") and asked.attempt == 1 else good(asked.id)
    )
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    assert len(provider.requests) == 32
    assert provider.busiest(1.0) <= 10 + 5
    assert provider.requests[-1].at - provider.requests[0].at > 2.5


@pytest.mark.slow
def test_requests_are_kept_apart_as_providers_count_them_over_shorter_times(
    project: Project, provider: Provider
) -> None:
    """A tenth of a minute has a tenth of the requests, also where some fail."""
    project.give(400)
    project.configure(model={"rpm": 120, "max_concurrency": 30, "retries": 8})
    provider.script = lambda asked: refused("503 No") if asked.number % 10 == 0 else good(asked.id)
    with project.start() as run:
        provider.wait_for(1)
        time.sleep(12)
        run.kill()
    assert provider.busiest(6.0) <= 12 + 1
    assert len(provider.requests) >= 20, "it should use what it may"


def test_a_request_larger_than_the_minutes_tokens_fails_at_once(project: Project, provider: Provider) -> None:
    project.configure(model={"tpm": 2000, "params": {"max_tokens": 100}})
    project.give([{"text": "short"}, {"text": "long " * 5000}])
    ended = project.run()
    assert ended.code == 1
    assert ended.seconds < 10
    lines = project.by_id()
    assert lines["1"]["status"] == "ok"
    assert lines["2"]["error"]["type"] == "bad_request"
    assert "tokens" in lines["2"]["error"]["message"]
    assert provider.ids == ["1"]


@pytest.mark.slow
def test_one_retry_layer_with_its_promised_number_of_requests(project: Project, provider: Provider) -> None:
    project.give(3)
    project.configure(model={"retries": 2})
    provider.script = lambda asked: refused("500 No") if asked.id == "2" else good(asked.id)
    assert project.run().code == 1
    assert provider.counts == Counter({"1": 1, "2": 3, "3": 1})
    assert project.by_id()["2"]["error"]["attempts"] == 3


@pytest.mark.slow
def test_continuing_into_a_cooldown_sends_no_burst(project: Project, provider: Provider) -> None:
    """A new process does not know that the server asked to wait: it finds out with what it may have in flight."""
    project.give(200)
    provider.script = lambda asked: refused("429 No", retry_after="60")
    for _ in range(2):
        asked = len(provider.requests)
        with project.start() as run:
            provider.wait_for(asked + 1)
            time.sleep(1.2)
            run.kill()
        assert len(provider.requests) - asked <= 8


def test_groups_that_hold_permits_while_members_wait_come_to_their_end(project: Project, provider: Provider) -> None:
    """Limits nested on every level, all of them tight, and more items than any of them."""
    agents = {name: {"model": "m", "prompt": f"item={{{{ item.id }}}};{name}", "max_concurrency": 1} for name in "abc"}
    groups = {
        "inner": {"parallel": ["a", "b"], "max_concurrency": 1},
        "outer": {"parallel": ["inner", "c"], "max_concurrency": 2},
    }
    ids = project.give(10)
    project.configure(
        agents=agents, groups=groups, workflow=["outer"], model={"max_concurrency": 1}, limits={"max_concurrency": 4}
    )
    ended = project.run()
    assert ended.code == 0, ended.stderr
    assert [line["id"] for line in sorted(project.lines(), key=lambda line: line["index"])] == ids
    assert len(provider.requests) == 30
