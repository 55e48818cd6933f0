import json

from recorded_run import item_result

from agentbatch.results.stats import ResultStats, agent_of, render_stats


def lines(*encoded: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in encoded]


def test_sums_and_percentiles() -> None:
    stats = ResultStats(
        lines(
            *(item_result(number, number, seconds=number / 10) for number in range(1, 101)),
            item_result("bad", 101, "error", seconds=0.1, cost=None),
            item_result("out", 102, "skipped", seconds=0.0),
        )
    )
    document = stats.document()
    assert document["items"] == 102
    assert document["statuses"] == {"error": 1, "ok": 100, "skipped": 1}
    assert abs(document["worked_s"]["p50"] - 5.0) < 0.3
    assert document["worked_s"]["max"] == 10.0
    assert document["worked_s"]["p99"] <= 10.0
    assert document["input_tokens"] == 12 * 102
    assert (document["cost_usd"], document["known_cost_usd"]) == (None, 0.202)
    assert document["errors"] == [
        {"type": "server", "count": 1, "example": {"id": "bad", "agent": "writer", "message": "it broke"}}
    ]
    assert document["agents"]["writer"]["statuses"] == {"error": 1, "ok": 100, "skipped": 1}


def test_iterations_and_copies_are_one_agent_and_groups_are_none() -> None:
    step = {"status": "ok", "duration_s": 1.0, "cost_usd": 0.1}
    group = {**step, "kind": "loop"}
    agents = {"refine": group, "refine[1].critic": step, "refine[2].critic": step, "critic#2": step, "judge[3]": step}
    stats = ResultStats([{"id": 1, "status": "ok", "agents": agents}])
    assert {name: sums.statuses["ok"] for name, sums in stats.agents.items()} == {"critic": 3, "judge": 1}
    assert agent_of("a[1].b[2]#3") == "b"


def test_lines_without_their_optional_parts() -> None:
    stats = ResultStats(
        [{"id": 1, "status": "ok"}, {"id": 2, "status": "error", "error": {"type": "input", "message": "x"}}]
    )
    assert stats.document()["cost_usd"] is None
    assert "1 ok, 1 error" in render_stats(stats)
    assert ResultStats([]).document()["worked_s"]["p50"] is None
    assert "none" in render_stats(ResultStats([]))


def test_the_text_says_it_all_and_steers_nothing() -> None:
    stats = ResultStats(
        lines(item_result("\x1b[2J", 0, "error", error=("server", "\x1b]0;x\x07")), item_result("b", 1))
    )
    text = render_stats(stats, superseded=3)
    assert "items     1 ok, 1 error" in text
    assert "superseded by a later line of the same item: 3 lines" in text
    assert "writer" in text
    assert "\x1b" not in text
