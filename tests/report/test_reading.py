from pathlib import Path

import pytest
from run_files import BEGIN_NS, failed, result, simple_trace, span, step, trace, trace_id, write_results

from agentbatch.errors import InputError
from agentbatch.report.reading import ItemTable, RunFigures, read_figures, read_run
from agentbatch.results import format_time

SECOND = 10**9


def read(folder: Path, lines: list[object], traces: list[bytes] | None = None) -> tuple[RunFigures, ItemTable]:
    results = write_results(folder / "r.results.jsonl", *lines)  # type: ignore[arg-type]
    if traces is None:
        return read_run(results, None)
    path = folder / "r.results.traces.jsonl"
    path.write_bytes(b"".join(traces))
    return read_run(results, path)


def test_the_sums_of_a_run(tmp_path: Path) -> None:
    lines = [
        result(1, agents={"writer": step()}, duration_s=1.0),
        failed(2, "auth", agents={"writer": step(status="error")}, duration_s=3.0, queued_s=0.5),
        result(3, status="skipped", output=None, cost_usd=0.0, started_at=format_time(BEGIN_NS + 4 * SECOND)),
    ]
    run, table = read(tmp_path, lines, [simple_trace(1), simple_trace(2, 0.5, 3.5, attempt=2), simple_trace(3, 4, 5)])
    assert run.counts == {"ok": 1, "error": 1, "skipped": 1}
    assert (run.lines, run.superseded, run.traced, run.unfinished) == (3, 0, 3, 0)
    assert (run.input_tokens, run.output_tokens, run.requests) == (30, 15, 3)
    assert run.cost_usd == pytest.approx(0.02)
    assert (run.work.longest, run.queue.longest) == (3.0, 0.5)
    assert run.course.active_s == pytest.approx(5.0)
    (writer,) = run.agents
    assert (writer.name, writer.ok, writer.failed, writer.retries) == ("writer", 1, 1, 1)
    (small,) = run.models
    assert (small.name, small.provider, small.attempts, small.ok, small.retries) == ("small", "openai", 3, 3, 1)
    assert small.cost_usd == pytest.approx(0.03)
    assert (small.work.count, small.work.longest) == (3, 3.0)
    assert (table.total, table.rows, list(table.places), list(table.dead)) == (3, 3, [1, 2, 3], [])


def test_failed_attempts_are_grouped_and_never_called_latency(tmp_path: Path) -> None:
    bad = {"status": "error", "error_type": "rate_limited", "possibly_billed": True, "cost_usd": None}
    traces = [
        trace(
            1,
            span("chat", "small", 3, 2, 0, 9, provider="p", attempt=1, error_message="slow down", **bad),
            span("chat", "small", 4, 2, 9, 10, provider="p", attempt=2, input_tokens=1, output_tokens=1, cost_usd=0.5),
            span("agent", "writer", 2, 1, 0, 10, path="writer"),
            span("item", "item", 1, None, 0, 10),
        )
    ]
    run, _ = read(tmp_path, [result(1)], traces)
    (refused,) = run.refusals
    assert (refused.type, refused.model, refused.count, refused.message) == ("rate_limited", "small", 1, "slow down")
    assert (run.models[0].work.count, run.models[0].work.longest) == (1, 1.0)
    assert (run.models[0].unpriced, run.models[0].cost_usd) == (0, 0.5)
    assert (run.retries, run.possibly_billed) == (1, 1)
    (stretch,) = run.course.stretches
    assert sum(stretch.failures["rate_limited"]) == 1


def test_answers_that_were_kept_are_no_calls(tmp_path: Path) -> None:
    run, table = read(tmp_path, [result(1), result(2)], [simple_trace(1, recalled=True), simple_trace(2, cached=True)])
    assert run.models == []
    assert list(table.places) == [1, 2]


def test_superseded_lines_count_for_the_money_only(tmp_path: Path) -> None:
    lines = [failed(1, trace_id=trace_id(11)), result(2), result(1, trace_id=trace_id(12))]
    run, table = read(tmp_path, lines, [simple_trace(11), simple_trace(2), simple_trace(12)])
    assert (run.counts, run.errors) == ({"ok": 2}, [])
    assert (run.lines, run.superseded, run.traced) == (3, 1, 3)
    assert run.cost_usd == pytest.approx(0.03)
    assert (list(table.dead), list(table.places)) == ([0], [1, 2, 3])


def test_torn_ends_are_left_out_and_told(tmp_path: Path) -> None:
    torn = simple_trace(2)[:200]
    run, _ = read(tmp_path, [result(1), b'{"id":"2","ind'], [simple_trace(1), b"{}\n", torn])
    assert (run.lines, run.bad_lines, run.traced, run.bad_traces) == (1, [2], 1, 2)


def test_results_without_traces(tmp_path: Path) -> None:
    run, table = read(tmp_path, [result(1, agents={"writer": step()}), failed(2)])
    assert (run.traces, run.retries, run.models, run.refusals) == (None, None, [], [])
    assert run.agents[0].retries is None
    assert run.course.active_s == pytest.approx(1.0)
    assert (list(table.places), list(table.timeline_blocks)) == ([0, 0], [])


def test_a_trace_file_with_nothing_readable_is_none(tmp_path: Path) -> None:
    run, _ = read(tmp_path, [result(1)], [b"\x00\x00\x00"])
    assert (run.traces, run.bad_traces) == (None, 1)


def test_results_without_agents_and_usage_take_them_from_the_traces(tmp_path: Path) -> None:
    lines = [{key: value for key, value in result(1).items() if key not in ("agents", "usage")}]
    run, _ = read(tmp_path, lines, [simple_trace(1, queued_s=0.25)])
    (writer,) = run.agents
    assert (writer.name, writer.ok, writer.attempts, writer.input_tokens) == ("writer", 1, 1, 10)
    assert (run.input_tokens, run.output_tokens, run.requests) == (10, 5, 1)


def test_old_lines_without_most_fields(tmp_path: Path) -> None:
    run, table = read(tmp_path, [{"id": 1, "status": "ok"}, {"id": 2, "status": "error"}])
    assert run.counts == {"ok": 1, "error": 1}
    assert (run.cost_usd, run.unpriced, run.course.active_s) == (None, 2, 0.0)
    assert [(group.type, group.count) for group in run.errors] == [("error", 1)]
    assert table.rows == 2


def test_items_that_were_stopped_are_still_to_do(tmp_path: Path) -> None:
    def stopped(number: int) -> bytes:
        facts = {"item.id": str(number), "status": "stopped"}
        return trace(90 + number, span("item", "item", 1, None, 0, 1, **facts))

    run, _ = read(tmp_path, [result(1)], [stopped(1), stopped(2), stopped(2), simple_trace(1)])
    assert (run.unfinished, run.traced) == (1, 1)


def test_the_figures_alone_are_the_same(tmp_path: Path) -> None:
    run, _ = read(tmp_path, [result(1), failed(2)], [simple_trace(1)])
    alone = read_figures(run.results, run.traces)
    assert (alone.counts, alone.cost_usd, alone.course, alone.models) == (
        run.counts,
        run.cost_usd,
        run.course,
        run.models,
    )


def test_an_empty_run(tmp_path: Path) -> None:
    run, table = read(tmp_path, [], [])
    assert (run.counts, run.lines, run.cost_usd, run.course.stretches) == ({}, 0, 0.0, ())
    assert (table.rows, list(table.row_blocks)) == (0, [])


def test_what_is_no_results_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        read_run(tmp_path, None)
    with pytest.raises(InputError, match=r"missing\.jsonl: there is no such file"):
        read_run(tmp_path / "missing.jsonl", None)
    with pytest.raises(InputError, match=r"t\.jsonl: can't be read"):
        read_run(write_results(tmp_path / "r.jsonl", result(1)), tmp_path / "t.jsonl")
    with pytest.raises(InputError, match="has no result line"):
        read_run(write_results(tmp_path / "in.jsonl", b'{"product": "lamp"}\n'), None)
