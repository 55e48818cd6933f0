"""Members at once: who must succeed, what becomes of their outputs, and what is cancelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from workflow import Trial, config_of, run

from agentbatch.process.control import Control

BROKEN = {"model": "broken"}
SLOW = {"model": "slow"}
LATE_FAILURE = {"model": "late"}
LATE = {"late": {"provider": "mock", "latency": "3s", "errors": {"content_filter": 1}}}
ECHO_AT_A_PRICE = {
    "provider": "mock",
    "price": {"input": 1e6, "output": 0},
    "input_tokens": 1,
    "reply": "{{ prompt }}",
}
PRICED = {"priced": {**ECHO_AT_A_PRICE, "latency": "1s"}, "priced_slow": {**ECHO_AT_A_PRICE, "latency": "9s"}}


def trial_of(folder: Path, agents: dict[str, Any], inputs: Any = None, **group: Any) -> Trial:
    models = group.pop("models", {})
    config = config_of(folder, agents, models={**LATE, **models}, groups={"p": group}, workflow="p")
    return run(config, inputs or {})


def test_members_run_at_once_and_see_only_what_was_before_them(tmp_path: Path) -> None:
    agents = {"z": {}, "a": {"prompt": "[{{ z.output }}]"}}
    trial = trial_of(tmp_path, agents, parallel=["z", "a"])
    assert trial.output == {"z": "z", "a": "[]"}
    assert list(trial.output) == ["z", "a"]
    assert trial.seconds == 1.0


def test_outputs_stand_in_declared_order_whoever_ends_first(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {"a": SLOW, "b": {}}, parallel=["a", "b"], aggregate="list")
    assert trial.output == ["a", "b"]
    assert trial.seconds == 5.0


def test_all_must_succeed_and_a_failure_hides_no_others_output(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {"a": BROKEN, "b": SLOW}, parallel=["a", "b"])
    assert trial.line["status"] == "error"
    assert trial.line["error"]["agent"] == "a"
    assert trial.line["error"]["message"].startswith("1 of 2 members succeeded, 2 must: ")
    assert trial.agents["b"] == {**trial.agents["b"], "status": "ok", "output": "b"}
    assert trial.seconds == 5.0  # without fail_fast the others finish


def test_one_is_enough_for_any(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {"a": BROKEN, "b": {}}, parallel=["a", "b"], success="any")
    assert (trial.line["status"], trial.output) == ("ok", {"a": None, "b": "b"})
    assert trial.statuses == {"p": "ok", "a": "error", "b": "ok"}


def test_none_is_not_enough_for_any(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {"a": BROKEN, "b": BROKEN}, parallel=["a", "b"], success="any")
    assert trial.line["error"]["message"].startswith("0 of 2 members succeeded, 1 must: ")


@pytest.mark.parametrize(("quorum", "status"), [(1, "ok"), (2, "ok"), (3, "error")])
def test_a_quorum(tmp_path: Path, quorum: int, status: str) -> None:
    agents = {"a": BROKEN, "b": {}, "c": {}}
    trial = trial_of(tmp_path, agents, parallel=["a", "b", "c"], success={"quorum": quorum})
    assert trial.line["status"] == status


def test_a_quorum_that_skipped_members_are_missing_from_is_not_reached(tmp_path: Path) -> None:
    agents = {"a": {"when": "false"}, "b": {}}
    trial = trial_of(tmp_path, agents, parallel=["a", "b"], success={"quorum": 2})
    assert trial.line["error"]["type"] == "condition"
    assert "1 of 2 members succeeded, 2 must: 1 were skipped" in trial.line["error"]["message"]


def test_all_means_all_that_are_not_skipped(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {"a": {"when": "false"}, "b": {}}, parallel=["a", "b"])
    assert (trial.line["status"], trial.output) == ("ok", {"a": None, "b": "b"})


def test_a_group_whose_members_are_all_skipped_is_skipped(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {"a": {"when": "false"}, "b": {"when": "false"}}, parallel=["a", "b"])
    assert trial.statuses == {"p": "skipped", "a": "skipped", "b": "skipped"}


def test_fail_fast_cancels_the_others_as_soon_as_it_is_lost(tmp_path: Path) -> None:
    agents = {"a": BROKEN, "b": SLOW, "hang": {"model": "hanging"}}
    trial = trial_of(tmp_path, agents, parallel=["a", "b", "hang"], fail_fast=True)
    assert trial.seconds == 1.0
    assert trial.statuses == {"p": "error", "a": "error", "b": "cancelled", "hang": "cancelled"}
    assert trial.line["usage"]["requests"] == 3  # those that were cut are in the books


def test_fail_fast_waits_while_a_quorum_can_still_be_reached(tmp_path: Path) -> None:
    agents = {"a": BROKEN, "b": SLOW, "c": LATE_FAILURE, "d": {"model": "hanging"}}
    trial = trial_of(tmp_path, agents, parallel=["a", "b", "c", "d"], success={"quorum": 3}, fail_fast=True)
    assert trial.seconds == 3.0
    assert trial.statuses == {"p": "error", "a": "error", "b": "cancelled", "c": "error", "d": "cancelled"}


def test_a_tolerated_failure_counts_as_success(tmp_path: Path) -> None:
    agents = {"a": {**BROKEN, "on_error": {"default": "d"}}, "b": {}}
    trial = trial_of(tmp_path, agents, parallel=["a", "b"], fail_fast=True)
    assert (trial.line["status"], trial.output) == ("ok", {"a": "d", "b": "b"})


def test_concat_joins_what_succeeded(tmp_path: Path) -> None:
    agents = {"a": {}, "b": BROKEN, "c": {"prompt": "{{ 'c' }}"}}
    group = {"parallel": ["a", "b", "c"], "aggregate": "concat", "separator": "|", "success": "any"}
    assert trial_of(tmp_path, agents, **group).output == "a|c"


def test_first_takes_the_first_success_cancels_the_rest_and_pays_for_it(tmp_path: Path) -> None:
    agents = {"a": {"model": "priced_slow"}, "b": {"model": "priced"}, "c": {"model": "priced_slow"}, "d": BROKEN}
    trial = trial_of(tmp_path, agents, parallel=["a", "b", "c", "d"], aggregate="first", models=PRICED)
    assert trial.seconds == 1.0
    assert trial.output == "b"
    assert trial.agents["p"]["first"] == "b"
    assert trial.statuses == {"p": "ok", "a": "cancelled", "b": "ok", "c": "cancelled", "d": "error"}
    assert [trial.agents[name]["attempts"] for name in "abcd"] == [1, 1, 1, 1]
    assert trial.line["usage"]["requests"] == 4
    assert trial.line["cost_usd"] == 1.0  # what was answered; the losers' answers never came
    billed = {span.name for span in trial.spans.ended if span.attributes.get("possibly_billed")}
    assert billed == {"mock"}


def test_what_a_loser_of_first_had_finished_is_in_the_books(tmp_path: Path) -> None:
    agents = {"quick": {"model": "priced"}, "then": {"model": "priced_slow"}, "winner": {"model": "echo2"}}
    models = {**PRICED, "echo2": {"provider": "mock", "latency": "4s", "reply": "{{ prompt }}"}}
    group = {"parallel": [{"sequence": ["quick", "then"]}, "winner"], "aggregate": "first"}
    trial = trial_of(tmp_path, agents, models=models, **group)
    assert trial.seconds == 4.0
    assert trial.statuses == {
        "p": "ok", "sequence": "cancelled", "quick": "ok", "then": "cancelled", "winner": "ok",
    }  # fmt: skip
    assert trial.line["cost_usd"] == 1.0
    assert (trial.agents["quick"]["output"], trial.agents["sequence"]["cost_usd"]) == ("quick", 1.0)


def test_losers_release_their_permits(tmp_path: Path) -> None:
    one = {"one": {"provider": "mock", "latency": "50s", "max_concurrency": 1}}
    agents = {"loser": {"model": "one"}, "queued": {"model": "one"}, "winner": {}, "after": {"model": "one"}}
    groups = {"race": {"parallel": ["loser", "queued", "winner"], "aggregate": "first"}}
    trial = run(config_of(tmp_path, agents, models=one, groups=groups, workflow=["race", "after"]))
    assert trial.seconds == 51.0  # `after` gets the permit at once
    assert trial.agents["queued"]["attempts"] == 0


def test_first_of_nobody(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {"a": BROKEN, "b": BROKEN}, parallel=["a", "b"], aggregate="first")
    assert trial.line["error"]["message"].startswith("0 of 2 members succeeded, 1 must")
    tolerated = {"a": {**BROKEN, "on_error": {"default": "d"}}, "b": {**BROKEN, "on_error": "continue"}}
    assert trial_of(tmp_path, tolerated, parallel=["b", "a"], aggregate="first").output == "d"


def votes(folder: Path, texts: list[str], aggregate: Any = "vote", **models: Any) -> Trial:
    agents = {f"m{number}": {"prompt": text} for number, text in enumerate(texts)}
    return trial_of(folder, agents, parallel=list(agents), aggregate=aggregate, **models)


def test_a_vote_is_won_by_the_most_frequent_answer(tmp_path: Path) -> None:
    trial = votes(tmp_path, ["no", "Yes", " yes ", "YES", "no"])
    assert trial.output == "Yes"  # as the first of its voters wrote it
    assert trial.agents["p"]["vote"] == {"votes": 3, "of": 5, "tie": False}


def test_a_tie_is_said_openly_and_goes_to_the_first_declared(tmp_path: Path) -> None:
    trial = votes(tmp_path, ["b", "a", "a", "b", "c"])
    assert trial.output == "b"
    assert trial.agents["p"]["vote"] == {"votes": 2, "of": 5, "tie": True, "tied": ["b", "a"]}


def test_an_exact_vote(tmp_path: Path) -> None:
    trial = votes(tmp_path, ["A", "a", "a"], aggregate={"vote": {"normalise": False}})
    assert trial.output == "a"
    assert trial.agents["p"]["vote"]["votes"] == 2


def test_a_vote_by_a_field_gives_the_whole_answer(tmp_path: Path) -> None:
    models = {"json": {"provider": "mock", "output": '{"label": "{{ prompt }}", "why": "{{ prompt }}!"}'}}
    schema = {"type": "object", "properties": {"label": {"type": "string"}}}
    agents = {
        name: {"model": "json", "prompt": text, "output_schema": schema}
        for name, text in {"a": "Cat", "b": "dog", "c": "cat "}.items()
    }
    group = {"parallel": ["a", "b", "c"], "aggregate": {"vote": {"by": "output.label"}}, "models": models}
    assert trial_of(tmp_path, agents, **group).output == {"label": "Cat", "why": "Cat!"}


def test_a_vote_by_a_field_that_is_missing_fails_closed(tmp_path: Path) -> None:
    trial = votes(tmp_path, ["a", "a"], aggregate={"vote": {"by": "output.label"}})
    assert trial.line["error"]["type"] == "condition"
    assert trial.agents["m0"]["output"] == "a"


def test_copies_vote(tmp_path: Path) -> None:
    models = {"dice": {"provider": "mock", "reply": "{{ ['x', 'y'] | pick }}"}}
    group = {"parallel": [{"agent": "a", "copies": 25}], "aggregate": "vote"}
    trial = trial_of(tmp_path, {"a": {"model": "dice"}}, models=models, **group)
    ballots = [trial.agents[f"a[{number}]"]["output"] for number in range(1, 26)]
    assert set(ballots) == {"x", "y"}  # each copy is a draw of its own
    assert trial.output == max(("x", "y"), key=ballots.count)


def test_the_best_has_the_highest_score(tmp_path: Path) -> None:
    trial = votes(tmp_path, ["aa", "a", "aaaa", "aaa"], aggregate={"best": "output | length"})
    assert trial.output == "aaaa"
    assert trial.agents["p"]["best"] == {"member": "m2", "score": 4, "tie": False}


def test_equal_scores_are_said_and_the_first_declared_wins(tmp_path: Path) -> None:
    trial = votes(tmp_path, ["a", "bb", "cc"], aggregate={"best": "output | length"})
    assert trial.output == "bb"
    assert trial.agents["p"]["best"] == {"member": "m1", "score": 2, "tie": True, "tied": ["m1", "m2"]}


def test_a_score_sees_name_and_status_and_failed_members_have_none(tmp_path: Path) -> None:
    agents = {"a": {}, "b": BROKEN, "c": {}}
    best = "(name == 'c') * 2 + (status == 'ok') + (input.x | int)"
    group = {"parallel": ["a", "b", "c"], "success": "any", "aggregate": {"best": best}}
    trial = trial_of(tmp_path, agents, {"x": "7"}, **group)
    assert trial.output == "c"
    assert trial.agents["p"]["best"]["score"] == 10


@pytest.mark.parametrize("score", ["output", "output | length > 1", "output.missing", "none"])
def test_a_score_that_is_no_number_fails_closed(tmp_path: Path, score: str) -> None:
    trial = votes(tmp_path, ["a", "bb"], aggregate={"best": score})
    assert trial.line["error"]["type"] == "condition"
    assert trial.agents["m1"]["output"] == "bb"


def test_a_judge_sees_the_members_and_a_skipped_or_failed_one_too(tmp_path: Path) -> None:
    judge = "{% for m in members %}{{ m.name }}={{ m.output }}({{ m.status }}) {% endfor %}{{ a.output }}"
    agents = {"a": {}, "b": BROKEN, "c": {"when": "false"}, "judge": {"prompt": judge}}
    group = {"parallel": ["a", "b", "c"], "success": "any", "aggregate": {"agent": "judge"}}
    trial = trial_of(tmp_path, agents, **group)
    assert trial.output == "a=a(ok) b=(error) c=(skipped) a"
    assert list(trial.statuses) == ["p", "a", "b", "c", "judge"]


def test_copies_are_seen_as_the_list_of_their_outputs(tmp_path: Path) -> None:
    agents = {"a": {}, "judge": {"prompt": "{{ a.output | join('/') }} {{ a.status }} {{ members[1].name }}"}}
    group = {"parallel": [{"agent": "a", "copies": 3}], "aggregate": {"agent": "judge"}}
    assert trial_of(tmp_path, agents, **group).output == "a/a/a ok a[2]"


def test_a_failed_judge_fails_the_group_and_the_members_stay_in_the_line(tmp_path: Path) -> None:
    group = {"parallel": ["a"], "aggregate": {"agent": "judge"}}
    trial = trial_of(tmp_path, {"a": {}, "judge": BROKEN}, **group)
    assert trial.line["error"]["agent"] == "judge"
    assert trial.agents["a"]["output"] == "a"


def test_members_of_the_same_name_lose_nothing(tmp_path: Path) -> None:
    group = {"parallel": [{"sequence": ["a"]}, {"sequence": ["b"]}, "a"]}
    trial = trial_of(tmp_path, {"a": {}, "b": {}}, **group)
    assert trial.output == {"sequence": "a", "sequence#2": "b", "a": "a"}
    assert trial.statuses == {
        "p": "ok", "p.sequence": "ok", "p.sequence.a": "ok", "p.sequence#2": "ok", "p.sequence#2.b": "ok", "p.a": "ok",
    }  # fmt: skip


def test_paths_do_not_depend_on_who_is_quicker(tmp_path: Path) -> None:
    agents = {"first": SLOW, "second": {}, "w": {"prompt": "{{ first.output }}{{ second.output }}"}}
    groups = {"x": {"sequence": ["first", "w"]}, "y": {"sequence": ["second", "w"]}, "p": {"parallel": ["x", "y"]}}
    trial = run(config_of(tmp_path, agents, groups=groups, workflow="p"))
    assert trial.agents["x.w"]["output"] == "first"
    assert trial.agents["y.w"]["output"] == "second"


def test_a_group_begun_again_counts_only_its_new_members(tmp_path: Path) -> None:
    models = {
        "flaky": {
            "provider": "mock",
            "reply": "{{ ['x', 'y', 'z'] | pick }}",
            "errors": {"content_filter": 0.5},
            "seed": 7,
        }
    }
    group = {"parallel": [{"agent": "a", "copies": 4}], "aggregate": "list", "retries": 100, "models": models}
    trial = trial_of(tmp_path, {"a": {"model": "flaky"}}, **group)
    assert trial.agents["p"]["tries"] > 1
    assert len(trial.output) == 4
    assert None not in trial.output


def test_values_set_by_two_members_are_refused_where_only_the_run_can_see_it(tmp_path: Path) -> None:
    agents = {"a": {"set": {"x": "1"}, "when": "input.a"}, "b": {"set": {"x": "2"}}, "c": {"prompt": "{{ vars.x }}"}}
    groups = {"p": {"parallel": ["a", "b"]}}
    config = config_of(tmp_path, agents, groups=groups, workflow=["p", "c"])
    fine, clash = run(config, {"a": False}, {"a": True}).lines
    assert fine["output"] == "2"
    assert clash["error"]["type"] == "condition"
    assert "vars.x is set by a and by b, which run at the same time" in clash["error"]["message"]
    assert clash["agents"]["a"]["output"] == "a"


def test_an_item_timeout_in_the_middle_leaves_nothing_behind(tmp_path: Path) -> None:
    groups = {
        "inner": {"parallel": ["a", {"sequence": ["b", "hang"]}]},
        "p": {"parallel": ["inner", "hang2"], "max_concurrency": 1},
    }
    agents = {"a": {}, "b": {}, "hang": {"model": "hanging"}, "hang2": {"model": "hanging"}}
    config = config_of(tmp_path, agents, groups=groups, workflow="p", limits={"item_timeout": "10s"})
    trial = run(config, {}, {}, {})
    assert [line["error"]["type"] for line in trial.lines] == ["timeout"] * 3
    assert trial.seconds == 30.0  # one after the other: waiting for the group's permit does not count
    (steps, *_) = [line["agents"] for line in trial.lines]
    assert {path: step["status"] for path, step in steps.items()} == {
        "p": "cancelled", "inner": "cancelled", "a": "ok", "sequence": "cancelled", "b": "ok", "hang": "cancelled",
        "hang2": "cancelled",
    }  # fmt: skip
    assert trial.lines[0]["usage"]["requests"] == 4


def test_a_groups_own_timeout(tmp_path: Path) -> None:
    trial = trial_of(tmp_path, {"a": {}, "h": {"model": "hanging"}}, parallel=["a", "h"], timeout="3s")
    assert trial.statuses == {"p": "timeout", "a": "ok", "h": "cancelled"}
    assert trial.line["status"] == "timeout"
    assert trial.seconds == 3.0


def test_a_deadline_that_passes_as_the_next_step_begins(tmp_path: Path) -> None:
    """Steps of a second under a timeout of two: the third begins in the very moment the time is up."""
    for seconds in (1, 2, 3):
        agents = {name: {} for name in "abcd"}
        groups = {"s": {"sequence": list("abcd"), "timeout": f"{seconds}s"}}
        trial = run(config_of(tmp_path, agents, groups=groups, workflow="s"))
        assert trial.line["error"]["type"] == "timeout"
        assert "internal" not in [(step["error"] or {}).get("type") for step in trial.agents.values()]


def test_a_stop_in_the_middle_lets_what_is_on_the_wire_end_and_begins_nothing(tmp_path: Path) -> None:
    def stop(control: Control) -> None:
        from asyncio import get_running_loop

        get_running_loop().call_later(0.5, control.stop, "enough")

    groups = {"p": {"parallel": [{"sequence": ["a", "b"]}, {"graph": ["c", "d"]}, "hang"]}}
    agents = {"a": {}, "b": {}, "c": {}, "d": {"prompt": "{{ c.output }}"}, "hang": {"model": "hanging"}}
    trial = run(config_of(tmp_path, agents, groups=groups, workflow="p"), {}, {}, meddle=stop)
    assert trial.ended == []  # they stay to do
    assert trial.seconds == 5.5  # the grace, for what hangs
    answered = [span for span in trial.spans.ended if span.kind == "chat" and span.status == "ok"]
    assert len(answered) == 4  # a and c, of two items
    assert trial.prompts("b") == trial.prompts("d") == []


def test_a_stop_at_once_cuts_everything(tmp_path: Path) -> None:
    def stop(control: Control) -> None:
        control.stop("now", at_once=True)

    groups = {"p": {"parallel": [{"agent": "a", "copies": 5}], "max_concurrency": 2}}
    trial = run(config_of(tmp_path, {"a": {}}, groups=groups, workflow="p"), *[{}] * 20, meddle=stop)
    assert trial.ended == []
    assert trial.seconds == 0.0
