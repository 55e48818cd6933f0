"""The one door: books, deadlines, permits, paths, and how an ending becomes data."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from fake_time import run_in_fake_time
from scripted import SpanList, visit_of

from agentbatch.errors import RunStopped, ServerFault, StepTimeout
from agentbatch.items import Output, Result, Scope
from agentbatch.limits import Permits
from agentbatch.messages import Usage
from agentbatch.step import Bounded, Step, Terms, Visit
from agentbatch.templates import NOT_RUN, Condition, Value

SCOPE = Scope({"input": {}, "vars": {}})


@dataclass(frozen=True)
class Doing:
    """A runnable that does what a test says."""

    what: Callable[[Scope, Visit], Awaitable[Output]]
    kind: str = "chat"

    async def run(self, scope: Scope, visit: Visit) -> Output:
        return await self.what(scope, visit)


async def _value(scope: Scope, visit: Visit) -> Output:
    return Output("value")


async def _working(scope: Scope, visit: Visit) -> Output:
    """Three seconds of work, two of queueing in between."""
    for seconds, work in ((1, True), (2, False), (2, True)):
        if work:
            visit.begin_work()
        await asyncio.sleep(seconds)
        if work:
            visit.end_work()
    return Output("worked")


async def _counting(scope: Scope, visit: Visit) -> Output:
    visit.count(Usage(10, 5, 1), 0.5)
    raise ServerFault("no", http_status=500)


async def _bug(scope: Scope, visit: Visit) -> Output:
    raise ZeroDivisionError("ours")


async def _stop(scope: Scope, visit: Visit) -> Output:
    visit.count(Usage(1, 1, 1), None)
    raise RunStopped("enough")


async def _hang(scope: Scope, visit: Visit) -> Output:
    visit.begin_work()
    try:
        await asyncio.sleep(1e6)
    finally:
        visit.end_work()
    return Output(None)


def invoked(what: Callable[[Scope, Visit], Awaitable[Output]], terms: Terms | None = None) -> tuple[Result, Visit]:
    item = visit_of()

    async def main() -> Result:
        step = Step("a", Doing(what), terms=terms) if terms else Step("a", Doing(what))
        return await step.invoke(SCOPE, item)

    return run_in_fake_time(main()), item


def test_an_output_becomes_a_result_in_the_books_of_the_item() -> None:
    result, item = invoked(_value)
    assert (result.status, result.output, result.name, result.kind) == ("ok", "value", "a", "chat")
    assert item.steps == {"a": result}


def test_a_failure_becomes_data_with_what_it_cost() -> None:
    result, item = invoked(_counting)
    assert (result.status, result.output) == ("error", None)
    assert result.error is not None
    assert (result.error.type, result.error.agent, result.error.http_status, result.error.attempts) == (
        "server", "a", 500, 1,
    )  # fmt: skip
    assert (result.usage, result.cost_usd) == (Usage(10, 5, 1), 0.5)
    assert (item.input_tokens, item.output_tokens, item.requests, item.cost_usd) == (10, 5, 1, 0.5)


def test_a_bug_is_loud_and_only_this_items(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        result, _ = invoked(_bug)
    assert result.error is not None
    assert (result.error.type, result.error.message) == ("internal", "ZeroDivisionError: ours")
    assert "step a failed on item 1" in caplog.text


def test_a_stopped_run_passes_through_with_its_books_closed() -> None:
    async def main() -> None:
        spans = SpanList()
        item = visit_of(0, spans)
        with pytest.raises(RunStopped):
            await Step("a", Doing(_stop)).invoke(SCOPE, item)
        assert item.steps["a"].status == "cancelled"
        assert item.steps["a"].attempts == 1
        assert item.cost_usd is None  # an unknown price stays unknown in the sum
        assert [span.status for span in spans.ended] == ["cancelled"]

    run_in_fake_time(main())


def test_a_cancelled_step_is_in_the_books() -> None:
    async def main() -> None:
        item = visit_of()
        task = asyncio.create_task(Step("a", Doing(_hang)).invoke(SCOPE, item))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert item.steps["a"].status == "cancelled"
        assert not item.at_work

    run_in_fake_time(main())


@pytest.mark.parametrize(("seconds", "ends"), [(2.9, False), (3.1, True)])
def test_a_timeout_counts_work_and_not_the_queue(seconds: float, ends: bool) -> None:
    async def main() -> None:
        result = await Step("a", Bounded(Doing(_working), timeout=seconds)).invoke(SCOPE, visit_of())
        assert result.ok == ends
        if not ends:
            assert result.status == "timeout"
            assert result.error is not None
            assert result.error.message == f"a worked for longer than its timeout of {seconds:g} s"

    run_in_fake_time(main())


def test_a_permit_is_waited_for_before_the_clock_starts_and_given_back_however_it_ends() -> None:
    async def main() -> None:
        permits = Permits(1)
        step = Step("a", Bounded(Doing(_hang), timeout=2.0, permits=permits))
        results = await asyncio.gather(*(step.invoke(SCOPE, visit_of(index)) for index in range(3)))
        assert [result.status for result in results] == ["timeout"] * 3
        assert asyncio.get_running_loop().time() == 1006.0
        assert permits.in_use == 0
        task = asyncio.create_task(step.invoke(SCOPE, visit_of()))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert permits.in_use == 0

    run_in_fake_time(main())


def test_a_timeout_of_another_layer_is_not_taken_for_our_own() -> None:
    async def other(scope: Scope, visit: Visit) -> Output:
        raise TimeoutError("of somebody's library")

    async def main() -> None:
        result = await Step("a", Bounded(Doing(other), timeout=2.0)).invoke(SCOPE, visit_of())
        assert result.error is not None
        assert result.error.type == "internal"

    run_in_fake_time(main())


def test_a_step_timeout_of_an_attempt_is_a_timeout() -> None:
    async def attempt(scope: Scope, visit: Visit) -> Output:
        raise StepTimeout("no whole answer")

    assert invoked(attempt)[0].status == "timeout"


def test_when_skips_and_then_nothing_is_set() -> None:
    terms = Terms(when=Condition("input.go | default(false)"), sets=(("x", Value("1")),))
    result, item = invoked(_value, terms)
    assert (result.status, result.output, result.left_out) == ("skipped", None, False)
    assert item.sets == {}


def test_tolerated_failures_are_fine_and_a_default_stands_in() -> None:
    result, _ = invoked(_counting, Terms(tolerate=True))
    assert (result.status, result.fine, result.output) == ("error", True, None)
    result, item = invoked(_counting, Terms(tolerate=True, default=Output("d"), sets=(("x", Value("{{ output }}")),)))
    assert (result.status, result.fine, result.output) == ("error", True, "d")
    assert item.sets == {"x": "d"}


def test_what_cannot_be_set_is_an_error_that_keeps_the_answer() -> None:
    result, _ = invoked(_value, Terms(sets=(("x", Value("{{ output.no }}")),)))
    assert (result.status, result.output, result.fine) == ("error", "value", False)
    result, _ = invoked(_value, Terms(tolerate=True, sets=(("x", Value("{{ output.no }}")),)))
    assert (result.status, result.output, result.fine) == ("error", "value", True)


def test_paths() -> None:
    async def main() -> None:
        item = visit_of()
        item.path = item.name = ""
        paths: list[str] = []

        async def note(scope: Scope, visit: Visit) -> Output:
            paths.append(visit.path)
            return Output(None)

        leaf = Step("leaf", Doing(note))

        async def inner(scope: Scope, visit: Visit) -> Output:
            await leaf.invoke(scope, visit)
            return await note(scope, visit)

        group = Step("group", Doing(inner))
        for step in (leaf, leaf, group, group.copy(2), group, Step("shared", Doing(note), shared=True)):
            await step.invoke(SCOPE, item)

        async def around(scope: Scope, visit: Visit) -> Output:
            await group.part(3).invoke(scope, visit)
            await Step("shared", Doing(note), shared=True).invoke(scope, visit)
            return Output(None)

        await Step("loop", Doing(around)).invoke(SCOPE, item)
        assert paths == [
            "leaf", "leaf#2",
            "leaf#3", "group",
            "group[2].leaf", "group[2]",
            "group#2.leaf", "group#2",
            "shared",
            "loop[3].leaf", "loop[3]",
            "loop.shared",
        ]  # fmt: skip

    run_in_fake_time(main())


def test_a_step_left_out_takes_no_path_from_one_that_runs() -> None:
    async def main() -> None:
        item, step = visit_of(), Step("a", Doing(_value))
        left = step.skip(item)
        assert (left.status, left.left_out, item.steps["a"]) == ("skipped", True, left)
        ran = await step.invoke(SCOPE, item)
        assert item.steps["a"] is ran
        step.skip(item)
        assert item.steps == {"a": ran}

    run_in_fake_time(main())


def test_scope_binds_names_of_all_steps_below_and_the_latest_counts() -> None:
    inner = Result("ok", "inner", name="x")
    group = Result("ok", "group", name="g", steps={"x": inner})
    scope = Scope({}, NOT_RUN).after(group, Result("ok", "later", name="x[2]"))
    assert scope.names["g"] is group
    assert scope.names["x"].output == "later"


def test_scope_binds_failures_as_absent_and_what_they_held() -> None:
    held = Result("ok", "held", name="x")
    failed = Result("error", name="g", steps={"x": held}, tolerated=True)
    scope = Scope({}, NOT_RUN).after(failed)
    assert scope.names["g"].output is NOT_RUN
    assert scope.names["g"].status == "error"
    assert scope.names["x"] is held


def test_scope_does_not_show_what_a_cancelled_step_had_done() -> None:
    held = Result("ok", "held", name="x")
    scope = Scope({"x": NOT_RUN}, NOT_RUN).after(Result("cancelled", name="g", steps={"x": held}))
    assert scope.names["x"] is NOT_RUN


def test_scope_shows_copies_as_a_list_and_the_first_failure() -> None:
    copies = [
        Result("ok", "one", name="x[1]", is_copy=True),
        Result("error", name="x[2]", is_copy=True, error=None),
        Result("ok", "three", name="x[3]", is_copy=True),
    ]
    seen = Scope({}, NOT_RUN).after(*copies).names["x"]
    assert (seen.status, seen.output) == ("error", ["one", None, "three"])
    failed = [Result("error", name="x[1]", is_copy=True), Result("error", name="x[2]", is_copy=True)]
    assert Scope({}, NOT_RUN).after(*failed).names["x"].output is NOT_RUN


def test_scope_merges_what_was_set() -> None:
    scope = Scope({"vars": {"a": 1, "b": 1}}).after(Result("ok", name="x", sets={"b": 2}))
    assert scope.names["vars"] == {"a": 1, "b": 2}
    assert scope.plus("each", 1).names["vars"] == {"a": 1, "b": 2}
