from typing import Any

import orjson
import pytest
from run_files import result, step

from agentbatch.report.breakdown import AgentBook, Share
from agentbatch.report.result_lines import read_result


def shares(*lines: dict[str, Any]) -> dict[str, Share]:
    book = AgentBook()
    for agents in lines:
        line = read_result(1, orjson.dumps(result(1, agents=agents)))
        assert line is not None
        book.add(line.steps)
    return {name: row.share() for name, row in book.rows.items()}


def test_every_visit_of_an_agent_counts_wherever_it_stands() -> None:
    found = shares(
        {"refine": {"kind": "loop", "status": "ok", "cost_usd": 9.0}, "refine[1].writer": step(duration_s=2.0)},
        {"writer[2]": step(duration_s=4.0, queued_s=1.0), "critic": step(status="skipped", duration_s=0.0)},
    )
    assert set(found) == {"writer", "critic"}
    writer = found["writer"]
    assert (writer.ok, writer.attempts, writer.input_tokens, writer.output_tokens) == (2, 2, 20, 10)
    assert writer.cost_usd == pytest.approx(0.02)
    assert (writer.work.count, writer.work.p50, writer.work.longest, writer.queue.longest) == (2, 2.0, 4.0, 1.0)
    assert (found["critic"].skipped, found["critic"].work.count) == (1, 0)


def test_failures_by_type() -> None:
    error = {"type": "server", "message": "m", "agent": None, "http_status": None, "attempts": 2}
    found = shares(
        {"a": step(status="error", error=error)}, {"a": step(status="timeout")}, {"a": step(status="cancelled")}
    )
    assert (found["a"].failed, found["a"].ok, found["a"].errors) == (2, 0, {"server": 1, "timeout": 1})


def test_what_an_agent_spent_does_not_include_the_agents_it_called() -> None:
    usage = {"input_tokens": 100, "output_tokens": 50, "requests": 5}
    found = shares({"boss": step(usage=usage, cost_usd=0.5, attempts=5), "boss.helper": step(cost_usd=0.2, attempts=2)})
    assert (found["boss"].input_tokens, found["boss"].attempts) == (90, 3)
    assert found["boss"].cost_usd == pytest.approx(0.3)
    assert found["helper"].cost_usd == pytest.approx(0.2)


def test_an_unknown_price_is_not_nothing() -> None:
    found = shares({"a": step(cost_usd=None), "b": step(cost_usd=None)}, {"b": step(cost_usd=0.25)})
    assert (found["a"].cost_usd, found["a"].unpriced) == (None, 1)
    assert (found["b"].cost_usd, found["b"].unpriced) == (0.25, 1)
