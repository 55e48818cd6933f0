"""A step that is begun again after a bad answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workflow import config_of, run

FLAKY: dict[str, Any] = {"flaky": {"provider": "mock", "errors": {"content_filter": 0.7}}}


def test_a_bad_answer_is_asked_for_again_as_a_new_draw(tmp_path: Path) -> None:
    config = config_of(tmp_path, {"a": {"model": "flaky", "retries": 50, "prompt": "{{ input.n }}"}}, models=FLAKY)
    trial = run(config, *({"n": n} for n in range(20)))
    assert [line["status"] for line in trial.lines] == ["ok"] * 20
    tries = [line["agents"]["a"].get("tries", 1) for line in trial.lines]
    assert max(tries) > 2
    assert [line["agents"]["a"]["attempts"] for line in trial.lines] == tries
    assert run(config, *({"n": n} for n in range(20))).lines[3]["agents"]["a"].get("tries", 1) == tries[3]


def test_the_last_failure_counts(tmp_path: Path) -> None:
    trial = run(config_of(tmp_path, {"a": {"model": "broken", "retries": 2}}))
    assert trial.line["error"]["type"] == "content_filter"
    assert trial.agents["a"]["attempts"] == 3
    assert trial.agents["a"]["tries"] == 3


def test_what_would_fail_again_is_not_tried_again(tmp_path: Path) -> None:
    models = {"refusing": {"provider": "mock", "errors": {"bad_request": 1}}}
    trial = run(config_of(tmp_path, {"a": {"model": "refusing", "retries": 5}}, models=models))
    assert trial.agents["a"]["attempts"] == 1
    trial = run(config_of(tmp_path, {"a": {"prompt": "{{ input.missing }}", "retries": 5}}))
    assert trial.line["error"]["type"] == "template"
    assert "tries" not in trial.agents["a"]


def test_the_timeout_is_over_all_tries(tmp_path: Path) -> None:
    trial = run(config_of(tmp_path, {"a": {"model": "broken", "retries": 100, "timeout": "3500ms"}}))
    assert trial.line["status"] == "timeout"
    assert trial.seconds == 3.5
    assert trial.agents["a"]["attempts"] == 4


def test_a_group_is_begun_again_as_a_whole(tmp_path: Path) -> None:
    groups = {"s": {"sequence": ["a", "b"], "retries": 1}}
    trial = run(config_of(tmp_path, {"a": {}, "b": {"model": "broken"}}, groups=groups, workflow="s"))
    assert trial.statuses == {"s": "error", "a": "ok", "b": "error", "a#2": "ok", "b#2": "error"}
    assert trial.agents["s"]["tries"] == 2


def test_the_fallback_comes_after_the_last_try(tmp_path: Path) -> None:
    agents = {"a": {"model": "broken", "retries": 2, "fallback": ["b"]}, "b": {}}
    trial = run(config_of(tmp_path, agents, workflow="a"))
    assert (trial.output, trial.agents["a"]["tries"], trial.agents["a"]["attempts"]) == ("b", 3, 4)
