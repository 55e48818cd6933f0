"""Checks in whole workflows: on agents and on the workflow, judges included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workflow import Trial, config_of, run

JUDGES = {
    "strict": {"provider": "mock", "latency": "1s", "reply": '{"score": 0.2, "reason": "too plain"}'},
    "mild": {"provider": "mock", "latency": "1s", "reply": "0.9"},
}


def trial_of(folder: Path, agents: dict[str, Any], *inputs: Any, **sections: Any) -> Trial:
    return run(config_of(folder, agents, models=JUDGES, **sections), *inputs)


def test_verdicts_stand_in_the_line_and_change_nothing_about_the_item(tmp_path: Path) -> None:
    checks = {"right": {"equals": "input.expected"}, "long": {"condition": "output | length > 100"}}
    trial = trial_of(tmp_path, {"a": {}}, {"expected": "a"}, checks=checks)
    assert (trial.line["status"], trial.output) == ("ok", "a")
    assert trial.line["checks"] == {
        "right": {"passed": True, "score": 1.0, "message": ""},
        "long": {"passed": False, "score": 0.0, "message": "does not hold: output | length > 100"},
    }


def test_an_agent_s_checks_have_its_name(tmp_path: Path) -> None:
    agents = {
        "a": {"checks": {"short": {"condition": "output | length < 3"}}},
        "b": {"checks": {"no": {"contains": "x"}}},
    }
    trial = trial_of(tmp_path, agents, workflow=["a", "b"])
    assert {name: verdict["passed"] for name, verdict in trial.line["checks"].items()} == {
        "a.short": True,
        "b.no": False,
    }
    assert trial.agents["a"]["checks"] == {"short": {"passed": True, "score": 1.0, "message": ""}}


def test_in_a_loop_the_last_answer_counts(tmp_path: Path) -> None:
    agents = {"a": {"prompt": "{{ loop.index }}", "checks": {"second": {"equals": "'2'"}}}}
    groups = {"twice": {"loop": ["a"], "max_iterations": 2}}
    trial = trial_of(tmp_path, agents, groups=groups, workflow="twice")
    assert trial.agents["twice[1].a"]["checks"]["second"]["passed"] is False
    assert trial.line["checks"]["a.second"]["passed"] is True


def test_each_element_of_a_list_is_checked(tmp_path: Path) -> None:
    agents = {"a": {"for_each": "[1, 2]", "prompt": "{{ each.value }}", "checks": {"one": {"equals": "each.value"}}}}
    trial = trial_of(tmp_path, agents)
    assert [step["checks"]["one"]["passed"] for path, step in trial.agents.items() if "[" in path] == [True, True]


def test_a_check_sees_every_step_and_may_look_at_a_part(tmp_path: Path) -> None:
    checks = {
        "of_a": {"equals": "'a'", "of": "a.output"},
        "length": {"range": {"max": 1}, "of": "output | length"},
        "status": {"condition": "a.status == 'ok' and b.output == output"},
    }
    trial = trial_of(tmp_path, {"a": {}, "b": {}}, workflow=["a", "b"], checks=checks)
    assert all(verdict["passed"] for verdict in trial.line["checks"].values())


def test_judges_are_steps_and_work_at_once(tmp_path: Path) -> None:
    agents = {
        "a": {},
        "strict": {"model": "strict", "prompt": "Judge: {{ output }}"},
        "mild": {"model": "mild", "prompt": "Judge {{ a.output }}"},
    }
    checks = {"hard": {"judge": {"agent": "strict", "min": 0.7}}, "easy": {"judge": {"agent": "mild", "min": 0.7}}}
    trial = trial_of(tmp_path, agents, checks=checks)
    assert trial.line["checks"] == {
        "hard": {"passed": False, "score": 0.2, "message": "0.2 is below 0.7: too plain"},
        "easy": {"passed": True, "score": 0.9, "message": ""},
    }
    assert trial.prompts("strict") == ["Judge: a"]
    assert trial.seconds == 2.0
    assert trial.statuses == {"a": "ok", "strict": "ok", "mild": "ok"}
    assert trial.line["usage"]["requests"] == 3
    assert trial.output == "a"


def test_a_judge_of_part_of_an_answer_with_marks_to_ten(tmp_path: Path) -> None:
    marks = {"marks": {"provider": "mock", "output": {"marks": {"style": 7}}}}
    agents = {
        "a": {},
        "critic": {"model": "marks", "prompt": "{{ output }}", "output_schema": {"type": "object", "properties": {}}},
    }
    judge = {"agent": "critic", "min": 7, "max": 10, "score": "judgement.marks.style"}
    config = config_of(tmp_path, agents, models=marks, checks={"style": {"judge": judge, "of": "output | upper"}})
    trial = run(config)
    assert trial.line["checks"]["style"] == {"passed": True, "score": 0.7, "message": ""}
    assert trial.prompts("critic") == ["A"]


def test_a_judge_that_fails_or_gives_no_score_passes_nobody(tmp_path: Path) -> None:
    agents = {"a": {}, "broken": {"model": "broken"}, "chatty": {}}
    checks = {"one": {"judge": {"agent": "broken"}}, "two": {"judge": {"agent": "chatty"}}}
    trial = trial_of(tmp_path, agents, checks=checks)
    assert trial.line["status"] == "ok"
    one, two = trial.line["checks"]["one"], trial.line["checks"]["two"]
    assert (one["passed"], one["score"]) == (False, None)
    assert one["message"].startswith("broken ended as error: content_filter: ")
    assert two == {"passed": False, "score": None, "message": "chatty gave no score: 'chatty'"}


def test_one_judge_in_several_places_has_a_path_for_each(tmp_path: Path) -> None:
    judge = {"judge": {"agent": "mild"}}
    agents = {
        "a": {"checks": {"j": judge}},
        "b": {"checks": {"j": judge}},
        "mild": {"model": "mild", "prompt": "{{ output }}"},
    }
    trial = trial_of(tmp_path, agents, workflow=["a", "b"], checks={"j": judge})
    assert set(trial.statuses) == {"a", "a.mild", "b", "b.mild", "mild"}
    assert set(trial.line["checks"]) == {"j", "a.j", "b.j"}
    assert trial.prompts("mild") == ["a", "b", "b"]


def test_what_failed_or_was_left_out_is_not_checked(tmp_path: Path) -> None:
    agents = {"a": {"model": "broken"}, "mild": {"model": "mild"}}
    trial = trial_of(tmp_path, agents, checks={"j": {"judge": {"agent": "mild"}}})
    assert trial.line["status"] == "error"
    assert "checks" not in trial.line
    assert trial.line["usage"]["requests"] == 1
    trial = trial_of(
        tmp_path, {"a": {"when": "false", "checks": {"x": {"contains": "a"}}}, "b": {}}, workflow=["a", "b"]
    )
    assert "checks" not in trial.line


def test_an_expression_that_fails_is_a_failed_check_of_that_item(tmp_path: Path) -> None:
    checks = {"right": {"equals": "input.expected"}, "judged": {"judge": {"agent": "mild"}, "of": "input.nope"}}
    trial = trial_of(tmp_path, {"a": {}, "mild": {"model": "mild"}}, {"expected": "a"}, {}, checks=checks)
    good, bad = trial.lines
    assert good["checks"]["right"]["passed"]
    assert (bad["status"], bad["checks"]["right"]["passed"], bad["checks"]["right"]["score"]) == ("ok", False, None)
    assert "expected" in bad["checks"]["right"]["message"]
    assert "nope" in bad["checks"]["judged"]["message"]


def test_a_judge_is_no_part_of_the_workflow(tmp_path: Path) -> None:
    agents = {"a": {}, "mild": {"model": "mild", "prompt": "{{ output }}"}}
    config = config_of(tmp_path, agents, models=JUDGES, checks={"j": {"judge": {"agent": "mild"}}})
    assert config.notes == ()
    assert run(config).output == "a"
