"""One of many ways, by a value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from workflow import Trial, config_of, run

AGENTS: dict[str, Any] = {"bug": {}, "copy": {}, "other": {}}


def trial_of(folder: Path, value: Any, agents: dict[str, Any] | None = None, **group: Any) -> Trial:
    whole = {"route": "input.kind", "cases": {"bug": "bug", "copy": "copy"}, **group}
    config = config_of(folder, {**AGENTS, **(agents or {})}, groups={"r": whole}, workflow="r")
    return run(config, {"kind": value})


def test_the_case_that_has_the_value_and_no_other(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, "copy")
    assert trial.output == "copy"
    assert trial.statuses == {"r": "ok", "copy": "ok"}
    assert trial.agents["r"]["route"] == "copy"


@pytest.mark.parametrize("value", ["Bug", " bug.", "'BUG'", "`bug`", "bug\n"])
def test_values_are_compared_as_models_write_them(tmp_path: Path, value: str) -> None:
    assert trial_of(tmp_path, value).output == "bug"


@pytest.mark.parametrize(("case", "value"), [("7", 7), ("true", True), ("false", False), ("null", None), ("1.5", 1.5)])
def test_values_that_are_no_texts(tmp_path: Path, case: str, value: Any) -> None:
    assert trial_of(tmp_path, value, cases={case: "bug", "x": "copy"}).output == "bug"


def test_any_other_value_goes_the_default_way(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, "else", default="other")
    assert (trial.output, trial.agents["r"]["route"]) == ("other", "else")


def test_without_a_default_another_value_fails_closed_and_is_named(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, "else")
    assert trial.line["error"]["type"] == "condition"
    assert trial.line["error"]["message"] == "route r: no case for 'else', and no default; cases: bug, copy"
    assert trial.agents["r"]["route"] == "else"
    assert trial.prompts("bug") == trial.prompts("copy") == []


def test_an_expression_that_raises_fails_closed_even_with_a_default(tmp_path: Path) -> None:
    assert trial_of(tmp_path, 1, route="input.nothing", default="other").line["error"]["type"] == "condition"


def test_an_agents_answer_is_the_way(tmp_path: Path) -> None:
    agents = {"router": {"prompt": "{{ input.kind }}"}, "bug": {"prompt": "{{ router.output }} it is"}}
    trial = trial_of(tmp_path, "Bug", agents, route={"agent": "router"})
    assert trial.output == "Bug it is"
    assert trial.statuses == {"r": "ok", "router": "ok", "bug": "ok"}


def test_a_failed_router_fails_the_group(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, "bug", {"router": {"model": "broken"}}, route={"agent": "router"}, default="other")
    assert trial.line["error"]["agent"] == "router"
    assert trial.statuses == {"r": "error", "router": "error"}


def test_a_case_may_be_several_steps_at_once(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, "both", cases={"both": ["bug", "copy"], "x": "other"})
    assert trial.output == {"bug": "bug", "copy": "copy"}
    assert trial.seconds == 1.0


def test_a_value_may_be_a_list_of_ways(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, ["Copy", "bug", "copy"])
    assert trial.output == {"copy": "copy", "bug": "bug"}
    unknown = trial_of(tmp_path, ["copy", "else"])
    assert unknown.line["error"]["type"] == "condition"
    assert unknown.prompts("copy") == []  # nothing is paid for a way that can't be gone whole


def test_an_empty_list_is_a_value_like_any_other(tmp_path: Path) -> None:
    assert trial_of(tmp_path, []).line["error"]["type"] == "condition"
    assert trial_of(tmp_path, [], default="other").output == "other"


def test_groups_in_place_of_one_kind_are_all_taken(tmp_path: Path) -> None:
    ways = [{"sequence": ["bug"]}, {"sequence": ["copy"]}]
    trial = trial_of(tmp_path, "both", cases={"both": ways, "x": "other"})
    assert trial.output == {"sequence": "bug", "sequence#2": "copy"}


def test_of_several_ways_a_failure_is_the_groups_and_the_rest_is_in_the_line(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, ["bug", "copy"], {"bug": {"model": "broken"}})
    assert trial.line["error"]["agent"] == "bug"
    assert trial.agents["copy"]["output"] == "copy"


def test_a_way_that_is_skipped_skips_the_group(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, "bug", {"bug": {"when": "false"}})
    assert trial.statuses == {"r": "skipped", "bug": "skipped"}


def test_copies_on_the_way(tmp_path: Path) -> None:
    assert trial_of(tmp_path, "bug", cases={"bug": {"agent": "bug", "copies": 3}}).output == ["bug", "bug", "bug"]


def test_the_value_of_a_step_that_did_not_run_matches_nothing(tmp_path: Path) -> None:
    groups = {"r": {"route": "gone.output", "cases": {"bug": "bug"}}}
    config = config_of(tmp_path, {**AGENTS, "gone": {"when": "false"}}, groups=groups, workflow=["gone", "r"])
    assert run(config).line["error"]["type"] == "condition"


def test_what_no_way_led_to_keeps_what_it_gave_before(tmp_path: Path) -> None:
    agents = {**AGENTS, "end": {"prompt": "[{{ bug.output }}{{ copy.output }}]"}}
    groups = {"r": {"route": "input.kind", "cases": {"bug": "bug", "copy": "copy"}}}
    config = config_of(tmp_path, agents, groups=groups, workflow=["bug", "r", "end"])
    assert run(config, {"kind": "copy"}).output == "[bugcopy]"
