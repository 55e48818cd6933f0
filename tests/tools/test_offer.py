"""A tool on its terms: limits, retries, what its results look like, and that finished calls are not made again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fake_time import run_in_fake_time
from scripted import SpanList, visit_of
from tools.handmade import HandmadeTool, offer_of

from agentbatch.errors import BadRequest, FunctionFault, OutputError, RateLimited, StepError, ToolFault
from agentbatch.items import Scope
from agentbatch.kept.journal import JournalFile
from agentbatch.limits import Limiter
from agentbatch.messages import ToolCall
from agentbatch.tools.offer import Offer, ToolTerms, capped

CALL = ToolCall("c", "look", "{}")


async def answer(offer: Offer, *spans: SpanList) -> str:
    return await offer.answer(CALL, Scope({}), visit_of(0, *spans))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (None, "null"),
        (3, "3"),
        ({"a": [1, "ä"]}, '{"a":[1,"ä"]}'),
        (float("nan"), "null"),
        ({1: {2}}, '{"1":[2]}'),
        ("half \ud800 pair", "half � pair"),
    ],
)
async def test_any_result_becomes_text(value: Any, text: str) -> None:
    assert await answer(offer_of(HandmadeTool(does=lambda _: value))) == text


async def test_a_long_result_is_cut_and_says_how_much_is_missing() -> None:
    offer = offer_of(HandmadeTool(does=lambda _: "x" * 5000), max_output=100)
    assert await answer(offer) == "x" * 100 + "\n[truncated: 4,900 more characters]"


def test_what_fits_is_not_cut() -> None:
    assert capped("x" * 100, 100) == "x" * 100


def failing_first(*errors: StepError) -> Any:
    left = list(errors)

    def does(_: object) -> str:
        if left:
            raise left.pop(0)
        return "fine"

    return does


@pytest.mark.parametrize("error", [ToolFault("a"), FunctionFault("b"), RateLimited("c", retry_after=30.0)])
def test_a_failure_that_may_pass_is_tried_again_before_the_model_hears_of_it(error: StepError) -> None:
    async def main() -> float:
        tool = HandmadeTool(does=failing_first(error, error))
        spans = SpanList()
        assert await answer(offer_of(tool, retries=2), spans) == "fine"
        assert len(tool.calls) == 3
        assert [name for _, name, _ in spans.ended[0].events] == ["retry", "retry"]
        return asyncio.get_running_loop().time() - 1000

    assert run_in_fake_time(main()) >= (60.0 if error.retry_after else 0.4)


def test_retries_end_and_what_can_not_pass_is_not_tried_again() -> None:
    async def main() -> None:
        tool = HandmadeTool(does=failing_first(*[ToolFault("again")] * 9))
        assert await answer(offer_of(tool, retries=2)) == "Error: again"
        assert len(tool.calls) == 3
        tool = HandmadeTool(does=failing_first(BadRequest("HTTP 404")))
        assert await answer(offer_of(tool, retries=2)) == "Error: HTTP 404"
        assert len(tool.calls) == 1

    run_in_fake_time(main())


def test_the_limit_is_one_for_all_agents_and_the_queue_is_no_part_of_the_timeout() -> None:
    async def main() -> None:
        tool = HandmadeTool(seconds=1.5)
        offer = offer_of(tool, at_once=1, timeout=2.0)
        assert await asyncio.gather(*(answer(offer) for _ in range(5))) == ["seen"] * 5
        assert tool.peak == 1
        assert asyncio.get_running_loop().time() == pytest.approx(1007.5)

    run_in_fake_time(main())


def test_a_waiting_retry_holds_no_permit() -> None:
    async def main() -> None:
        tool = HandmadeTool(does=failing_first(RateLimited("later", retry_after=100.0)))
        offer = offer_of(tool, at_once=1, retries=1)
        first = asyncio.ensure_future(answer(offer))
        await asyncio.sleep(1)
        assert await answer(offer) == "fine"
        assert asyncio.get_running_loop().time() < 1002
        assert await first == "fine"

    run_in_fake_time(main())


def no_failure(error: OutputError) -> None:
    raise AssertionError(error)


async def test_a_finished_call_is_not_made_again_after_a_crash(tmp_path: Path) -> None:
    tool = HandmadeTool(does=lambda _: {"price": 3})
    path = tmp_path / "j.sqlite"

    async def item(journal: JournalFile) -> list[str]:
        offer = Offer(tool, ToolTerms(Limiter("tool look")), journal)
        visit = visit_of(4)
        return [await offer.answer(ToolCall("c", "look", given), Scope({}), visit) for given in ("{}", '{"q": "b"}')]

    journal = JournalFile(path, no_failure)
    first = await item(journal)
    journal.close(complete=False)
    again = JournalFile(path, no_failure)
    assert await item(again) == first == ['{"price":3}'] * 2
    assert len(tool.calls) == 2
    assert again.recalled == 2
    again.close(complete=True)
