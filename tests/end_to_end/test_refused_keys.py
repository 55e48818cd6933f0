"""A wrong key or an empty account is about the run, not about its items: it ends soon, and they stay to do."""

from __future__ import annotations

import pytest
from end_to_end.cases import cases
from end_to_end.checker import faults_of
from end_to_end.project import Project
from end_to_end.provider import Provider, good, refused

CONCURRENCY = 8

DENIALS = {
    "a wrong key": (refused("401 Unauthorized", "invalid_api_key", "Incorrect API key provided"), "auth"),
    "no key at all": (refused("401 Unauthorized"), "auth"),
    "a key without the right": (refused("403 Forbidden", "permission_denied", "not for you"), "auth"),
    "payment required": (refused("402 Payment Required", "billing", "top up"), "quota"),
    "no quota left": (refused("429 Too Many", "insufficient_quota", "You exceeded your current quota"), "quota"),
}


@pytest.mark.parametrize(("reply", "word"), cases(DENIALS, "a wrong key", "no quota left"))
def test_when_every_call_is_denied_the_run_ends_and_its_items_stay_to_do(
    project: Project, provider: Provider, reply, word: str
) -> None:
    ids = project.give(3_000)
    provider.script = lambda asked: reply
    ended = project.run()
    assert ended.code == 3, ended.stderr
    assert word in ended.stderr
    assert "Continue with:" in ended.stderr
    assert ended.seconds < 10
    assert len(provider.requests) <= 2 * CONCURRENCY
    assert not project.lines()
    provider.script = lambda asked: good(asked.id)
    assert project.run("--limit", "100").code == 0
    assert not faults_of(project.results, ids[:100])


@pytest.mark.slow
@pytest.mark.parametrize("items", [1, 3])
def test_a_wrong_key_on_very_few_items_leaves_no_error_lines_either(
    project: Project, provider: Provider, items: int
) -> None:
    ids = project.give(items)
    provider.script = lambda asked: refused("401 Unauthorized", "invalid_api_key")
    ended = project.run()
    assert ended.code == 3, ended.stderr
    assert not project.lines()
    provider.script = lambda asked: good(asked.id)
    assert project.run().code == 0
    assert not faults_of(project.results, ids)


def test_money_that_runs_out_in_mid_run_keeps_what_was_answered(project: Project, provider: Provider) -> None:
    ids = project.give(500)

    def until_50(asked):
        return good(asked.id) if asked.number <= 50 else refused("429 no", "insufficient_quota", "no money")

    provider.script = until_50
    ended = project.run()
    assert ended.code == 3, ended.stderr
    assert "quota" in ended.stderr
    assert len(provider.requests) <= 50 + 3 * CONCURRENCY
    assert len(project.lines()) == 50
    assert all(line["status"] == "ok" for line in project.lines())
    provider.script = lambda asked: good(asked.id)
    assert project.run().code == 0
    assert not faults_of(project.results, ids)
    assert sum(asked.status == 200 for asked in provider.requests) == 500, "an item was paid twice"


def test_a_refusal_of_single_items_is_their_error(project: Project, provider: Provider) -> None:
    ids = project.give(60)
    forbidden = {"7", "20", "21", "41"}

    def script(asked):
        return refused("403 Forbidden", "forbidden", "not this one") if asked.id in forbidden else good(asked.id)

    provider.script = script
    ended = project.run()
    assert ended.code == 1, ended.stderr
    lines = project.by_id()
    assert {one for one, line in lines.items() if line["status"] == "error"} == forbidden
    assert all(lines[one]["error"]["type"] == "auth" for one in forbidden)
    assert all(lines[one]["error"]["http_status"] == 403 for one in forbidden)
    assert not faults_of(project.results, ids)
    assert len(provider.requests) == 60


UNKNOWN = refused("400 Bad Request", "unknown_parameter", "Unknown parameter: 'foo'.")


def test_a_request_that_is_refused_again_and_again_in_the_same_words_ends_the_run(
    project: Project, provider: Provider
) -> None:
    ids = project.give(10_000)
    provider.script = lambda asked: UNKNOWN
    ended = project.run()
    assert ended.code == 3, ended.stderr
    assert "20 items in a row failed alike" in ended.stderr
    assert "Unknown parameter: 'foo'" in ended.stderr
    assert len(provider.requests) <= 20 + 2 * CONCURRENCY
    assert not project.lines()
    provider.script = lambda asked: good(asked.id)
    assert project.run("--limit", "100").code == 0
    assert not faults_of(project.results, ids[:100])


def test_refusals_with_answers_in_between_are_their_items_own(project: Project, provider: Provider) -> None:
    project.give(100)
    provider.script = lambda asked: good(asked.id) if int(asked.id) % 10 == 0 else UNKNOWN
    ended = project.run("--max-concurrency", "1")
    assert ended.code == 1, ended.stderr
    assert len(project.lines()) == 100
    provider.script = lambda asked: UNKNOWN
    project.configure(limits={"breaker": {"same_error": 0}})
    assert project.run("--retry-failed").code == 1
    assert len(project.by_id()) == 100


def test_a_few_that_all_fail_alike_are_too_few_to_tell(project: Project, provider: Provider) -> None:
    project.give(19)
    provider.script = lambda asked: UNKNOWN
    assert project.run().code == 1
    assert len(project.lines()) == 19
