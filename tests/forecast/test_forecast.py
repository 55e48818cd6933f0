"""Forecasts: figures that can be checked by hand, and ranges that hold what a run then really takes."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentbatch.batch import run_to_end
from agentbatch.config import Config, load
from agentbatch.forecast import Forecast, forecast
from agentbatch.forecast.bounds import Bill, Bounds, Range, Spend
from agentbatch.forecast.prompts import Assumptions
from agentbatch.forecast.text import forecast_json, render_forecast
from agentbatch.forecast.time import latency_of
from agentbatch.forecast.to_do import ToDo
from agentbatch.items import Item
from agentbatch.models.mock import MockConfig
from agentbatch.plan import make_plan
from agentbatch.process.event_loop import run_loop
from agentbatch.results.files import ResultFiles
from agentbatch.run.options import RunOptions

PRICE = {"input": 1.0, "output": 10.0}
MODEL: dict[str, Any] = {
    "provider": "mock",
    "latency": "2s",
    "input_tokens": 100,
    "output_tokens": 50,
    "price": PRICE,
}
EACH_USD = 100 * 1e-6 + 50 * 10e-6
"""What one call to that model costs."""


def config_of(folder: Path, *, agents: dict[str, Any], model: dict[str, Any] | None = None, **sections: Any) -> Config:
    path = folder / "config.yaml"
    models = {"m": {**MODEL, **(model or {})}}
    whole = {"version": 1, "models": models, "agents": agents, **sections}
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    return load(path, environ={})


def items_of(*fields: Any) -> list[Item]:
    return [Item(str(index), index, each) for index, each in enumerate(fields)]


def reckoned(config: Config, items: list[Item], count: int | None = None, **assumed: Any) -> Forecast:
    return forecast(config, make_plan(config), len(items) if count is None else count, items, Assumptions(**assumed))


def asks(prompt: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"model": "m", "prompt": prompt, **more}


def calls(found: Forecast) -> tuple[float, float]:
    return found.whole.low.calls, found.whole.high.calls


def test_a_sequence_of_known_calls_has_one_figure(tmp_path: Path) -> None:
    config = config_of(tmp_path, agents={"a": asks(), "b": asks()}, workflow=["a", "b"])
    found = reckoned(config, items_of({}, {}, {}))
    assert found.whole.low == found.whole.high
    assert found.whole.low == pytest.approx(Spend(6, 600, 300, 6 * EACH_USD, 12.0))
    assert found.cost == pytest.approx((6 * EACH_USD, 6 * EACH_USD))
    assert found.seconds == (4.0, 4.0)
    assert found.constraints[0].name == "the length of one item"


def test_conditions_on_the_input_are_decided_for_each_item(tmp_path: Path) -> None:
    agents = {"a": asks(), "b": asks(when="input.market == 'EU'")}
    config = config_of(tmp_path, agents=agents, workflow=["a", "b"])
    assert calls(reckoned(config, items_of(*[{"market": "EU"}] * 3, {"market": "US"}))) == (7, 7)


def test_conditions_on_answers_leave_a_range(tmp_path: Path) -> None:
    agents = {"a": asks(), "b": asks(when="a.output == 'yes'")}
    config = config_of(tmp_path, agents=agents, workflow=["a", "b"])
    assert calls(reckoned(config, items_of({}, {}))) == (2, 4)


@pytest.mark.parametrize(("way", "expected"), [("x", 1), ("Y. ", 3), (["x", "y"], 4), ("other", 2)])
def test_a_route_on_the_input_is_taken(tmp_path: Path, way: Any, expected: int) -> None:
    agents = {"a": asks(), "b": asks(), "c": asks(), "d": asks()}
    groups = {
        "go": {"route": "input.way", "cases": {"x": "a", "y": {"sequence": ["b", "c", "d"]}}, "default": ["c", "d"]}
    }
    config = config_of(tmp_path, agents=agents, groups=groups, workflow="go")
    assert calls(reckoned(config, items_of({"way": way}))) == (expected, expected)


def test_a_condition_takes_its_way_or_leaves_a_range(tmp_path: Path) -> None:
    agents = {"a": asks(), "b": asks(), "c": asks()}
    ways = {"then": "a", "else": {"sequence": ["b", "c"]}}
    known = config_of(tmp_path, agents=agents, groups={"g": {"when": "input.eu", **ways}}, workflow="g")
    assert calls(reckoned(known, items_of({"eu": True}, {"eu": False}, {"eu": False}))) == (5, 5)
    unknown = config_of(tmp_path, agents=agents, groups={"g": {"when": "a.output", **ways}}, workflow=["a", "g"])
    assert calls(reckoned(unknown, items_of({}))) == (2, 3)


def test_lists_of_the_input_are_counted_and_others_assumed(tmp_path: Path) -> None:
    agents = {"a": asks(for_each="input.parts"), "b": asks()}
    config = config_of(tmp_path, agents=agents, workflow="a")
    found = reckoned(config, items_of({"parts": ["x"] * 250}, {"parts": []}))
    assert calls(found) == (250, 250)
    assert found.constraints[0].seconds.high == pytest.approx(250 * 2 / 64)
    agents = {"a": asks(), "b": asks(for_each="a.output")}
    config = config_of(tmp_path, agents=agents, workflow=["a", "b"])
    found = reckoned(config, items_of({}), elements=7)
    assert calls(found) == (1, 8)
    assert found.lists


def test_loops_run_from_once_to_their_bound(tmp_path: Path) -> None:
    agents = {"a": asks(), "b": asks()}
    groups = {"g": {"loop": ["a", "b"], "until": "b.output == 'ok'", "max_iterations": 4}}
    config = config_of(tmp_path, agents=agents, groups=groups, workflow="g")
    found = reckoned(config, items_of({}))
    assert calls(found) == (2, 8)
    assert found.seconds == (4.0, 16.0)


def test_members_side_by_side_take_the_time_of_the_longest(tmp_path: Path) -> None:
    agents = {"a": asks(), "b": asks("{{ a.output }}"), "c": asks(), "judge": asks()}
    groups = {
        "g": {"parallel": [{"agent": "a", "copies": 5}, {"sequence": ["b", "c"]}], "aggregate": {"agent": "judge"}}
    }
    config = config_of(tmp_path, agents=agents, groups=groups, workflow="g")
    found = reckoned(config, items_of({}))
    assert calls(found) == (8, 8)
    assert found.seconds == (6.0, 6.0)


def test_a_graph_takes_the_time_of_its_longest_way(tmp_path: Path) -> None:
    agents = {"a": asks(), "b": asks("{{ a.output }}"), "c": asks("{{ b.output }}"), "d": asks()}
    found = reckoned(config_of(tmp_path, agents=agents), items_of({}))
    assert calls(found) == (4, 4)
    assert found.seconds == (6.0, 6.0)


def test_repairs_retries_and_fallbacks_are_told_apart(tmp_path: Path) -> None:
    schema = {"type": "object"}
    agents = {"a": asks(retries=2, output_schema=schema, fallback=["b"]), "b": asks()}
    config = config_of(tmp_path, agents=agents, workflow="a")
    found = reckoned(config, items_of({}))
    assert calls(found) == (1, 1)
    assert found.worst.calls == 3 * 2 + 1


def test_a_fallback_that_replaces_good_answers_is_no_mishap(tmp_path: Path) -> None:
    agents = {"a": asks(fallback={"to": ["b"], "when": "output == 'poor'"}), "b": asks()}
    config = config_of(tmp_path, agents=agents, workflow="a")
    assert calls(reckoned(config, items_of({}))) == (1, 2)


def test_prompts_are_rendered_with_the_input(tmp_path: Path) -> None:
    model = {"provider": "openai", "model": "local", "base_url": "http://127.0.0.1:9/v1", "params": {"max_tokens": 40}}
    path = tmp_path / "config.yaml"
    agents = {
        "a": asks("{{ input.text }}", instructions="x" * 400),
        "b": asks("{{ a.output }}{{ a.output }}", params={"max_tokens": 80}),
        "c": asks(""),
    }
    config = {"version": 1, "models": {"m": model}, "agents": agents, "workflow": ["a", "b", "c"]}
    path.write_text(yaml.safe_dump(config))
    found = reckoned(load(path, environ={}), items_of({"text": "y" * 4000}), least_share=0.25)
    a, b, c = (found.item["agent", name] for name in "abc")
    assert a.low.input_tokens == a.high.input_tokens == 400 // 4 + 4000 // 4 + 2 * 4 + 1
    assert (a.low.output_tokens, a.high.output_tokens) == (10, 40)
    # an answer that is quoted counts once, with its own least and most
    assert (b.low.input_tokens, b.high.input_tokens) == (5 + 10, 5 + 40)
    assert b.high.output_tokens == 80
    assert c.high.input_tokens == 5
    assert found.uncapped == ()
    assert found.cost is None and found.unpriced == ("m",)


def test_without_max_tokens_an_assumption_stands(tmp_path: Path) -> None:
    model = {"input_tokens": None, "output_tokens": None}
    config = config_of(tmp_path, agents={"a": asks()}, model=model)
    found = reckoned(config, items_of({}), answer_tokens=1000, least_share=0.1)
    assert (found.whole.low.output_tokens, found.whole.high.output_tokens) == (100, 1000)
    assert found.uncapped == ("a",)


def test_a_part_of_the_items_stands_for_all_with_a_spread(tmp_path: Path) -> None:
    agents = {"a": asks(), "b": asks(when="input.on")}
    config = config_of(tmp_path, agents=agents, workflow=["a", "b"])
    drawn = items_of(*[{"on": number % 2 == 0} for number in range(100)])
    found = reckoned(config, drawn, count=10_000)
    low, high = calls(found)
    assert low < 15_000 < high
    assert high - low == pytest.approx(4 * 10_000 * 0.5 / 10 * 0.99, rel=0.05)
    assert found.item["agent", "b"].low.calls == 0.5


@pytest.mark.parametrize(
    ("model", "agent", "sections", "bound", "seconds"),
    [
        ({"rpm": 60}, {}, {}, "requests per minute of model m (rpm 60)", 100),
        ({"tpm": 1500}, {}, {}, "tokens per minute of model m (tpm 1,500)", 600),
        ({"max_concurrency": 4}, {}, {}, "concurrency of model m (4)", 50),
        ({}, {"max_concurrency": 2}, {}, "concurrency of agent a (2)", 100),
        ({}, {"rpm": 30}, {}, "requests per minute of agent a (rpm 30)", 200),
        ({}, {}, {"limits": {"max_concurrency": 5}}, "items in flight (max_concurrency 5)", 40),
        (
            {},
            {},
            {"groups": {"g": {"sequence": ["a"], "max_concurrency": 8}}, "workflow": "g"},
            "concurrency of group g (8)",
            25,
        ),
        ({"max_concurrency": "auto"}, {}, {}, "concurrency of model m (auto, taken for 64)", 3.125),
    ],
)
def test_the_tightest_limit_sets_the_time(
    tmp_path: Path, model: Any, agent: Any, sections: Any, bound: str, seconds: float
) -> None:
    config = config_of(tmp_path, agents={"a": asks(**agent)}, model=model, **sections)
    found = reckoned(config, items_of(*[{}] * 100))
    assert found.constraints[0].name == bound
    assert found.seconds == pytest.approx((seconds, seconds))


def test_latencies_are_those_that_mocks_are_told() -> None:
    def mean(latency: Any) -> float:
        return latency_of(MockConfig.model_validate({"provider": "mock", "latency": latency}), 2.0)

    assert mean("300ms") == pytest.approx(0.3)
    assert mean({"min": "1s", "max": "3s"}) == pytest.approx(2.0)
    assert mean({"mean": "1s", "sigma": "1s"}) == pytest.approx(1.0)
    assert mean({"p50": "1s", "p95": "1s"}) == pytest.approx(1.0)
    assert 1.0 < mean({"p50": "1s", "p95": "4s"}) < 2.0


def test_no_items_take_nothing(tmp_path: Path) -> None:
    found = reckoned(config_of(tmp_path, agents={"a": asks()}), [])
    assert found.whole == Bounds()
    assert found.seconds == Range()


def test_a_forecast_holds_what_the_run_then_takes(tmp_path: Path) -> None:
    """Known answers, unknown conditions: the real run lies within the range."""
    agents = {
        "a": asks(output_schema={"type": "object", "properties": {"n": {"type": "integer", "maximum": 9}}}),
        "b": asks(when="a.output.n is defined and a.output.n > 4"),
        "c": asks(for_each="input.parts"),
        "d": asks(fallback=["b"]),
    }
    groups = {"again": {"loop": ["a", "b"], "until": "(a.output.n or 0) > 7", "max_iterations": 5}}
    config = config_of(
        tmp_path, agents=agents, groups=groups, workflow=["again", "c", {"parallel": ["d", "a"]}], model={"latency": 0}
    )
    fields = [{"parts": ["p"] * (number % 4)} for number in range(200)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(each) + "\n" for each in fields))
    found = reckoned(config, items_of(*fields))
    options = RunOptions(str(tmp_path / "in.jsonl"), ResultFiles(tmp_path / "out.results.jsonl"))
    summary = run_loop(run_to_end(config, options))
    assert summary.verdict == "ok"
    low, high = found.whole
    assert low.calls <= summary.calls <= high.calls
    assert low.output_tokens <= summary.output_tokens <= high.output_tokens
    assert summary.cost_usd is not None and found.cost is not None
    assert found.cost.low <= summary.cost_usd <= found.cost.high


# words


def to_do(items: int, **more: Any) -> ToDo:
    return ToDo(**{"total": items, "done": 0, "bad": 0, "problem": "", "items": items, "drawn": (), **more})


def told(config: Config, found: Forecast, **more: Any) -> str:
    text = render_forecast(found, to_do(found.items, **more), make_plan(config), config.limits)
    assert max(map(len, text.splitlines())) <= 80
    return " ".join(text.split())


def test_it_reads_well(tmp_path: Path) -> None:
    config = config_of(tmp_path, agents={"a": asks(), "b": asks(when="a.output")}, workflow=["a", "b"])
    found = reckoned(config, items_of(*[{}] * 100), count=12_345)
    text = told(config, found, total=13_000, done=650, bad=5, problem="in.jsonl:7: not JSON")
    assert "items 12,345 to do of 13,000; 650 have a result; 5 can't be used, the first: in.jsonl:7: not JSON" in text
    assert "calls 1 to 2 an item, 12,345 to 24,690 in all" in text
    assert "tokens 1.23M to 2.47M in, 617k to 1.23M out" in text
    assert f"cost ${12_345 * EACH_USD:.2f} to ${24_690 * EACH_USD:.2f}" in text
    assert "Reckoned from 100 of these items" in text
    assert "bound by concurrency of model m (64)" in text


def test_an_unknown_price_is_never_nothing(tmp_path: Path) -> None:
    config = config_of(tmp_path, agents={"a": asks()}, model={"price": None})
    found = reckoned(config, items_of({}))
    assert "cost unknown: no price is known for m" in told(config, found)
    assert "$0" not in told(config, found)
    assert forecast_json(found, to_do(1), make_plan(config))["cost_usd"] is None


def test_what_a_program_costs_is_unknown_too(tmp_path: Path) -> None:
    agents = {"a": asks(), "coder": {"kind": "command", "command": ["true"]}}
    config = config_of(tmp_path, agents=agents, workflow=["a", "coder"])
    found = reckoned(config, items_of({}))
    assert (found.outside, found.cost) == (("coder",), None)
    assert "cost unknown: nobody knows what coder will cost; $0.0006 for the models" in told(config, found)
    assert forecast_json(found, to_do(1), make_plan(config))["cost_usd"] is None


def test_limits_that_may_stop_the_run_are_told(tmp_path: Path) -> None:
    limits = {"max_cost": 0.001, "timeout": "3s"}
    config = config_of(tmp_path, agents={"a": asks()}, limits=limits, model={"max_concurrency": 1})
    text = told(config, reckoned(config, items_of(*[{}] * 3)), spent_usd=0.5)
    assert "limits.max_cost, $0.001, may stop the run: it may cost $0.502, $0.500 of which earlier runs spent" in text
    assert "limits.timeout, 3.0 s, may stop the run" in text


def test_the_json_has_ranges(tmp_path: Path) -> None:
    config = config_of(tmp_path, agents={"a": asks(), "b": asks(when="a.output")}, workflow=["a", "b"])
    found = reckoned(config, items_of({}, {}))
    document = forecast_json(found, to_do(2), make_plan(config))
    assert document["items"] == {"total": 2, "done": 0, "bad": 0, "to_do": 2}
    assert document["calls"] == {"low": 2, "high": 4}
    assert document["calls_per_item"] == {"least": 1, "most": 2}
    assert document["models"]["m"]["input_tokens"] == {"low": 200, "high": 400}
    assert json.loads(json.dumps(document)) == document


# bounds


def test_bounds_add_up() -> None:
    def bill(low: float, high: float) -> Bill:
        return Bill({("all", ""): Bounds(Spend(calls=low), Spend(calls=high))}, Range(low, high))

    def figures(made: Bill) -> tuple[float, float, float, float]:
        low, high = made.parts["all", ""]
        return low.calls, high.calls, made.seconds.low, made.seconds.high

    one, two = bill(1, 2), bill(3, 5)
    assert figures(Bill.in_turn([one, two])) == (4, 7, 4, 7)
    assert figures(Bill.at_once([one, two])) == (4, 7, 3, 5)
    assert figures(Bill.one_of([one, two])) == (1, 5, 1, 5)
    assert figures(Bill.some_of([one, two])) == (1, 7, 1, 5)
    assert figures(one.repeated(2, 3)) == (2, 6, 2, 6)
    assert figures(one.repeated(2, 3, at_once=True)) == (2, 6, 1, 2)
    assert figures(two.maybe()) == (0, 5, 0, 5)
    assert figures(Bill.one_of([one, Bill()])) == (0, 2, 0, 2)
    assert Bill.in_turn([]) == Bill()


@pytest.mark.parametrize(("batch", "share"), [(None, 0.5), (0.25, 0.25)])
def test_provider_batches_are_planned_at_their_price_and_their_time(
    tmp_path: Path, batch: float | None, share: float
) -> None:
    price = {**PRICE, **({} if batch is None else {"batch": batch})}
    model = {"provider": "openai", "model": "x", "api_key": "k", "price": price, "params": {"max_tokens": 50}}
    path = tmp_path / "config.yaml"

    def cost_of(**more: Any) -> Forecast:
        whole = {"version": 1, "models": {"m": {**model, **more}}, "agents": {"a": asks()}}
        path.write_text(yaml.safe_dump(whole))
        return reckoned(load(path, environ={}), items_of({}, {}))

    half, full = cost_of(provider_batch=True), cost_of()
    assert half.whole.high.usd == pytest.approx(share * full.whole.high.usd)
    assert half.seconds == (60.0, 86_400.0)
    assert half.constraints[0].name == "provider batches of model m, a minute to a day each"
    assert cost_of(provider_batch={"max_wait": "30s"}).seconds == (30.0, 30.0)
