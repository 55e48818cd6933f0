"""One step for each element of a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from workflow import Trial, config_of, run


def trial_of(folder: Path, pages: Any, agent: dict[str, Any] | None = None, **more: Any) -> Trial:
    each = {"for_each": "input.pages", "prompt": "{{ each.index }}{{ each.value }}", **(agent or {})}
    agents = {"e": each, **more.pop("agents", {})}
    return run(config_of(folder, agents, **{"workflow": "e", **more}), {"pages": pages})


def test_it_runs_once_per_element_at_once_and_keeps_the_order(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, ["a", "b", "c"])
    assert trial.output == ["0a", "1b", "2c"]
    assert trial.statuses == {"e": "ok", "e[1]": "ok", "e[2]": "ok", "e[3]": "ok"}
    assert trial.seconds == 1.0
    assert trial.agents["e"]["kind"] == "for_each"
    assert "output" not in trial.agents["e"]


def test_braces_around_the_expression_are_fine(tmp_path: Path) -> None:
    assert trial_of(tmp_path, ["a"], {"for_each": "{{ input.pages }}"}).output == ["0a"]


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("input.pages | map('upper')", ["A", "B"]),
        ("range(3)", ["0", "1", "2"]),
        ("input.pages | select('eq', 'a') | list", ["a"]),
        ("[input.pages, 1]", ['["a","b"]', "1"]),
        ("input.pages[:1]", ["a"]),
    ],
)
def test_anything_that_is_a_list(tmp_path: Path, expression: str, values: list[str]) -> None:
    assert trial_of(tmp_path, ["a", "b"], {"for_each": expression, "prompt": "{{ each.value }}"}).output == values


@pytest.mark.parametrize(
    ("value", "said"),
    [("text", "a text"), (None, "got null"), ({"a": 1}, "a mapping"), (7, "a int"), ([1, 2], "")],
)
def test_anything_else_fails_closed(tmp_path: Path, value: Any, said: str) -> None:
    expression = "input.pages | map(attribute='x.y')" if value == [1, 2] else "input.pages"
    trial = trial_of(tmp_path, value, {"for_each": expression, "prompt": "{{ each.value }}"})
    if value == [1, 2]:
        assert trial.line["status"] == "error"
        return
    assert trial.line["error"]["type"] == "condition"
    assert said in trial.line["error"]["message"]


def test_an_empty_list_gives_an_empty_list(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, [])
    assert (trial.line["status"], trial.output) == ("ok", [])


def test_the_list_of_a_step_that_was_skipped_skips_it(tmp_path: Path) -> None:
    agents = {"splitter": {"when": "false"}}
    trial = trial_of(tmp_path, [], {"for_each": "splitter.output.pages"}, agents=agents, workflow=["splitter", "e"])
    assert trial.statuses == {"splitter": "skipped", "e": "skipped"}


def test_later_steps_see_the_list(tmp_path: Path) -> None:
    agents = {"end": {"prompt": "{{ e.output | join('+') }} {{ e.status }}"}}
    assert trial_of(tmp_path, ["a", "b"], agents=agents, workflow=["e", "end"]).output == "0a+1b ok"


def failing(folder: Path, **agent: Any) -> Trial:
    """Pages of which the second can't be rendered."""
    return trial_of(folder, ["a", {"no": 1}, "c"], {"prompt": "{{ each.value.upper() }}", **agent})


def test_a_failed_element_fails_the_step_and_those_in_the_works_end(tmp_path: Path) -> None:
    trial = failing(tmp_path)
    assert (trial.line["status"], trial.line["error"]["agent"]) == ("error", "e[2]")
    assert trial.statuses == {"e": "error", "e[1]": "ok", "e[2]": "error", "e[3]": "ok"}
    assert trial.agents["e[3]"]["output"] == "C"


def test_after_a_failure_no_new_element_is_begun(tmp_path: Path) -> None:
    pages = [{"no": 1}, *["a"] * 249]
    trial = trial_of(tmp_path, pages, {"prompt": "{{ each.value.upper() }}"})
    assert trial.line["usage"]["requests"] == 99  # of the hundred in the works


def test_a_failed_element_can_be_tolerated_or_made_up_for(tmp_path: Path) -> None:
    assert failing(tmp_path, on_error="continue").output == ["A", None, "C"]
    trial = failing(tmp_path, on_error={"default": "?"})
    assert trial.output == ["A", "?", "C"]
    assert trial.agents["e[2]"]["tolerated"] is True
    assert trial.agents["e"]["status"] == "ok"


def test_an_element_has_its_own_timeout_retries_and_fallback(tmp_path: Path) -> None:
    agents = {"spare": {"prompt": "spare {{ each.value }}"}}
    agent = {"model": "hanging", "timeout": "3s", "fallback": ["spare"]}
    trial = trial_of(tmp_path, ["a", "b"], agent, agents=agents)
    assert trial.output == ["spare a", "spare b"]
    assert trial.seconds == 4.0
    assert set(trial.statuses) == {"e", "e[1]", "e[1].spare", "e[2]", "e[2].spare"}


def test_its_own_limits_hold(tmp_path: Path) -> None:
    assert trial_of(tmp_path, list("abcdef"), {"max_concurrency": 2}).seconds == 3.0


def test_a_group_per_element(tmp_path: Path) -> None:
    agents = {"a": {"prompt": "{{ each.value }}a"}, "b": {"prompt": "{{ a.output }}b"}}
    groups = {"s": {"sequence": ["a", "b"], "for_each": "input.pages", "max_concurrency": 1}}
    trial = trial_of(tmp_path, ["x", "y"], agents=agents, groups=groups, workflow="s")
    assert trial.output == ["xab", "yab"]
    assert trial.statuses == {
        "s": "ok", "s[1]": "ok", "s[1].a": "ok", "s[1].b": "ok", "s[2]": "ok", "s[2].a": "ok", "s[2].b": "ok",
    }  # fmt: skip
    assert trial.seconds == 4.0


def test_elements_of_elements(tmp_path: Path) -> None:
    agents = {"a": {"for_each": "each.value", "prompt": "{{ each.value }}"}}
    groups = {"s": {"sequence": ["a"], "for_each": "input.pages"}}
    trial = trial_of(tmp_path, [[1, 2], [3]], agents=agents, groups=groups, workflow="s")
    assert trial.output == [["1", "2"], ["3"]]
    assert "s[1].a[2]" in trial.statuses


def test_when_and_set_are_about_the_whole(tmp_path: Path) -> None:
    agents = {"end": {"prompt": "{{ vars.n }}"}}
    agent = {"set": {"n": "{{ output | length }}"}, "when": "input.pages"}
    assert trial_of(tmp_path, ["a", "b"], agent, agents=agents, workflow=["e", "end"]).output == "2"
    assert trial_of(tmp_path, [], agent, agents=agents, workflow=["e", "end"]).output == ""


def test_elements_that_set_the_same_value_are_refused(tmp_path: Path) -> None:
    agents = {"a": {"prompt": "{{ each.value }}", "set": {"x": "{{ output }}"}}}
    groups = {"s": {"sequence": ["a"], "for_each": "input.pages"}}
    whole = {"agents": agents, "groups": groups, "workflow": "s"}
    assert trial_of(tmp_path, ["a"], **whole).output == ["a"]
    trial = trial_of(tmp_path, ["a", "b"], **whole)
    assert trial.line["error"]["type"] == "condition"
    assert "vars.x is set by s[1] and by s[2]" in trial.line["error"]["message"]


def test_a_thousand_elements_are_taken_a_hundred_at_a_time(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, ["x"] * 1000, {"prompt": "{{ each.index }}", "model": "wide"}, models={
        "wide": {"provider": "mock", "latency": "1s", "reply": "{{ prompt }}", "max_concurrency": 5000},
    })  # fmt: skip
    assert trial.output == [str(index) for index in range(1000)]
    assert trial.seconds == 10.0
