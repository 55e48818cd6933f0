"""Steps again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from workflow import Trial, config_of, run

BROKEN = {"model": "broken"}
LONGER = {"a": {"prompt": "{{ a.output | default('') }}x"}}


def trial_of(folder: Path, agents: dict[str, Any], inputs: Any = None, **group: Any) -> Trial:
    return run(config_of(folder, agents, groups={"l": {"max_iterations": 5, **group}}, workflow="l"), inputs or {})


def test_until_is_looked_at_after_each_iteration(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, LONGER, loop=["a"], until="a.output == 'xxx'")
    assert trial.output == "xxx"
    assert trial.agents["l"]["iterations"] == 3
    assert list(trial.statuses) == ["l", "l[1]", "l[1].a", "l[2]", "l[2].a", "l[3]", "l[3].a"]
    assert "at_max" not in trial.agents["l"]


def test_a_condition_that_holds_at_once_ends_it_after_one_iteration(tmp_path: Path) -> None:
    assert trial_of(tmp_path, LONGER, loop=["a"], until="true").output == "x"


def test_while_is_looked_at_before_each_iteration(tmp_path: Path) -> None:
    loop = {"loop": ["a"], "while": "loop.index <= 2"}
    assert trial_of(tmp_path, LONGER, **loop).output == "xx"


def test_a_loop_that_never_runs_is_skipped(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, LONGER, **{"loop": ["a"], "while": "input.go"}, inputs={"go": False})
    assert trial.statuses == {"l": "skipped"}


def test_without_conditions_it_runs_to_its_bound(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, LONGER, loop=["a"], on_max="error")
    assert (trial.line["status"], trial.output) == ("ok", "xxxxx")


@pytest.mark.parametrize("condition", [{"until": "false"}, {"while": "true"}])
def test_the_bound_ends_it_and_is_said(tmp_path: Path, condition: dict[str, str]) -> None:
    trial = trial_of(tmp_path, LONGER, loop=["a"], **condition)
    assert (trial.line["status"], trial.output) == ("ok", "xxxxx")
    assert (trial.agents["l"]["iterations"], trial.agents["l"]["at_max"]) == (5, True)
    failed = trial_of(tmp_path, LONGER, loop=["a"], on_max="error", **condition)
    assert failed.line["error"]["type"] == "condition"
    assert "still asks for more after 5 iterations" in failed.line["error"]["message"]
    assert failed.agents["l[5].a"]["output"] == "xxxxx"


def test_a_condition_that_is_met_in_the_last_iteration_is_met(tmp_path: Path) -> None:
    for condition in ({"until": "loop.index == 5"}, {"while": "loop.index <= 5"}):
        trial = trial_of(tmp_path, LONGER, loop=["a"], on_max="error", **condition)
        assert trial.line["status"] == "ok"
        assert "at_max" not in trial.agents["l"]


def test_the_last_outputs_are_seen_in_the_next_iteration(tmp_path: Path) -> None:
    agents = {"w": {"prompt": "[{{ c.output }}{{ w.output }}]"}, "c": {"prompt": "{{ input.x }}"}}
    trial = trial_of(tmp_path, agents, {"x": "!"}, loop=["w", "c"], until="loop.index == 2", output="w")
    assert trial.output == "[![]]"


def test_history_has_every_ended_iteration_by_name(tmp_path: Path) -> None:
    seen = "{{ loop.index }}:{% for i in loop.history %}{{ i.a.output }}/{{ i.deep.output }};{% endfor %}"
    agents = {"a": {"prompt": "a{{ loop.index }}"}, "deep": {"prompt": seen}}
    group = {"loop": ["a", {"sequence": ["deep"]}], "until": "loop.history | length == 2 and loop.index == 2"}
    trial = trial_of(tmp_path, agents, **group)
    assert trial.agents["l"]["iterations"] == 2
    assert trial.output == "2:a1/1:;"


def test_conditions_see_the_current_iteration(tmp_path: Path) -> None:
    until = "loop.history[-1].a.output == a.output and a.output == 'xx'"
    assert trial_of(tmp_path, LONGER, loop=["a"], until=until).agents["l"]["iterations"] == 2


def test_collect_all_gives_a_list(tmp_path: Path) -> None:
    group = {"loop": ["a"], "collect": "all", "until": "loop.index == 3"}
    assert trial_of(tmp_path, LONGER, **group).output == ["x", "xx", "xxx"]


def test_a_failed_step_ends_the_loop_and_what_was_done_stays(tmp_path: Path) -> None:
    agents = {**LONGER, "b": {**BROKEN, "when": "loop.index == 2"}, "c": {}}
    trial = trial_of(tmp_path, agents, loop=["a", "b", "c"])
    assert trial.line["error"]["agent"] == "b"
    assert trial.agents["l"]["iterations"] == 2
    assert trial.statuses == {
        "l": "error",
        "l[1]": "ok", "l[1].a": "ok", "l[1].b": "skipped", "l[1].c": "ok",
        "l[2]": "error", "l[2].a": "ok", "l[2].b": "error", "l[2].c": "skipped",
    }  # fmt: skip
    assert trial.agents["l[2].a"]["output"] == "xx"


def test_a_condition_that_raises_fails_closed(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, LONGER, loop=["a"], until="a.output.score > 1")
    assert trial.line["error"]["type"] == "condition"
    assert trial.agents["l"]["iterations"] == 1
    assert trial.agents["l[1].a"]["output"] == "x"


def test_a_step_that_was_skipped_this_time_shows_nothing_of_the_last(tmp_path: Path) -> None:
    agents = {"fix": {"when": "loop.index == 1"}, "end": {"prompt": "[{{ fix.output }}{{ fix.status }}]"}}
    assert trial_of(tmp_path, agents, loop=["fix", "end"], until="loop.index == 2").output == "[skipped]"


def test_loops_in_loops(tmp_path: Path) -> None:
    groups = {
        "outer": {"loop": ["inner", "after"], "max_iterations": 2},
        "inner": {"loop": ["a"], "max_iterations": 3, "until": "loop.index == 2"},
    }
    agents = {"a": {"prompt": "{{ loop.index }}"}, "after": {"prompt": "{{ loop.index }}{{ inner.output }}"}}
    trial = run(config_of(tmp_path, agents, groups=groups, workflow="outer"))
    assert trial.output == "22"  # the outer's index, the inner's last
    assert list(trial.statuses) == [
        "outer",
        "outer[1]", "outer[1].inner", "outer[1].inner[1]", "outer[1].inner[1].a",
        "outer[1].inner[2]", "outer[1].inner[2].a", "outer[1].after",
        "outer[2]", "outer[2].inner", "outer[2].inner[1]", "outer[2].inner[1].a",
        "outer[2].inner[2]", "outer[2].inner[2].a", "outer[2].after",
    ]  # fmt: skip


def test_copies_of_a_loop_are_told_apart(tmp_path: Path) -> None:
    groups = {"l": {"loop": ["a"], "max_iterations": 2}, "p": {"parallel": [{"agent": "l", "copies": 2}]}}
    trial = run(config_of(tmp_path, LONGER, groups=groups, workflow="p"))
    assert set(trial.statuses) == {
        "p", "l[1]", "l[1][1]", "l[1][1].a", "l[1][2]", "l[1][2].a", "l[2]", "l[2][1]", "l[2][1].a", "l[2][2]",
        "l[2][2].a",
    }  # fmt: skip
    assert trial.output == {"l[1]": "xx", "l[2]": "xx"}


def test_a_loop_again_later_is_told_apart_from_its_iterations(tmp_path: Path) -> None:
    groups = {"l": {"loop": ["a"], "max_iterations": 2}}
    trial = run(config_of(tmp_path, LONGER, groups=groups, workflow=["l", "l"]))
    assert list(trial.statuses) == [
        "l", "l[1]", "l[1].a", "l[2]", "l[2].a", "l#2", "l#2[1]", "l#2[1].a", "l#2[2]", "l#2[2].a",
    ]  # fmt: skip


def test_values_add_up_over_iterations(tmp_path: Path) -> None:
    agents = {"a": {"set": {"all": "{{ vars.all + [loop.index] }}"}}}
    groups = {"l": {"loop": ["a"], "until": "vars.all | length == 3", "max_iterations": 9}}
    config = config_of(tmp_path, {**agents, "b": {"prompt": "{{ vars.all }}"}}, groups=groups, workflow=["l", "b"])
    config_with_start = config.model_copy(update={"vars": {"all": "{{ [] }}"}})
    assert run(config_with_start).output == "[1,2,3]"


def test_each_iteration_is_a_new_draw(tmp_path: Path) -> None:
    models = {"dice": {"provider": "mock", "reply": "{{ range(1000) | pick }}"}}
    groups = {"l": {"loop": ["a"], "max_iterations": 8, "collect": "all"}}
    config = config_of(tmp_path, {"a": {"model": "dice"}}, models=models, groups=groups, workflow="l")
    outputs = run(config).output
    assert len(set(outputs)) > 4
    assert run(config).output == outputs  # and the same ones every time


def test_an_unnamed_loop_inside_does_not_hide_the_loops_own_index(tmp_path: Path) -> None:
    agents = {"a": {}, "b": {"prompt": "{{ loop.index }}"}}
    inner = {"loop": ["a"], "max_iterations": 2}
    groups = {"l": {"loop": [inner, "b"], "max_iterations": 3, "collect": "all"}}
    assert run(config_of(tmp_path, agents, groups=groups, workflow="l")).output == ["1", "2", "3"]
