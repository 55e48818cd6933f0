import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from progress.scripted_run import ScriptedRun

from agentbatch.progress.tally import AgentStats, Counts, Tally
from agentbatch.text.redact import Redactor
from agentbatch.trace import Span, Tracer


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def tracer(tally: Tally) -> Tracer:
    return Tracer([tally])


def agent(tally: Tally, name: str) -> AgentStats:
    return next(stats for stats in tally.counts().agents if stats.name == name)


def end_agent(tracer: Tracer, seconds: float, queued_s: float) -> None:
    span = tracer.start("writer", "agent")
    tracer.work(span)
    span.began -= seconds
    span.attributes["queued_s"] = queued_s
    tracer.end(span)


def test_an_agent_is_queued_then_running_then_done(tally: Tally, tracer: Tracer) -> None:
    def where() -> tuple[int, int, int]:
        stats = agent(tally, "writer")
        return stats.queued, stats.running, stats.done

    span = tracer.start("writer", "agent")
    assert where() == (1, 0, 0)
    tracer.work(span)
    tracer.work(span)
    assert where() == (0, 1, 0)
    tracer.end(span)
    assert where() == (0, 0, 1)


@pytest.mark.parametrize(
    ("status", "field"),
    [("ok", "done"), ("error", "failed"), ("timeout", "failed"), ("skipped", "skipped"), ("cancelled", None)],
)
def test_each_end_counts_where_it_belongs(tally: Tally, tracer: Tracer, status, field: str | None) -> None:
    tracer.end(tracer.start("writer", "agent"), status)
    stats = agent(tally, "writer")
    assert {name: getattr(stats, name) for name in ("queued", "running", "done", "failed", "skipped")} == {
        name: int(name == field) for name in ("queued", "running", "done", "failed", "skipped")
    }


def test_calls_count_for_the_agent_that_made_them(tally: Tally, tracer: Tracer) -> None:
    run = ScriptedRun(tracer, ("writer", "critic"))
    run.item(1, retries=2)
    writer, critic = agent(tally, "writer"), agent(tally, "critic")
    assert (writer.calls, writer.retries) == (3, 2)
    assert (writer.input_tokens, writer.output_tokens) == (120, 80)
    assert critic.calls == 3
    assert [stats.name for stats in tally.counts().agents] == ["writer", "critic"]


def test_groups_and_tools_are_no_agents(tally: Tally, tracer: Tracer) -> None:
    tracer.end(tracer.start("refine", "group"))
    tracer.end(tracer.start("search", "tool"))
    assert tally.counts().agents == ()


def test_rows_of_known_agents_stand_from_the_beginning() -> None:
    assert [stats.name for stats in Tally(("b", "a")).counts().agents] == ["b", "a"]


def test_an_unknown_price_makes_the_sum_unknown_for_good(tally: Tally, tracer: Tracer) -> None:
    priced, free = ScriptedRun(tracer, ("writer",), price=0.25), ScriptedRun(tracer, ("writer",), price=None)
    priced.item(1)
    assert (agent(tally, "writer").cost_usd, agent(tally, "writer").cost_known) == (0.25, True)
    free.item(2)
    priced.item(3)
    assert (agent(tally, "writer").cost_usd, agent(tally, "writer").cost_known) == (0.5, False)
    assert not tally.counts().cost_known


def test_a_failed_attempt_without_a_price_leaves_the_cost_known(tally: Tally, tracer: Tracer) -> None:
    ScriptedRun(tracer, ("writer",), price=0.25).item(1, retries=2)
    assert tally.counts().cost_known
    assert tally.counts().cost_usd == 0.25


def test_latency_is_work_without_the_queue(tally: Tally, tracer: Tracer) -> None:
    for number in range(100):
        end_agent(tracer, seconds=12 if number >= 90 else 3, queued_s=2)
    stats = agent(tally, "writer")
    assert stats.p50_s == pytest.approx(1, rel=0.05)
    assert stats.p95_s == pytest.approx(10, rel=0.05)
    assert stats.queued_p95_s == pytest.approx(2, rel=0.05)


def test_items_by_status_and_errors_by_type_with_the_first_example(tally: Tally, tracer: Tracer) -> None:
    run = ScriptedRun(tracer, ("writer", "critic"))
    run.item(1)
    run.item(2, ("timeout", "no answer"))
    run.item(3, ("server", "502 first"))
    run.item(4, ("server", "502 second"))
    counts = tally.counts()
    assert counts.items == {"ok": 1, "timeout": 1, "error": 2}
    assert (counts.items_ended, counts.items_failed) == (4, 3)
    assert [(group.type, group.count, group.item_id, group.agent, group.message) for group in counts.errors] == [
        ("server", 2, "3", "critic", "502 first"),
        ("timeout", 1, "2", "critic", "no answer"),
    ]


def test_stopped_items_have_not_ended(tally: Tally, tracer: Tracer) -> None:
    tracer.end(tracer.start("item", "item"), "stopped")
    assert tally.counts().items_ended == 0
    assert tally.counts().items == {"stopped": 1}


def test_an_error_before_any_agent_has_no_culprit(tally: Tally, tracer: Tracer) -> None:
    span = tracer.start("item", "item")
    span.attributes["item.id"] = 7
    tracer.end(span, "error", "input", "line 7: not JSON")
    (group,) = tally.counts().errors
    assert (group.item_id, group.agent) == ("7", None)


def test_failed_attempts_by_type_with_the_latest_message(tally: Tally, tracer: Tracer) -> None:
    run = ScriptedRun(tracer, ("writer",))
    span = tracer.start("writer", "agent")
    for number in range(3):
        run.call(span, number + 1, ("rate_limited", f"429 number {number}"))
    run.call(span, 4, ("server", "502"))
    assert [(one.type, one.count, one.agent, one.message) for one in tally.counts().refusals] == [
        ("rate_limited", 3, "writer", "429 number 2"),
        ("server", 1, "writer", "502"),
    ]


def test_attempts_that_may_be_billed_and_answers_from_the_cache(tally: Tally, tracer: Tracer) -> None:
    parent = tracer.start("writer", "agent")
    for attributes in ({"possibly_billed": True}, {"cached": True}, {}):
        span = tracer.start("m", "chat", parent)
        span.attributes.update(attributes)
        tracer.end(span)
    assert tally.counts().possibly_billed == 1
    assert agent(tally, "writer").cached == 1


def test_ends_without_beginnings_are_counted() -> None:
    """Spans of another machine arrive when their item has ended."""
    elsewhere, tally = Tracer(), Tally()
    root = ScriptedRun(elsewhere, ("writer",)).item(1)
    for span in root.tree:
        tally.on_end(span)
    stats = agent(tally, "writer")
    assert (stats.queued, stats.running, stats.done) == (0, 0, 1)
    assert sum(one.calls for one in tally.counts().agents) == 1


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["start", "work", "end"]))))
def test_no_order_of_events_counts_below_zero(events: list[tuple[int, str]]) -> None:
    tally = Tally()
    tracer, spans = Tracer([tally]), dict[int, Span]()
    for number, event in events:
        if event == "start" and number not in spans:
            spans[number] = tracer.start("a", "agent")
        elif number in spans:
            tracer.work(spans[number]) if event == "work" else tracer.end(spans.pop(number))
    assert tracer.observers, "the tally raised and was dropped"
    for stats in tally.counts().agents:
        assert stats.queued + stats.running == len(spans)
        assert min(stats.queued, stats.running) >= 0


def test_nothing_is_kept_of_items_that_have_ended(tally: Tally, tracer: Tracer) -> None:
    run = ScriptedRun(tracer, ("writer",))

    def spans_kept() -> int:
        gc.collect()
        return sum(isinstance(one, Span) for one in gc.get_objects())

    before = spans_kept()
    for number in range(50):
        run.item(number, ("server", "502"), retries=1)
    assert spans_kept() == before


def test_counts_can_be_read_while_they_change(tally: Tally, tracer: Tracer) -> None:
    run = ScriptedRun(tracer, tuple(f"agent_{number}" for number in range(30)))
    run.item(1)
    seen: Counts = tally.counts()
    run.item(2)
    assert seen.total("done") == 30
    assert tally.counts().total("done") == 60


def test_error_messages_are_given_away_without_secrets() -> None:
    tally = Tally(redact=Redactor(["sk-canary-0123456789"]).text)
    ScriptedRun(Tracer([tally]), ("writer",)).item(1, ("auth", "Incorrect API key provided: sk-canary-0123456789"))
    counts = tally.counts()
    assert counts.errors[0].message == counts.refusals[0].message == "Incorrect API key provided: [redacted]"


def test_what_an_earlier_run_answered_says_nothing_of_how_long_an_agent_takes(tally: Tally, tracer: Tracer) -> None:
    end_agent(tracer, 2.0, 0.0)
    span = tracer.start("writer", "agent")
    tracer.work(span)
    tracer.end(tracer.start("m", "chat", span, {"recalled": True}))
    tracer.end(span)
    stats = agent(tally, "writer")
    assert (stats.done, stats.calls) == (2, 0)
    assert stats.p50_s == pytest.approx(2.0, rel=0.1)


def test_what_other_processes_counted_is_in_the_rows_of_agents_and_models():
    near = Tally(("writer",))
    for source in ("w1", "w2"):
        far = Tally()
        tracer = Tracer([far])
        agent = tracer.start("writer", "agent")
        chat = tracer.start("gpt", "chat", agent, {"endpoint": "fast", "input_tokens": 3})
        tracer.end(chat)
        tracer.end(agent)
        near.take_in(source, far.part())
    (writer,), (fast,) = near.counts().agents, near.counts().models
    assert (writer.name, writer.done, writer.calls, writer.input_tokens) == ("writer", 2, 2, 6)
    assert (fast.name, fast.calls, fast.input_tokens) == ("fast", 2, 6)


def test_calls_under_a_span_of_another_process_are_its_agents():
    tally = Tally(("writer",))
    tracer = Tracer([tally])
    elsewhere = Tracer().start("writer", "agent")
    tally.work_for("writer", elsewhere.span_id)
    tracer.end(tracer.start("gpt", "chat", elsewhere))
    tally.end_work_for(elsewhere.span_id)
    (writer,) = tally.counts().agents
    assert (writer.calls, writer.done, writer.running) == (1, 0, 0)
