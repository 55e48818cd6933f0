"""One of two ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workflow import Trial, config_of, run


def trial_of(folder: Path, inputs: Any, agents: dict[str, Any] | None = None, **group: Any) -> Trial:
    agents = {"a": {}, "b": {}, **(agents or {})}
    return run(config_of(folder, agents, groups={"c": group}, workflow="c"), inputs)


def test_it_takes_one_way_and_says_which_and_that_the_other_was_left_out(tmp_path: Path) -> None:
    group = {"when": "input.go", "then": "a", "else": "b"}
    taken = trial_of(tmp_path, {"go": True}, **group)
    assert (taken.output, taken.agents["c"]["when"]) == ("a", True)
    assert taken.statuses == {"c": "ok", "a": "ok", "b": "skipped"}
    other = trial_of(tmp_path, {"go": False}, **group)
    assert (other.output, other.agents["c"]["when"]) == ("b", False)
    assert other.statuses == {"c": "ok", "b": "ok", "a": "skipped"}


def test_without_else_the_group_is_skipped(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {"go": False}, when="input.go", then="a")
    assert trial.statuses == {"c": "skipped", "a": "skipped"}
    assert trial.line["status"] == "skipped"


def test_it_fails_closed(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {}, when="input.missing", then="a", **{"else": "b"})
    assert trial.line["error"]["type"] == "condition"
    assert trial.statuses == {"c": "error"}


def test_the_failure_of_the_way_is_the_groups(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {}, {"a": {"model": "broken"}}, when="true", then="a")
    assert (trial.line["status"], trial.line["error"]["agent"]) == ("error", "a")


def test_groups_in_place_and_copies(tmp_path: Path) -> None:
    group = {"when": "true", "then": {"sequence": ["a", "b"]}, "else": {"when": "true", "then": "a"}}
    trial = trial_of(tmp_path, {}, **group)
    assert trial.statuses == {"c": "ok", "sequence": "ok", "sequence.a": "ok", "b": "ok", "condition": "skipped"}
    assert trial_of(tmp_path, {}, when="true", then={"agent": "a", "copies": 2}).output == ["a", "a"]


def test_what_a_step_gave_before_stays_when_it_is_left_out_later(tmp_path: Path) -> None:
    """Draft, check, draft again if need be, publish: where there is no need, the first draft is published."""
    agents = {"draft": {"prompt": "draft {{ draft.status }}"}, "publish": {"prompt": "<{{ draft.output }}>"}}
    again = {"when": "input.bad", "then": "draft"}
    workflow = {"loop": ["draft", again, "publish"], "max_iterations": 1}
    config = config_of(tmp_path, agents, groups={"w": workflow}, workflow="w")
    good, bad = run(config, {"bad": False}, {"bad": True}).lines
    assert good["output"] == "<draft >"
    assert bad["output"] == "<draft ok>"
    assert good["agents"]["w[1].draft"]["status"] == "ok"  # the one left out does not hide the one that ran
    assert "w[1].condition.draft" in bad["agents"]


def test_later_steps_see_an_untaken_way_as_skipped_and_empty(tmp_path: Path) -> None:
    groups = {"c": {"when": "false", "then": "a", "else": "b"}}
    agents = {"a": {}, "b": {}, "end": {"prompt": "[{{ a.output.x.y }}{{ a.status }}{{ c.output }}]"}}
    assert run(config_of(tmp_path, agents, groups=groups, workflow=["c", "end"])).output == "[skippedb]"
