from dataclasses import replace

from recorded_run import BEGAN_NS, SECOND, Recorder

from agentbatch.trace import Span
from agentbatch.traces.tree import Node, tree_of_result, tree_of_spans


def span(name: str, what: str, ident: str, parent: str | None, start: float, end: float, **attributes: object) -> Span:
    begun = Span(name, what, "0" * 32, ident, parent, BEGAN_NS + int(start * SECOND), [], dict(attributes))  # type: ignore[arg-type]
    begun.end_ns = BEGAN_NS + int(end * SECOND)
    return begun


def tree(*spans: Span) -> Node:
    root = tree_of_spans(list(spans))
    assert root is not None
    return root


def test_queues_stand_apart_from_work() -> None:
    root = tree(*Recorder().trace("a", queued=1.0, seconds=3.0))
    (agent,) = root.children
    (attempt,) = agent.children
    assert (root.label, agent.label, attempt.label) == ("item a", "writer", "mock-1")
    assert (root.kind, agent.kind, attempt.kind) == ("item", "chat", "attempt")
    assert root.stay == agent.stay == (0.0, 4.0)
    assert root.work == agent.work == attempt.work == ((1.0, 4.0),)
    assert (agent.duration_s, agent.queued_s) == (3.0, 1.0)
    assert (root.requests, root.input_tokens, root.output_tokens, root.cost_usd) == (1, 12, 34, 0.002)


def test_a_sleep_before_a_retry_is_no_work() -> None:
    root = tree(*Recorder().trace("a", queued=0.0, seconds=4.0, retried=True))
    assert root.work == ((0.0, 1.0), (2.0, 4.0))
    first, second = root.children[0].children
    assert (first.status, first.notes) == ("error", ("rate_limited (429): slow down",))
    assert second.notes == ("attempt 2",)
    assert root.requests == 2


def test_members_that_overlap_are_one_stretch_of_work() -> None:
    root = tree(
        span("a", "agent", "2", "4", 0.0, 2.0, path="a", kind="command"),
        span("b", "agent", "3", "4", 1.0, 3.0, path="b", kind="command"),
        span("both", "group", "4", "5", 0.0, 3.0, path="both", kind="parallel"),
        span("item", "item", "5", None, 0.0, 5.0, **{"item.id": 7}),
    )
    assert root.label == "item 7"
    assert root.work == ((0.0, 3.0),)
    assert [node.label for node in root.children[0].children] == ["a", "b"]


def test_steps_stand_in_the_order_in_which_they_began_and_have_the_last_part_of_their_path() -> None:
    root = tree(
        span("critic", "agent", "1", "3", 1.0, 2.0, path="refine[2].critic"),
        span("writer", "agent", "2", "3", 0.0, 1.0, path="refine[2].writer"),
        span("refine", "group", "3", "4", 0.0, 2.0, path="refine[2]", kind="iteration"),
        span("item", "item", "4", None, 0.0, 2.0),
    )
    (iteration,) = root.children
    assert (iteration.label, iteration.kind) == ("refine[2]", "iteration")
    assert [node.label for node in iteration.children] == ["writer", "critic"]


def test_an_unknown_price_makes_the_whole_unknown_and_a_failed_attempt_does_not() -> None:
    failed = span("m", "chat", "1", "3", 0.0, 1.0)
    failed.status, failed.error_type = "error", "server"
    answered = span("m", "chat", "2", "3", 1.0, 2.0)
    end = [span("w", "agent", "3", "4", 0.0, 2.0), span("item", "item", "4", None, 0.0, 2.0)]
    assert tree(failed, answered, *end).cost_usd is None
    assert tree(failed, *end).cost_usd == 0.0


def test_a_failure_is_told_where_it_happened() -> None:
    root = tree(*Recorder().trace("a", "error", error=("bad_request", "no such model"), request_id="req-1"))
    assert root.notes == root.children[0].notes == ()
    assert root.children[0].children[0].notes == ("bad_request: no such model", "request req-1")
    refused = tree(*Recorder().trace("a", "error", error=("input", "no JSON"))[-1:])
    assert refused.notes == ("input: no JSON",)


def test_damaged_trees_are_shown_as_far_as_they_go() -> None:
    orphan = span("w", "agent", "1", "gone", 0.0, 1.0, path="w")
    circle = [span("x", "agent", "7", "8", 0.0, 1.0), span("y", "agent", "8", "7", 0.0, 1.0)]
    root = tree(orphan, *circle, span("item", "item", "4", None, 0.0, 2.0))
    assert [node.label for node in root.children] == ["w"]
    assert tree_of_spans([orphan]) is None
    assert tree_of_spans([]) is None


def test_a_chain_deeper_than_any_config_ends() -> None:
    chain = [span("w", "agent", str(at), str(at + 1), 0.0, 1.0) for at in range(1, 5000)]
    node, depth = tree(*chain, span("item", "item", "5000", None, 0.0, 2.0)), 0
    while node.children:
        node, depth = node.children[0], depth + 1
    assert depth == 100


def test_a_result_line_has_durations_but_no_places_in_time() -> None:
    step = {"status": "ok", "duration_s": 1.5, "queued_s": 0.5, "usage": {"input_tokens": 3, "requests": 1}}
    error = {"type": "server", "message": "boom", "agent": "critic", "http_status": 500}
    root = tree_of_result(
        {
            "id": "a",
            "status": "error",
            "error": error,
            "duration_s": 2.0,
            "queued_s": 0.5,
            "cost_usd": None,
            "agents": {
                "refine": {**step, "kind": "loop"},
                "refine[1]": {**step, "kind": "iteration"},
                "refine[1].writer": step,
                "refine[1].critic": {**step, "status": "error", "error": error},
            },
        }
    )
    assert (root.stay, root.notes, root.cost_usd) == (None, ("server (500) in critic: boom",), None)
    assert [node.label for node in root.children] == ["refine", "refine[1]"]
    assert [node.label for node in root.children[1].children] == ["writer", "critic"]
    assert root.children[1].children[0].input_tokens == 3
    assert tree_of_result({"id": 1, "status": "ok"}).children == ()
    assert replace(root, children=()).duration_s == 2.0
