import pytest

from agentbatch.trace import Span, SpanKind, Tracer
from agentbatch.traces.longest import longest_step


def ended(
    tracer: Tracer, name: str, kind: SpanKind, parent: Span | None, seconds: float, queued_s: float = 0.0
) -> Span:
    span = tracer.start(name, kind, parent)
    tracer.end(span)
    span.end_ns = span.start_ns + int((seconds + queued_s) * 1e9)
    span.attributes["queued_s"] = queued_s
    return span


def test_the_agent_or_tool_that_worked_longest_is_named_with_all_its_turns() -> None:
    tracer = Tracer()
    item = tracer.start("item", "item")
    group = tracer.start("refine", "group", item)
    spans = [ended(tracer, "writer", "agent", group, 2.0) for _ in range(3)]
    spans += [ended(tracer, "critic", "agent", group, 5.0), ended(tracer, "queued", "agent", group, 1.0, queued_s=60.0)]
    longest = longest_step([*spans, group, item])
    assert longest is not None
    assert (longest.name, longest.seconds) == ("writer", pytest.approx(6.0))


def test_an_agent_is_not_blamed_for_the_tools_and_agents_that_it_calls() -> None:
    tracer = Tracer()
    item = tracer.start("item", "item")
    supervisor = ended(tracer, "supervisor", "agent", item, 10.0)
    tool = ended(tracer, "ask_expert", "tool", supervisor, 9.0)
    expert = ended(tracer, "expert", "agent", tool, 8.5)
    chat = ended(tracer, "gpt", "chat", expert, 8.0)
    longest = longest_step([chat, expert, tool, supervisor, item])
    assert longest is not None
    assert (longest.name, longest.seconds) == ("expert", pytest.approx(8.5))


def test_an_item_without_steps_has_none() -> None:
    assert longest_step([Tracer().start("item", "item")]) is None
