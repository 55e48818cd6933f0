"""Several servers and keys behind one model, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from end_to_end.checker import faults_of
from end_to_end.project import KEY, Project
from end_to_end.provider import Provider, Reply, good, refused, running

OTHER_KEY = "sk-other-0123456789abcdef"


@pytest.fixture
def second() -> Iterator[Provider]:
    """Another server of the same model."""
    with running(Provider()) as provider:
        yield provider


def two_endpoints(project: Project, second: Provider, **more: object) -> None:
    project.configure(
        model={
            "endpoints": [
                {"base_url": project.base_url, "max_concurrency": 4},
                {"base_url": second.url, "api_key": "${OTHER_KEY}", "max_concurrency": 4, **more},
            ]
        }
    )


def run(project: Project, *args: str):
    return project.run(*args, env={"OTHER_KEY": OTHER_KEY})


def test_both_work_each_with_its_own_key_and_the_results_say_which(
    project: Project, provider: Provider, second: Provider
) -> None:
    ids = project.give(200)
    two_endpoints(project, second)
    provider.script = second.script = lambda asked: good(asked.id, delay=0.01)
    ended = run(project)
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    assert min(len(provider.requests), len(second.requests)) >= 50
    assert all(KEY in asked.head and OTHER_KEY not in asked.head for asked in provider.requests)
    assert all(OTHER_KEY in asked.head and KEY not in asked.head for asked in second.requests)
    said = [line["agents"]["writer"]["endpoint"] for line in project.lines()]
    assert said.count("m#1") == len(provider.requests)
    assert said.count("m#2") == len(second.requests)
    assert OTHER_KEY not in project.results.read_text() + ended.stderr


TROUBLES = {
    "cut": Reply(raw=b"", then="reset"),
    "a refused key": refused("401 Unauthorized", "invalid_api_key"),
    "an empty account": refused("429 no", "insufficient_quota"),
    "rate limits": refused("429 Too Many", "rate_limit_exceeded", retry_after="60"),
    "overload": refused("503 Service Unavailable"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_one_can_not_do_the_other_does(
    project: Project, provider: Provider, second: Provider, trouble: str
) -> None:
    ids = project.give(300)
    two_endpoints(project, second)
    second.script = lambda asked: TROUBLES[trouble]
    ended = run(project)
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)
    assert {line["agents"]["writer"]["endpoint"] for line in project.lines()} == {"m#1"}
    assert len(second.requests) < 60
    assert ended.seconds < 20


def test_one_that_dies_amid_a_run_loses_nothing(project: Project, provider: Provider, second: Provider) -> None:
    ids = project.give(400)
    two_endpoints(project, second)
    dead = Reply(raw=b"", then="reset")
    second.script = lambda asked: good(asked.id) if asked.number <= 40 else dead
    ended = run(project)
    assert ended.code == 0, ended.stderr
    assert not faults_of(project.results, ids)


def test_when_all_keys_are_refused_the_run_ends(project: Project, provider: Provider, second: Provider) -> None:
    project.give(2000)
    two_endpoints(project, second)
    provider.script = second.script = lambda asked: TROUBLES["a refused key"]
    ended = run(project)
    assert ended.code == 3, ended.stderr
    assert "every endpoint of model m is out of service" in ended.stderr
    assert len(provider.requests) + len(second.requests) < 60
    assert not project.lines()


def test_a_fallback_answers_after_the_errors_it_is_for_at_its_own_price(
    project: Project, provider: Provider, second: Provider
) -> None:
    project.give(20)
    project.configure(model={"fallbacks": [{"model": "long", "on": ["context_length"]}]})
    long = {
        **project.config["models"]["m"],
        "base_url": second.url,
        "price": {"input": 7.0, "output": 7.0},
        "fallbacks": [],
    }
    project.config["models"]["long"] = long
    (project.folder / "config.yaml").write_text(json.dumps(project.config))
    too_long = refused("400 Bad Request", "context_length_exceeded", "maximum context length is 10")
    odd = refused("400 Bad Request", "unknown", "no")
    provider.script = lambda asked: too_long if int(asked.id) % 2 else odd
    ended = run(project)
    assert ended.code == 1, ended.stderr
    by_id = project.by_id()
    assert len(second.requests) == 10
    for number in range(1, 21):
        line = by_id[str(number)]
        assert line["status"] == ("ok" if number % 2 else "error")
        if number % 2:
            assert line["agents"]["writer"]["model"] == "long"
            assert line["cost_usd"] == pytest.approx(15 * 7e-6)


def test_mistakes_in_them_are_found_before_the_run(project: Project) -> None:
    project.give(1)
    project.configure(
        model={
            "endpoints": [{"base_url": "http://u:p@h/v1"}, {"weight": 0}, {"api_key": "sk-abcdefghijklmnopqrstuvwxyz"}],
            "fallbacks": [{"model": "nobody", "on": ["context_lenght"]}],
        }
    )
    ended = run(project)
    assert ended.code == 2
    for words in (
        "must be more than 0",
        "a key does not belong in the config",
        "context_length",
        "nobody",
        "user or password",
    ):
        assert words in ended.stderr, ended.stderr
    assert "sk-abcdefghijklmnopqrstuvwxyz" not in ended.stderr
