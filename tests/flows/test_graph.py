"""Order and parallelism from who refers to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workflow import Trial, config_of, run

BROKEN = {"model": "broken"}


def trial_of(folder: Path, agents: dict[str, Any], inputs: Any = None, **group: Any) -> Trial:
    whole = {"graph": list(agents), **group}
    return run(config_of(folder, agents, groups={"g": whole}, workflow="g"), inputs or {})


def test_a_step_starts_the_moment_what_it_reads_is_there(tmp_path: Path) -> None:
    agents = {
        "end": {"prompt": "{{ slow.output }}{{ after.output }}"},
        "after": {"prompt": "{{ quick.output }}+"},
        "slow": {"model": "slow"},
        "quick": {},
    }
    trial = trial_of(tmp_path, agents)
    assert trial.output == "slowquick+"
    assert trial.seconds == 6.0  # 5 for slow, in which quick and after are done, and 1 for end


def test_conditions_for_each_set_needs_and_history_count_as_references(tmp_path: Path) -> None:
    agents = {
        "a": {"set": {"x": "1"}},
        "by_when": {"when": "a.output == 'a'"},
        "by_list": {"for_each": "[a.output]", "prompt": "{{ each.value }}"},
        "by_value": {"prompt": "{{ vars.x }}"},
        "by_set": {"set": {"y": "{{ a.output }}"}},
        "by_needs": {"needs": ["a"]},
        "by_history": {"history": ["a"]},
        "by_fallback": {"fallback": {"to": ["spare"], "when": "a.status != 'ok'"}},
    }
    config = config_of(tmp_path, {**agents, "spare": {}}, groups={"g": {"graph": list(agents)}}, workflow="g")
    trial = run(config)
    assert trial.line["status"] == "ok"
    assert trial.seconds == 2.0
    began = {span.name: span.start_ns for span in trial.spans.ended if span.kind == "agent"}
    assert all(began[name] >= began["a"] for name in agents)
    assert trial.agents["by_value"]["output"] == "1"


def test_a_group_waits_for_what_any_of_its_steps_reads(tmp_path: Path) -> None:
    agents = {"a": {}, "b": {"prompt": "{{ a.output }}b"}, "c": {}, "d": {"prompt": "{{ c.output }}{{ p.output.b }}"}}
    groups = {"p": {"parallel": ["b", "c"]}, "g": {"graph": ["d", "p", "a"]}}
    trial = run(config_of(tmp_path, agents, groups=groups, workflow="g"))
    assert trial.output == "cab"
    assert trial.seconds == 3.0


def test_an_omitted_workflow_is_the_graph_of_all_agents(tmp_path: Path) -> None:
    agents = {"b": {"prompt": "{{ a.output }}b"}, "a": {}, "c": {}}
    trial = run(config_of(tmp_path, agents))
    assert trial.output == {"b": "ab", "c": "c"}  # the steps nobody waits for, in declared order
    assert trial.seconds == 2.0


def test_an_agent_that_only_stands_in_for_another_is_no_part_of_that_graph(tmp_path: Path) -> None:
    trial = run(config_of(tmp_path, {"a": {"fallback": ["b"]}, "b": {}}))
    assert trial.statuses == {"a": "ok"}
    assert trial.output == "a"


def test_those_behind_a_failed_step_are_skipped_near_and_far_and_others_go_on(tmp_path: Path) -> None:
    agents = {
        "bad": BROKEN,
        "near": {"prompt": "{{ bad.output }}"},
        "far": {"prompt": "{{ near.output }}"},
        "other": {"model": "slow"},
        "end": {"prompt": "{{ other.output }}"},
    }
    trial = trial_of(tmp_path, agents)
    assert trial.line["error"]["agent"] == "bad"
    assert trial.statuses == {
        "g": "error", "bad": "error", "near": "skipped", "far": "skipped", "other": "ok", "end": "ok",
    }  # fmt: skip
    assert trial.seconds == 6.0
    assert trial.prompts("far") == []


def test_those_behind_a_tolerated_failure_run(tmp_path: Path) -> None:
    agents = {"bad": {**BROKEN, "on_error": "continue"}, "end": {"prompt": "[{{ bad.output }}{{ bad.error.type }}]"}}
    trial = trial_of(tmp_path, agents)
    assert (trial.line["status"], trial.output) == ("ok", "[content_filter]")


def test_those_behind_a_skipped_step_run_and_see_nothing_of_it(tmp_path: Path) -> None:
    agents = {"a": {"when": "false"}, "b": {"prompt": "[{{ a.output.x }}{{ a.status }}]"}}
    assert trial_of(tmp_path, agents).output == "[skipped]"


def test_a_graph_of_skipped_steps_is_skipped(tmp_path: Path) -> None:
    assert trial_of(tmp_path, {"a": {"when": "false"}, "b": {"when": "false"}}).line["status"] == "skipped"


def test_copies_are_seen_as_a_list(tmp_path: Path) -> None:
    agents = {"a": {}, "b": {"prompt": "{{ a.output | join('+') }}"}}
    group = {"graph": ["b", {"agent": "a", "copies": 3}]}
    trial = run(config_of(tmp_path, agents, groups={"g": group}, workflow="g"))
    assert trial.output == "a+a+a"
    assert list(trial.statuses) == ["g", "a[1]", "a[2]", "a[3]", "b"]


def test_output_names_the_step_that_counts(tmp_path: Path) -> None:
    agents = {"a": {}, "b": {"prompt": "{{ a.output }}"}, "c": {"when": "false"}}
    assert trial_of(tmp_path, agents, output="a").output == "a"
    assert trial_of(tmp_path, agents, output="c").output is None


def test_a_value_set_along_the_way_is_that_of_the_later_step(tmp_path: Path) -> None:
    agents = {
        "late": {"prompt": "{{ early.output }}", "set": {"x": "late"}},
        "early": {"set": {"x": "early"}},
        "end": {"prompt": "{{ vars.x }}", "needs": ["late", "early"]},
    }
    assert trial_of(tmp_path, agents).output == "late"


def test_values_set_side_by_side_are_refused(tmp_path: Path) -> None:
    agents = {"a": {"set": {"x": "1"}, "when": "true"}, "b": {"set": {"x": "2"}}}
    trial = trial_of(tmp_path, agents)
    assert trial.line["error"]["type"] == "condition"
    assert "vars.x is set by a and by b" in trial.line["error"]["message"]


def test_a_hundred_steps_in_a_row_and_side_by_side(tmp_path: Path) -> None:
    chain: dict[str, Any] = {"a0": {}}
    chain |= {f"a{n}": {"prompt": f"{{{{ a{n - 1}.output }}}}"} for n in range(1, 100)}
    wide: dict[str, Any] = {f"b{n}": {} for n in range(100)}
    trial = trial_of(tmp_path, {**chain, **wide}, output="a99")
    assert trial.output == "a0"
    assert trial.seconds <= 102.0  # the model serves 64 at once


def test_a_step_that_hangs_and_an_item_timeout(tmp_path: Path) -> None:
    agents = {"a": {}, "hang": {"model": "hanging"}, "behind": {"prompt": "{{ hang.output }}{{ a.output }}"}}
    config = config_of(tmp_path, agents, limits={"item_timeout": "10s"})
    trial = run(config)
    assert trial.line["status"] == "timeout"
    assert {path: status for path, status in trial.statuses.items() if path != "behind"} == {
        "a": "ok",
        "hang": "cancelled",
    }
    assert trial.agents["a"]["output"] == "a"


def test_what_is_seen_afterwards_does_not_depend_on_who_is_quick(tmp_path: Path) -> None:
    """Both groups hold `w`; that of the later one counts, even if it was done first."""
    for early, late in (("slow", "echo"), ("echo", "slow")):
        agents = {
            "early": {"model": early},
            "late": {"model": late},
            "w": {"prompt": "{{ each.value }}"},
            "end": {"prompt": "{{ w.output }}"},
        }
        groups = {
            "gx": {"sequence": ["w"], "for_each": "['x']", "needs": ["early"]},
            "gy": {"sequence": ["w"], "for_each": "['y']", "needs": ["late"]},
            "g": {"graph": ["gx", "gy", "early", "late"]},
        }
        trial = run(config_of(tmp_path, agents, groups=groups, workflow=["g", "end"]))
        assert trial.output == "y"
        assert [path for path in trial.statuses if path.startswith("g")][:2] == ["g", "gx"]
