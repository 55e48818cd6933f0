"""The cap holds, by the server's own bill: whatever answers say, or don't, about what they cost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from end_to_end.project import Project
from end_to_end.provider import Asked, Provider, Reply, good, refused

from agentbatch.kept.journal import open_journal
from agentbatch.results.files import ResultFiles

WORST_USD = 5.0
"""What a request can cost: the prompt is free, a token of the answer costs a dollar, and there are five at most."""
CAP_USD = 60.0
CONCURRENCY = 8
PATIENCE_S = 60.0


def configure(project: Project, model: dict[str, Any] | None = None, **sections: Any) -> None:
    settings = {"price": {"input": 0, "output": 1e6}, "params": {"max_tokens": 5}, "retries": 2, **(model or {})}
    project.configure(model=settings, **sections)


def with_usage(asked: Asked, usage: Any) -> Reply:
    answer = json.loads(good(asked.id).body)
    answer["usage"] = usage
    return Reply(json.dumps(answer))


def cut(asked: Asked) -> Reply:
    """The server has worked, and the connection breaks in the middle of the answer."""
    whole = good(asked.id).bytes()
    return Reply(raw=whole[: len(whole) - 40], then="reset")


SCRIPTS: dict[str, Callable[[Asked], Reply]] = {
    "right": lambda asked: good(asked.id),
    "no usage": lambda asked: with_usage(asked, None),
    "negative": lambda asked: with_usage(asked, {"prompt_tokens": -1, "completion_tokens": -5}),
    "text": lambda asked: with_usage(asked, {"prompt_tokens": "10", "completion_tokens": "5"}),
    "huge": lambda asked: with_usage(asked, {"prompt_tokens": 10**18, "completion_tokens": 10**18}),
    "a list": lambda asked: with_usage(asked, [1, 2]),
    "cut": cut,
    "cut once": lambda asked: cut(asked) if asked.attempt == 1 else good(asked.id),
    "hangs": lambda asked: Reply(then="hang", raw=b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n{"),
    "refused once": lambda asked: refused("500 No") if asked.attempt == 1 else good(asked.id),
}
FREE = {"refused once"}
"""Of these, the first request of an item is not billed."""


def billed(provider: Provider, script: str = "") -> float:
    requests = [asked for asked in provider.requests if not (script in FREE and asked.attempt == 1)]
    return WORST_USD * len(requests)


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_servers_bill_stays_within_the_cap(project: Project, provider: Provider, script: str) -> None:
    configure(project, {"timeout": "300ms"} if script == "hangs" else None)
    project.give(100)
    provider.script = SCRIPTS[script]
    ended = project.run("--max-cost", str(CAP_USD), "--set", "limits.breaker.same_error=0", "--max-failures", "100%")
    assert ended.code == 3, ended.stderr
    assert billed(provider, script) <= CAP_USD
    if script in ("right", "refused once"):
        assert billed(provider, script) == CAP_USD, "and all of it is used"


@pytest.mark.parametrize("script", ["right", "no usage", "cut once"])
def test_a_continued_run_counts_what_was_spent_before(project: Project, provider: Provider, script: str) -> None:
    configure(project)
    project.give(100)
    provider.script = SCRIPTS[script]
    assert project.run("--max-cost", "20").code == 3
    assert billed(provider) <= 20
    assert project.run("--max-cost", "20").code == 3
    assert billed(provider) <= 20
    assert project.run("--max-cost", str(CAP_USD)).code == 3
    assert 20 < billed(provider) <= CAP_USD


def on_disk(project: Project) -> float:
    """What lines of results, and the journal of unfinished items, say was spent."""
    with closing(open_journal(ResultFiles(project.results).journal)) as database:
        costs = dict(database.execute("SELECT item, usd FROM costs"))
    for line in project.lines():
        costs[line["index"]] = line["cost_usd"]
    return sum(costs.values())


@pytest.mark.parametrize("kill", [False, True], ids=["at its cap", "killed"])
def test_repeated_at_its_cap_a_run_of_several_steps_never_passes_it(
    project: Project, provider: Provider, kill: bool
) -> None:
    """What earlier runs paid for items that they did not finish counts from the first request on."""
    configure(project, agents=AGENTS, workflow=["a", "b", "c"])
    project.give(100)
    provider.script = lambda asked: good(asked.id, delay=0.05)
    lost = 0.0
    if kill:
        with project.start("--max-cost", str(CAP_USD)) as running:
            until = time.monotonic() + PATIENCE_S
            while len(provider.requests) < 10:
                assert time.monotonic() < until
                time.sleep(0.005)
            running.kill()
        lost = billed(provider) - on_disk(project)
        assert lost <= 3 * CONCURRENCY * WORST_USD, "what was in flight, or answered and not yet written"
    for _ in range(4):
        assert project.run("--max-cost", str(CAP_USD)).code == 3
    assert billed(provider) <= CAP_USD + lost
    asked = len(provider.requests)
    ended = project.run("--max-cost", str(2 * CAP_USD))
    assert ended.code == 3, ended.stderr
    assert asked < len(provider.requests)
    assert billed(provider) <= 2 * CAP_USD + lost


def test_a_dearer_model_that_stands_in_is_reckoned_at_its_own_price(project: Project, provider: Provider) -> None:
    """The first model refuses half of the items; the other one takes them, at twice the price."""
    dear = {
        "provider": "openai",
        "model": "dear-model",
        "base_url": project.base_url,
        "api_key": "${TEST_KEY}",
        "price": {"input": 0, "output": 2e6},
        "params": {"max_tokens": 5},
    }
    configure(project, {"fallbacks": ["dear"], "retries": 0})
    project.config["models"]["dear"] = dear
    (project.folder / "config.yaml").write_text(json.dumps(project.config))
    project.give(100)
    asked_dear: list[Asked] = []

    def script(asked: Asked) -> Reply:
        if b"dear-model" in asked.body:
            asked_dear.append(asked)
            return good(asked.id)
        return refused("503 No") if int(asked.id) % 2 else good(asked.id)

    provider.script = script
    assert project.run("--max-cost", str(CAP_USD)).code == 3
    cheap = sum(asked.status == 200 for asked in provider.requests) - len(asked_dear)
    assert cheap * WORST_USD + len(asked_dear) * 2 * WORST_USD <= CAP_USD
    assert len(asked_dear) > 1


AGENTS: dict[str, Any] = {
    name: {"model": "m", "prompt": "item={{ item.id }};" + name + " {{ input.text }}"} for name in ("a", "b", "c")
}
FLOWS: dict[str, dict[str, Any]] = {
    "parallel": {"groups": {"g": {"parallel": ["a", "b", "c"]}}, "workflow": "g"},
    "loop": {"groups": {"g": {"loop": ["a", "b"], "until": "false", "max_iterations": 5}}, "workflow": "g"},
    "copies": {"groups": {"g": {"parallel": [{"agent": "a", "copies": 6}]}}, "workflow": "g"},
    "for_each": {"agents": {**AGENTS, "a": {**AGENTS["a"], "for_each": "[1, 2, 3, 4]"}}, "workflow": ["a", "b"]},
}


@pytest.mark.parametrize("flow", FLOWS)
def test_the_cap_holds_in_flows_killed_and_continued(project: Project, provider: Provider, flow: str) -> None:
    sections = {"agents": AGENTS, **FLOWS[flow]}
    configure(project, {"max_concurrency": 6}, **sections)
    project.give(60)
    provider.script = lambda asked: good(asked.id, delay=0.02)
    kills, under_way = 3, 0
    for _ in range(kills):
        before = len(provider.requests)
        with project.start("--max-cost", str(CAP_USD)) as running:
            until = time.monotonic() + PATIENCE_S
            while len(provider.requests) < before + 3 and running.process.poll() is None:
                assert time.monotonic() < until
                time.sleep(0.005)
            under_way += provider.in_flight
            running.kill()
    assert project.run("--max-cost", str(CAP_USD)).code == 3
    assert billed(provider) <= CAP_USD + kills * 6 * WORST_USD, "the cap, and what was in flight at each kill"


def test_cached_answers_cost_nothing_and_pass_no_cap(project: Project, provider: Provider) -> None:
    configure(project, cache={"path": "cache.sqlite"})
    project.give(10)
    assert project.run("--max-cost", "50").code == 0
    assert billed(provider) == 50
    ended = project.run("--max-cost", "0.01", "-o", "again.jsonl", "--json")
    assert ended.code == 0, ended.stderr
    assert ended.summary["cost_usd"] == 0
    assert len(provider.requests) == 10


def test_what_may_be_billed_stands_in_the_line_and_in_no_cost(project: Project, provider: Provider) -> None:
    configure(project)
    project.give(3)
    provider.script = SCRIPTS["cut once"]
    ended = project.run("--json")
    assert ended.code == 0, ended.stderr
    assert ended.summary["cost_usd"] == 3 * WORST_USD
    assert ended.summary["possibly_billed"] == 3
    for line in project.lines():
        assert (line["cost_usd"], line["possibly_billed_usd"]) == (WORST_USD, WORST_USD)


def test_an_answer_without_usage_has_no_cost_and_never_zero(project: Project, provider: Provider) -> None:
    configure(project)
    project.give(1)
    provider.script = SCRIPTS["no usage"]
    assert project.run().code == 0
    (line,) = project.lines()
    assert line["cost_usd"] is None
    assert line["possibly_billed_usd"] == WORST_USD


ITEM_CAP = "limits.item_max_cost=12"
"""Two requests, and not a third."""


@pytest.mark.parametrize("script", ["right", "no usage", "cut once"])
@pytest.mark.parametrize("flow", FLOWS)
def test_an_item_costs_no_more_than_it_may(project: Project, provider: Provider, flow: str, script: str) -> None:
    configure(project, **{"agents": AGENTS, **FLOWS[flow]})
    project.give(6)
    provider.script = SCRIPTS[script]
    assert project.run("--set", ITEM_CAP, "--set", "limits.breaker.same_error=0").code == 1
    assert max(provider.counts.values()) == 2, "requests of one item"
    for line in project.lines():
        assert line["status"] == "error"
        assert line["error"]["type"] == "max_cost"
        assert "item_max_cost $12 is reached: $10.0000 spent" in line["error"]["message"]


def test_an_item_that_is_cheaper_than_it_could_be_comes_to_its_end(project: Project, provider: Provider) -> None:
    """Three requests at once that could cost 15 dollars, and cost 3: one waits for the others."""
    configure(project, **{"agents": AGENTS, **FLOWS["parallel"]})
    project.give(4)
    provider.script = lambda asked: with_usage(asked, {"prompt_tokens": 3, "completion_tokens": 1})
    ended = project.run("--set", ITEM_CAP, "--json")
    assert ended.code == 0, ended.stderr
    assert ended.summary["cost_usd"] == 12


def test_calls_that_were_paid_before_a_crash_count_for_their_item(project: Project, provider: Provider) -> None:
    configure(project, {"max_concurrency": 2}, **{"agents": AGENTS, **FLOWS["loop"]})
    project.give(1)
    provider.script = lambda asked: good(asked.id, delay=0.5 if asked.attempt == 2 else 0.0)
    with project.start("--set", ITEM_CAP) as running:
        provider.wait_for(2)
        running.kill()
    assert project.run("--set", ITEM_CAP).code == 1
    assert len(provider.requests) == 3, "the first is kept, the second was in flight, and there is no third"


def test_an_item_cap_needs_prices_too(project: Project, provider: Provider) -> None:
    configure(project, {"price": None, "model": "nobody-knows-this-one"})
    project.give(1)
    ended = project.run("--set", ITEM_CAP)
    assert ended.code == 2
    assert "price" in ended.stderr
    assert not provider.requests
