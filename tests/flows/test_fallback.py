"""Another step takes over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workflow import Trial, config_of, run

BROKEN = {"model": "broken"}
SCORED = {"scored": {"provider": "mock", "output": '{"confidence": {{ prompt }}}'}}
SCHEMA = {"output_schema": {"type": "object", "required": ["confidence"]}}


def trial_of(folder: Path, first: dict[str, Any], agents: dict[str, Any], inputs: Any = None, **more: Any) -> Trial:
    return run(config_of(folder, {"a": first, **agents}, **{"workflow": "a", **more}), inputs or {})


def test_the_next_takes_over_from_one_that_failed_and_both_are_in_the_books(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {**BROKEN, "fallback": ["b", "c"]}, {"b": {}, "c": {}})
    assert (trial.line["status"], trial.output) == ("ok", "b")
    assert trial.statuses == {"a": "ok", "b": "ok"}
    assert trial.agents["a"]["fallback"] == "b"
    assert trial.agents["a"]["replaced"]["error"]["type"] == "content_filter"
    assert trial.line["usage"]["requests"] == 2


def test_one_that_succeeds_needs_none(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {"fallback": ["b"]}, {"b": {}})
    assert trial.statuses == {"a": "ok"}
    assert not {"fallback", "replaced"} & set(trial.agents["a"])


def test_they_are_tried_in_order_and_the_last_error_counts(tmp_path: Path) -> None:
    late = {"late": {"provider": "mock", "errors": {"bad_request": 1}}}
    agents = {"b": BROKEN, "c": {"model": "late"}, "d": {}}
    trial = trial_of(tmp_path, {**BROKEN, "fallback": ["b", "c", "d"]}, agents, models=late)
    assert trial.output == "d"
    trial = trial_of(tmp_path, {**BROKEN, "fallback": ["b", "c"]}, agents, models=late)
    assert (trial.line["error"]["type"], trial.line["error"]["agent"]) == ("bad_request", "c")
    assert trial.statuses == {"a": "error", "b": "error", "c": "error"}


def test_it_takes_over_when_the_steps_own_time_is_up(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {"model": "hanging", "timeout": "3s", "fallback": ["b"]}, {"b": {"model": "slow"}})
    assert trial.output == "b"
    assert trial.agents["a"]["replaced"]["error"]["type"] == "timeout"
    assert trial.seconds == 8.0  # b has the time it needs


def test_it_takes_over_from_a_good_answer_that_is_not_good_enough(tmp_path: Path) -> None:
    first = {"model": "scored", "prompt": "{{ input.c }}", **SCHEMA}
    first["fallback"] = {"to": ["b"], "when": "output.confidence < 0.7"}
    poor = trial_of(tmp_path, first, {"b": {}}, {"c": 0.5}, models=SCORED)
    assert (poor.output, poor.agents["a"]["replaced"]) == ("b", {"output": {"confidence": 0.5}})
    good = trial_of(tmp_path, first, {"b": {}}, {"c": 0.9}, models=SCORED)
    assert (good.output, list(good.statuses)) == ({"confidence": 0.9}, ["a"])


def test_where_nobody_is_good_enough_the_last_answer_counts(tmp_path: Path) -> None:
    first = {"fallback": {"to": ["b", "c"], "when": "output != 'good'"}}
    trial = trial_of(tmp_path, first, {"b": {}, "c": BROKEN})
    assert (trial.line["status"], trial.output, trial.agents["a"]["fallback"]) == ("ok", "b", "b")
    alone = trial_of(tmp_path, first, {"b": BROKEN, "c": BROKEN})
    assert (alone.line["status"], alone.output) == ("ok", "a")
    assert not {"fallback", "replaced"} & set(alone.agents["a"])


def test_a_condition_that_raises_fails_closed_and_the_answer_stays_in_the_books(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {"fallback": {"to": ["b"], "when": "output.confidence < 1"}}, {"b": {}})
    assert trial.line["error"]["type"] == "condition"
    assert trial.agents["a"]["replaced"] == {"output": "a"}
    assert trial.prompts("b") == []


def test_a_skipped_fallback_is_passed_over(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {**BROKEN, "fallback": ["b", "c"]}, {"b": {"when": "false"}, "c": {}})
    assert trial.output == "c"
    assert trial.statuses == {"a": "ok", "b": "skipped", "c": "ok"}


def test_a_skipped_step_needs_no_fallback(tmp_path: Path) -> None:
    groups = {"g": {"when": "false", "then": "a", "fallback": {"to": ["b"], "when": "output == none"}}}
    trial = run(config_of(tmp_path, {"a": {}, "b": {}}, groups=groups, workflow="g"))
    assert trial.statuses == {"g": "skipped", "a": "skipped"}


def test_a_default_of_the_fallback_will_do(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {**BROKEN, "fallback": ["b"]}, {"b": {**BROKEN, "on_error": {"default": "d"}}})
    assert (trial.line["status"], trial.output) == ("ok", "d")


def test_a_fallback_that_gave_nothing_does_not_hide_the_error(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {**BROKEN, "fallback": ["b"]}, {"b": {**BROKEN, "on_error": "continue"}})
    assert trial.line["status"] == "error"


def test_a_group_falls_back_as_a_whole(tmp_path: Path) -> None:
    groups = {"g": {"sequence": ["x", "y"], "fallback": ["b"], "max_concurrency": 1}}
    config = config_of(tmp_path, {"x": {}, "y": BROKEN, "b": {}}, groups=groups, workflow="g")
    trial = run(config, {}, {})
    assert [line["output"] for line in trial.lines] == ["b", "b"]
    assert trial.seconds == 5.0  # the group's permit is free while the fallback runs


def test_one_fallback_of_many_is_told_apart(tmp_path: Path) -> None:
    agents = {"a": {**BROKEN, "fallback": ["s"]}, "b": {**BROKEN, "fallback": ["s"]}, "s": {}}
    trial = run(config_of(tmp_path, agents, workflow=["a", "b"]))
    assert list(trial.statuses) == ["a", "a.s", "b", "b.s"]
