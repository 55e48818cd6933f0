import os
import time
from pathlib import Path

from progress.scripted_run import ScriptedRun
from recorded_run import BEGAN_NS, SECOND, Recorder, item_result, write_traces

from agentbatch.files.lock import Holder
from agentbatch.progress import Tally
from agentbatch.progress.tally import Counts
from agentbatch.trace import Tracer
from agentbatch.watch import RunWatch, replay, spans_of_result


def holder(**facts: object) -> Holder:
    return Holder(1, "here", "then", {"began_ns": BEGAN_NS} | facts)


def figures(counts: Counts) -> list[tuple[object, ...]]:
    return [
        (a.name, a.queued, a.running, a.done, a.failed, a.calls, a.retries, a.input_tokens, a.cost_usd)
        for a in counts.agents
    ]


def test_traces_are_counted_as_they_come(tmp_path: Path) -> None:
    recorder = Recorder()
    results, traces = tmp_path / "r.jsonl", tmp_path / "r.traces.jsonl"
    write_traces(traces, [recorder.trace("a", retried=True), recorder.trace("old", began_ns=BEGAN_NS - SECOND)])
    watch = RunWatch(results, holder(total=10, before=1))
    assert (watch.total, watch.before) == (9, 1)
    watch.update()
    write_traces(traces, [recorder.trace("b", "error"), recorder.trace("c", stopped=True)], append=True)
    watch.update()
    watch.update()
    counts = watch.tally.counts()
    assert (dict(counts.items), counts.items_ended) == ({"ok": 1, "error": 1, "stopped": 1}, 2)
    (agent,) = counts.agents
    assert (agent.done, agent.failed, agent.calls, agent.retries, agent.running) == (1, 1, 4, 1, 0)
    assert [(group.type, group.item_id) for group in counts.errors] == [("server", "b")]
    assert {refusal.type for refusal in counts.refusals} == {"rate_limited", "server"}


def test_without_traces_the_results_are_counted(tmp_path: Path) -> None:
    results = tmp_path / "r.jsonl"
    results.write_bytes(item_result("a") + item_result("b", 1, "error") + b'{"id":"torn')
    watch = RunWatch(results, holder())
    assert watch.total is None
    watch.update()
    counts = watch.tally.counts()
    assert dict(counts.items) == {"ok": 1, "error": 1}
    (agent,) = counts.agents
    assert (agent.done, agent.failed, agent.calls, agent.input_tokens, agent.output_tokens) == (1, 1, 2, 24, 68)
    assert abs((agent.p50_s or 0) - 1.0) < 0.05
    assert agent.cost_usd == 0.004


def test_results_put_in_order_at_the_end_are_not_counted_twice(tmp_path: Path) -> None:
    results = tmp_path / "r.jsonl"
    results.write_bytes(item_result("b", 1) + item_result("a"))
    watch = RunWatch(results, holder())
    watch.update()
    (tmp_path / "new").write_bytes(item_result("a") + item_result("b", 1))
    os.replace(tmp_path / "new", results)
    watch.update()
    assert watch.tally.counts().items_ended == 2


def test_a_replayed_trace_counts_as_the_run_itself_counted_it() -> None:
    seen, replayed = Tally(), Tally()
    run = ScriptedRun(Tracer([seen]), ("first", "second"))
    trees = []
    for number in range(1, 6):
        root = run.item(number, ("server", "boom") if number == 2 else None, retries=number % 3)
        trees.append(list(root.tree))
    for tree in trees:
        replay(tree, replayed)
    assert figures(replayed.counts()) == figures(seen.counts())
    assert replayed.counts().items == seen.counts().items
    assert [group.count for group in replayed.counts().errors] == [1]


def test_the_time_that_a_run_has_been_going(tmp_path: Path) -> None:
    an_hour_ago = time.time_ns() - 3600 * SECOND
    watch = RunWatch(tmp_path / "r.jsonl", holder(began_ns=an_hour_ago))
    assert 3600 <= watch.tally.counts().elapsed_s < 3700
    assert RunWatch(tmp_path / "r.jsonl", Holder(1, "here", "then", {})).tally.counts().elapsed_s < 60


def test_groups_are_no_agents_and_lines_that_are_none_are_nothing() -> None:
    line = b'{"id":1,"status":"ok","agents":{"both":{"kind":"parallel","status":"ok"},"x[2].w":{"status":"ok"}}}'
    assert [(span.kind, span.name) for span in spans_of_result(line)] == [("agent", "w"), ("item", "item")]
    assert spans_of_result(b"{}") == []
