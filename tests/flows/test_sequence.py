"""Steps in order."""

from __future__ import annotations

from pathlib import Path

from workflow import config_of, run

BROKEN = {"model": "broken"}


def test_each_step_sees_those_before_it_and_the_last_output_counts(tmp_path: Path) -> None:
    agents = {"a": {"prompt": "{{ input.x }}"}, "b": {"prompt": "{{ a.output }}b"}, "c": {"prompt": "{{ b.output }}c"}}
    trial = run(config_of(tmp_path, agents, workflow=["a", "b", "c"]), {"x": "X"})
    assert trial.output == "Xbc"
    assert trial.statuses == {"a": "ok", "b": "ok", "c": "ok"}
    assert trial.seconds == 3.0


def test_a_failed_step_ends_it_and_those_after_it_are_skipped(tmp_path: Path) -> None:
    config = config_of(tmp_path, {"a": {}, "b": BROKEN, "c": {}, "d": {}}, workflow=["a", "b", "c", "d"])
    trial = run(config)
    assert trial.line["status"] == "error"
    assert (trial.line["error"]["type"], trial.line["error"]["agent"]) == ("content_filter", "b")
    assert trial.statuses == {"a": "ok", "b": "error", "c": "skipped", "d": "skipped"}
    assert trial.agents["a"]["output"] == "a"  # finished and paid: it is in the line
    assert trial.seconds == 2.0


def test_stop_is_another_word_for_fail(tmp_path: Path) -> None:
    groups = {"s": {"sequence": ["a", "b", "c"], "on_error": "stop"}}
    trial = run(config_of(tmp_path, {"a": {}, "b": BROKEN, "c": {}}, groups=groups, workflow="s"))
    assert trial.statuses == {"s": "error", "a": "ok", "b": "error", "c": "skipped"}


def test_continue_runs_the_rest_and_fails_all_the_same(tmp_path: Path) -> None:
    groups = {"s": {"sequence": ["a", "b", "c"], "on_error": "continue"}}
    agents = {"a": {}, "b": BROKEN, "c": {"prompt": "{{ a.output }}{{ b.output }}{{ b.status }}{{ b.error.type }}"}}
    trial = run(config_of(tmp_path, agents, groups=groups, workflow="s"))
    assert trial.line["status"] == "error"
    assert trial.statuses == {"s": "error", "a": "ok", "b": "error", "c": "ok"}
    assert trial.agents["c"]["output"] == "aerrorcontent_filter"


def test_a_tolerated_step_fails_nothing_and_is_said_to_be(tmp_path: Path) -> None:
    agents = {"a": {**BROKEN, "on_error": "continue"}, "b": {"prompt": "[{{ a.output | default('none') }}]"}}
    trial = run(config_of(tmp_path, agents, workflow=["a", "b"]))
    assert (trial.line["status"], trial.output) == ("ok", "[none]")
    assert trial.agents["a"]["status"] == "error"
    assert trial.agents["a"]["tolerated"] is True
    assert trial.agents["a"]["error"]["type"] == "content_filter"


def test_a_default_stands_in_for_the_output_even_if_it_is_null_or_false(tmp_path: Path) -> None:
    for default, seen in (("x", "x"), (None, ""), (False, "False"), ({"k": 1}, '{"k":1}')):
        agents = {"a": {**BROKEN, "on_error": {"default": default}}, "b": {"prompt": "[{{ a.output }}]"}}
        trial = run(config_of(tmp_path, agents, workflow=["a", "b"]))
        assert (trial.line["status"], trial.output) == ("ok", f"[{seen}]")
        assert trial.agents["a"]["output"] == default


def test_a_failed_group_with_a_default_shows_it(tmp_path: Path) -> None:
    groups = {"s": {"sequence": ["a"], "on_error": {"default": "stand-in"}}}
    trial = run(config_of(tmp_path, {"a": BROKEN}, groups=groups, workflow="s"))
    assert (trial.line["status"], trial.output) == ("ok", "stand-in")
    assert trial.agents["s"]["output"] == "stand-in"


def test_a_skipped_step_has_no_output_and_the_last_that_ran_counts(tmp_path: Path) -> None:
    agents = {"a": {}, "b": {"when": "input.go"}, "c": {"prompt": "<{{ b.output.x.y }}>", "when": "input.go"}}
    trial = run(config_of(tmp_path, agents, workflow=["a", "b", "c"]), {"go": False})
    assert trial.output == "a"
    assert trial.statuses == {"a": "ok", "b": "skipped", "c": "skipped"}


def test_a_workflow_whose_steps_are_all_skipped_is_skipped(tmp_path: Path) -> None:
    trial = run(config_of(tmp_path, {"a": {"when": "false"}}, groups={"s": {"sequence": ["a"]}}, workflow="s"))
    assert (trial.line["status"], trial.output, trial.line["error"]) == ("skipped", None, None)
    assert trial.statuses == {"s": "skipped", "a": "skipped"}


def test_a_condition_that_raises_fails_its_step(tmp_path: Path) -> None:
    trial = run(config_of(tmp_path, {"a": {"when": "input.missing > 1"}}))
    assert trial.line["error"]["type"] == "condition"
    assert trial.prompts("a") == []


def test_output_names_the_step_that_counts(tmp_path: Path) -> None:
    groups = {"s": {"sequence": ["a", {"sequence": ["b"], "name": "inner"}, "c"], "output": "b"}}
    config = config_of(tmp_path, {"a": {}, "b": {}, "c": {}}, groups=groups, workflow=["s"])
    assert run(config).output == "b"  # one that is further down will do


def test_output_of_a_skipped_step_is_null(tmp_path: Path) -> None:
    groups = {"s": {"sequence": ["a", "b"], "output": "b"}}
    trial = run(config_of(tmp_path, {"a": {}, "b": {"when": "false"}}, groups=groups, workflow="s"))
    assert (trial.line["status"], trial.output) == ("ok", None)


def test_the_same_step_twice_is_told_apart(tmp_path: Path) -> None:
    agents = {"a": {"prompt": "{{ a.output | default('') }}{{ b.output | default('') }}+"}, "b": {}}
    groups = {"again": {"loop": ["a", "b", "a"], "max_iterations": 1}}
    trial = run(config_of(tmp_path, agents, groups=groups, workflow="again"))
    assert list(trial.statuses) == ["again", "again[1]", "again[1].a", "again[1].b", "again[1].a#2"]
    assert trial.agents["again[1].a#2"]["output"] == "+b+"


def test_copies_in_a_sequence_run_side_by_side_and_give_a_list(tmp_path: Path) -> None:
    agents = {"a": {}, "b": {"prompt": "{{ a.output | join('+') }}"}}
    trial = run(config_of(tmp_path, agents, workflow=[{"agent": "a", "copies": 3}, "b"]))
    assert trial.output == "a+a+a"
    assert trial.statuses == {"a": "ok", "a[1]": "ok", "a[2]": "ok", "a[3]": "ok", "b": "ok"}
    assert trial.seconds == 2.0


def test_values_are_set_for_later_steps_and_keep_their_type(tmp_path: Path) -> None:
    agents = {
        "a": {"set": {"count": "{{ [output, output] | length }}", "text": "<{{ output }}>"}},
        "b": {"prompt": "{{ vars.count + 1 }} {{ vars.text }} {{ vars.base }} {{ vars.more }}"},
    }
    config = config_of(
        tmp_path, agents, vars={"base": "{{ input.x * 2 }}", "more": "{{ vars.base + 1 }}"}, workflow=["a", "b"]
    )
    assert run(config, {"x": 21}).output == "3 <a> 42 43"


def test_a_value_that_is_not_set_yet_is_empty(tmp_path: Path) -> None:
    agents = {"a": {"when": "false", "set": {"x": "1"}}, "b": {"prompt": "[{{ vars.x }}{{ vars.x.y }}]"}}
    assert run(config_of(tmp_path, agents, workflow=["a", "b"])).output == "[]"


def test_a_value_that_cannot_be_computed_fails_the_step_but_keeps_its_answer(tmp_path: Path) -> None:
    trial = run(config_of(tmp_path, {"a": {"set": {"x": "{{ output.missing.deep }}"}}}))
    assert trial.line["error"]["type"] in ("condition", "template")
    assert (trial.agents["a"]["status"], trial.agents["a"]["output"]) == ("error", "a")


def test_a_default_sets_values_too(tmp_path: Path) -> None:
    agents = {
        "a": {**BROKEN, "on_error": {"default": "d"}, "set": {"x": "{{ output }}{{ output }}"}},
        "b": {"prompt": "{{ vars.x }}"},
    }
    assert run(config_of(tmp_path, agents, workflow=["a", "b"])).output == "dd"
