"""What a canary makes of result lines: costs, time, the limit that binds, and what is against going on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from workflow import config_of

from agentbatch.canary.findings import Canary, Planned, findings
from agentbatch.canary.measured import Measured, measured
from agentbatch.canary.text import render_canary
from agentbatch.config import Config
from agentbatch.forecast.bounds import Range, Spend

PLANNED = Planned(Range(1.0, 4.0), Range(10.0, 20.0), "the length of one item")


def line(cost: float | None, *, status: str = "ok", requests: int = 1, seconds: float = 2.0, **agent: Any) -> Any:
    usage = {"input_tokens": 100, "output_tokens": 20, "requests": requests}
    step = {"status": status, "usage": usage, "cost_usd": cost, "duration_s": seconds, **agent}
    whole = {"usage": usage, "cost_usd": cost, "duration_s": seconds, "status": status}
    return {"id": "1", "index": 0, "agents": {"a": step}, **whole}


def config(folder: Path, **sections: Any) -> Config:
    return config_of(folder, {"a": {}}, **sections)


def found(made: Config, lines: list[Any], others: int = 100, spent: float = 0.0) -> Canary:
    seen = [measured(each, made) for each in lines]
    return findings(made, seen, others, spent_usd=spent, planned=PLANNED, total=others + len(lines))


def test_the_rest_costs_what_the_sample_did(tmp_path: Path) -> None:
    canary = found(config(tmp_path), [line(0.5)] * 4)
    assert canary.cost_usd == (50.0, 50.0, 50.0)
    assert not canary.against


def test_an_unknown_cost_leaves_the_whole_unknown_and_does_not_fit_a_cap(tmp_path: Path) -> None:
    lines = [line(0.5), line(0.5), line(None)]
    assert found(config(tmp_path), lines).cost_usd is None
    assert not found(config(tmp_path), lines).against
    assert "not known" in found(config(tmp_path, limits={"max_cost": 1e9}), lines).against[0]


def test_what_is_spent_counts_against_the_cap(tmp_path: Path) -> None:
    made = config(tmp_path, limits={"max_cost": 60})
    assert not found(made, [line(0.5)] * 4, spent=10.0).against
    assert found(made, [line(0.5)] * 4, spent=10.1).against


def test_the_upper_bound_counts_not_the_mean(tmp_path: Path) -> None:
    made = config(tmp_path, limits={"max_cost": 60})
    assert found(made, [line(0.1), line(0.9), line(0.1), line(0.9)]).against


@pytest.mark.parametrize(
    ("allowed", "failed", "stops"),
    [
        (None, 5, False),
        (None, 6, True),
        ("20%", 2, False),
        ("20%", 3, True),
        (11, 1, False),
        (10, 1, True),
        (0, 0, False),
    ],
)
def test_the_share_of_failures(tmp_path: Path, allowed: Any, failed: int, stops: bool) -> None:
    limits = {} if allowed is None else {"max_failures": allowed}
    lines = [line(0.1)] * (10 - failed) + [line(0.1, status="error")] * failed
    canary = found(config(tmp_path, limits=limits), lines)
    assert bool(canary.against) is stops
    assert canary.failed == failed


def test_with_nothing_left_nothing_is_against_it(tmp_path: Path) -> None:
    assert not found(config(tmp_path, limits={"max_cost": 0.01}), [line(0.5, status="error")] * 4, others=0).against


@pytest.mark.parametrize(
    ("limits", "seconds", "bound_by"),
    [
        ({"rpm": 60}, 200.0, "requests per minute of model echo (rpm 60)"),
        ({"tpm": 2400}, 300.0, "tokens per minute of model echo (tpm 2,400)"),
        ({"max_concurrency": 4}, 50.0, "concurrency of model echo (4)"),
    ],
)
def test_the_limit_that_binds_is_reckoned_from_what_the_sample_took(
    tmp_path: Path, limits: dict[str, int], seconds: float, bound_by: str
) -> None:
    made = config(tmp_path, models={"echo": {"provider": "mock", **limits}})
    canary = found(made, [line(0.1, requests=2)] * 3)
    assert canary.bound_by == bound_by
    assert canary.seconds == pytest.approx((seconds, seconds, seconds))


def test_an_answer_of_another_model_counts_for_that_model(tmp_path: Path) -> None:
    got = measured(line(0.5, model="slow"), config(tmp_path))
    assert got.spent[("model", "slow")].calls == 1
    assert ("model", "echo") not in got.spent


def test_agents_called_as_tools_are_counted_once(tmp_path: Path) -> None:
    made = config_of(tmp_path, {"a": {}, "b": {"model": "slow"}})
    inner = line(0.2)["agents"]["a"]
    outer = {**line(0.5, requests=3)["agents"]["a"]}
    got = measured({**line(0.5), "agents": {"a": outer, "a/b": inner}}, made)
    assert got.spent[("model", "echo")].calls == 2
    assert got.spent[("model", "slow")].calls == 1
    assert got.spent[("agent", "a")].usd == pytest.approx(0.3)


def test_a_line_without_agents_tells_of_the_only_model(tmp_path: Path) -> None:
    made = config(tmp_path)
    bare = {key: value for key, value in line(0.5).items() if key != "agents"}
    assert measured(bare, made).spent.keys() == {("all", "")}, "there are several"
    one = made.model_copy(update={"models": {"echo": made.models["echo"]}})
    assert measured(bare, one).spent[("model", "echo")] == Spend(1, 100, 20, 0.5, 2.0)


def test_a_line_of_an_input_that_could_not_be_used_took_nothing(tmp_path: Path) -> None:
    assert measured({"status": "error"}, config(tmp_path)) == Measured(True, None, 0.0, {("all", ""): Spend()})


def test_the_text_says_both_and_fits_a_terminal(tmp_path: Path) -> None:
    made = config(tmp_path, limits={"max_cost": 40})
    text = render_canary(found(made, [line(0.5), line(0.4), line(0.5, status="error")], spent=1.4))
    assert all(len(each) <= 80 for each in text.splitlines())
    for words in ("3 items have a result, 1 of them failed; $1.40 spent", "$1.00 to $4.00", "90% interval", "max_cost"):
        assert words in text


def test_the_text_of_a_run_that_is_over_says_nothing_of_a_rest(tmp_path: Path) -> None:
    assert render_canary(found(config(tmp_path), [line(0.5)] * 2, others=0)).count("\n") == 1
