"""Batches of one model under everything that a provider may say: nothing submitted twice, nobody left waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batches.desk_clock import run
from batches.scripted_batches import ScriptedBatches, Submitted, line_of

from agentbatch.batches.base import BatchState, LostInBatch, NotInBatch, QueueFull
from agentbatch.batches.config import ProviderBatchConfig
from agentbatch.batches.desk import BatchDesk
from agentbatch.batches.store import BatchStore
from agentbatch.batches.waiting import WaitingRoom
from agentbatch.errors import (
    AuthFault,
    BadRequest,
    ConnectionFault,
    RateLimited,
    RunStopped,
    ServerFault,
    StepError,
    Unreachable,
)
from agentbatch.process.control import Control

CUT_OFF = ConnectionFault("cut off")
SLOW = RateLimited("slow", http_status=429)
DOWN = ServerFault("down", http_status=500)
GONE = BadRequest("no such batch", http_status=404)
NOT_THAT = BadRequest("not that", http_status=400)


class Desk(BatchDesk):
    """A desk with its stop switch in sight."""

    control: Control


@asynccontextmanager
async def desk_of(folder: Path, api: ScriptedBatches, control: Control | None = None, **config: Any):
    """A desk whose batches are closed by their size, or as soon as nothing is added to them."""
    control = control or Control()
    store = BatchStore(folder / "batches.sqlite")
    settings = ProviderBatchConfig(**config)
    desk = Desk("m", api, store, WaitingRoom(), control, settings, asyncio.Lock())
    desk.control = control
    try:
        yield desk
    finally:
        await desk.close()
        store.close()


async def ask(desk: BatchDesk, *keys: str, again: bool = False) -> list[bytes | BaseException]:
    """What becomes of these requests, all asked at once."""
    asked = [desk.answer(key, b"{}", again=again) for key in keys]
    return await asyncio.gather(*asked, return_exceptions=True)


def outcome(folder: Path, api: ScriptedBatches, keys: str = "abc", **config: Any) -> list[bytes | BaseException]:
    async def main() -> list[bytes | BaseException]:
        async with desk_of(folder, api, **config) as desk:
            return await ask(desk, *keys)

    return run(main())


def answers(keys: str) -> list[bytes]:
    return [line_of(key) for key in keys]


@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("fault", [CUT_OFF, DOWN], ids=["cut off", "500"])
def test_a_submission_whose_answer_is_lost_is_looked_for_first(tmp_path: Path, fault: StepError, heard: bool) -> None:
    api = ScriptedBatches({"submit": [fault], "find": [DOWN, SLOW, None]}, heard=heard)
    assert outcome(tmp_path, api) == answers("abc")
    assert len(api.batches) == 1
    assert api.asked[:4] == ["submit", "find", "find", "find"]


@pytest.mark.parametrize("fault", [SLOW, Unreachable("nobody there")], ids=["429", "no"])
def test_what_surely_did_not_get_there_is_just_submitted_again(tmp_path: Path, fault: StepError) -> None:
    api = ScriptedBatches({"submit": [fault, fault]}, heard=False)
    assert outcome(tmp_path, api) == answers("abc")
    assert api.asked[:3] == ["submit"] * 3


def test_refusals_for_the_rate_are_waited_out(tmp_path: Path) -> None:
    api = ScriptedBatches({"submit": [SLOW] * 50}, heard=False)
    assert outcome(tmp_path, api) == answers("abc")


def test_a_batch_of_which_nobody_knows_whether_it_was_submitted_ends_the_run(tmp_path: Path) -> None:
    async def main() -> None:
        api = ScriptedBatches({"submit": [DOWN], "find": [DOWN] * 20})
        async with desk_of(tmp_path, api) as desk:
            (answer,) = await ask(desk, "a")
            assert isinstance(answer, RunStopped)
            assert "can't be found out" in (desk.control.reason or "")
        api.faults.clear()
        async with desk_of(tmp_path, api) as desk:
            assert await ask(desk, "a") == answers("a")
        assert len(api.batches) == 1, "the next run found it"

    run(main())


def test_what_the_provider_declines_for_good_fails_its_requests_and_is_not_kept(tmp_path: Path) -> None:
    api = ScriptedBatches({"submit": [NOT_THAT]}, heard=False)
    assert outcome(tmp_path, api) == [NOT_THAT] * 3
    assert outcome(tmp_path, api) == answers("abc")


def test_looks_that_fail_for_a_time_end_nothing(tmp_path: Path) -> None:
    api = ScriptedBatches({"look": [DOWN, GONE, DOWN, CUT_OFF, GONE, *[SLOW] * 40]})
    assert outcome(tmp_path, api) == answers("abc")
    assert len(api.batches) == 1


def test_a_batch_that_the_provider_does_not_know_is_lost_and_may_be_billed(tmp_path: Path) -> None:
    api = ScriptedBatches({"look": [GONE] * 3})
    assert [type(each) for each in outcome(tmp_path, api)] == [LostInBatch] * 3


@pytest.mark.parametrize("error", [NOT_THAT, AuthFault("no", http_status=401)], ids=["400", "401"])
def test_looks_that_are_declined_for_good_end_the_run_and_the_next_goes_on(tmp_path: Path, error: StepError) -> None:
    api = ScriptedBatches({"look": [error] * 3})
    assert [type(each) for each in outcome(tmp_path, api)] == [RunStopped] * 3
    api.faults.clear()
    assert outcome(tmp_path, api) == answers("abc")
    assert len(api.batches) == 1


def test_results_that_are_not_there_yet_are_waited_for(tmp_path: Path) -> None:
    def state(batch: Any, said: BatchState) -> BatchState:
        return replace(said, done=3, awaits_files=said.ended and batch.looks < 4)

    api = ScriptedBatches({"results": [GONE, DOWN, GONE]}, state=state)
    assert outcome(tmp_path, api) == answers("abc")
    assert api.batches[0].looks == 4


def test_results_that_never_come_may_be_billed(tmp_path: Path) -> None:
    api = ScriptedBatches({"results": [GONE] * 3})
    assert [type(each) for each in outcome(tmp_path, api)] == [LostInBatch] * 3


@pytest.mark.parametrize(("has_all", "kind"), [(True, LostInBatch), (False, NotInBatch)])
def test_a_request_without_a_line(tmp_path: Path, has_all: bool, kind: type) -> None:
    """Where every request has its line it was lost, and may be billed; of an expired batch it was never answered."""
    api = ScriptedBatches(
        state=lambda batch, said: replace(said, has_all=has_all),
        lines=lambda batch: [("stranger", b"x"), *((key, line_of(key)) for key in batch.keys if key != "b")],
    )
    first, lacking, last = outcome(tmp_path, api)
    assert [first, last] == answers("ac")
    assert type(lacking) is kind


def test_a_full_queue_is_waited_out_and_nothing_else_is_submitted_meanwhile(tmp_path: Path) -> None:
    async def main() -> None:
        refused = {"b1": 1, "b2": 1, "b3": 1}

        def state(batch: Any, said: BatchState) -> BatchState:
            if batch.id in refused:
                return replace(said, ended=True, fault=QueueFull("too many tokens"))
            return replace(said, ended=batch.looks > 20)

        api = ScriptedBatches(state=state)
        async with desk_of(tmp_path, api, max_requests=2) as desk:

            async def until_answered(key: str) -> bytes:
                for again in (False, True, True, True, True):
                    try:
                        return await desk.answer(key, b"{}", again=again)
                    except QueueFull:
                        pass
                raise AssertionError(key)

            assert await asyncio.gather(*map(until_answered, "abcd")) == answers("abcd")
        assert [batch.keys for batch in api.batches] == [["a", "b"], *[["c", "d"]] * 4]

    run(main())


def test_a_queue_that_is_too_small_for_one_batch_says_what_to_do(tmp_path: Path) -> None:
    fault = QueueFull("too many tokens")
    api = ScriptedBatches(state=lambda batch, said: replace(said, ended=True, fault=fault))
    for error in outcome(tmp_path, api):
        assert isinstance(error, RateLimited)
        assert not isinstance(error, QueueFull)
        assert "provider_batch.max_requests" in error.message


def test_batches_are_submitted_one_after_the_other(tmp_path: Path) -> None:
    api = ScriptedBatches()
    assert outcome(tmp_path, api, "abcdefgh", max_requests=2) == answers("abcdefgh")
    assert (len(api.batches), api.most_under_way) == (4, 1)


def test_a_run_that_stops_submits_nothing_any_more(tmp_path: Path) -> None:
    async def main() -> None:
        api = ScriptedBatches()
        async with desk_of(tmp_path, api, max_requests=2) as desk:
            asked = asyncio.gather(ask(desk, *"abcde"))
            while not api.under_way:
                await asyncio.sleep(0.01)
            desk.control.stop("enough")
            ((*ended,),) = await asked
            assert [type(each) for each in ended] == [RunStopped] * 5
            await asyncio.sleep(60)
        assert [batch.keys for batch in api.batches] == [["a", "b"]], "that was on its way"

    run(main())


async def until_submitted(api: ScriptedBatches) -> None:
    while not api.batches:
        await asyncio.sleep(0.1)


def without_end(api: ScriptedBatches) -> Callable[[Any, BatchState], BatchState]:
    """Batches end when they are cancelled, and then have answered their first request."""
    api.lines = lambda batch: [(batch.keys[0], line_of(batch.keys[0]))]
    return lambda batch, said: replace(said, ended=batch.cancelled)


async def cut(desk: BatchDesk, api: ScriptedBatches) -> None:
    await until_submitted(api)
    await asyncio.sleep(30)
    desk.give_up(60)


def cut_off(folder: Path, api: ScriptedBatches, late: Callable[[BatchDesk], Awaitable[Any]] | None = None) -> list[Any]:
    """What becomes of three requests whose batch is given up."""

    async def main() -> list[Any]:
        async with desk_of(folder, api) as desk:
            asked = asyncio.gather(ask(desk, *"abc"))
            await cut(desk, api)
            ((*ended,),) = await asked
            if late is not None:
                ended.append(await late(desk))
            return ended

    return run(main())


@pytest.mark.parametrize("faults", [[], [DOWN, DOWN, CUT_OFF], [NOT_THAT]], ids=["heard", "at last", "it had ended"])
def test_given_up_batches_are_cancelled_and_what_they_have_answered_counts(
    tmp_path: Path, faults: list[StepError | None]
) -> None:
    api = ScriptedBatches({"cancel": faults})
    api.state = without_end(api)
    if faults == [NOT_THAT]:
        api.state = lambda batch, said: replace(said, ended="cancel" in api.asked)
    first, *others = cut_off(tmp_path, api)
    assert first == line_of("a")
    assert [type(each) for each in others] == [NotInBatch] * 2


def test_a_batch_that_cannot_be_cancelled_in_time_may_be_billed(tmp_path: Path) -> None:
    api = ScriptedBatches({"cancel": [DOWN] * 1000})
    api.state = without_end(api)
    assert [type(each) for each in cut_off(tmp_path, api)] == [LostInBatch] * 3


def test_after_the_news_kept_answers_count_and_nothing_is_gathered(tmp_path: Path) -> None:
    api = ScriptedBatches()
    api.state = without_end(api)

    async def late(desk: BatchDesk) -> Any:
        return await ask(desk, "a", "b", "z")

    kept, expired, new = cut_off(tmp_path, api, late)[-1]
    assert kept == line_of("a")
    assert [type(expired), type(new)] == [NotInBatch] * 2


def test_too_long_a_wait_cancels_a_batch(tmp_path: Path) -> None:
    api = ScriptedBatches()
    api.state = without_end(api)
    first, *others = outcome(tmp_path, api, max_wait="1ms")
    assert first == line_of("a")
    assert [type(each) for each in others] == [NotInBatch] * 2


def test_what_a_run_left_is_taken_up_whatever_had_been_heard_of_it(tmp_path: Path) -> None:
    async def main() -> None:
        api = ScriptedBatches(state=lambda batch, said: replace(said, ended=False))
        async with desk_of(tmp_path, api) as desk:
            asked = asyncio.ensure_future(ask(desk, *"ab"))
            await until_submitted(api)
            asked.cancel()
        api.state = ScriptedBatches().state
        api.faults = {"find": [DOWN, CUT_OFF], "look": [DOWN]}
        async with desk_of(tmp_path, api) as desk:
            assert await ask(desk, *"abc") == answers("abc")
        assert [batch.keys for batch in api.batches] == [["a", "b"], ["c"]]

    run(main())


@pytest.mark.parametrize("continued", [False, True])
def test_results_that_are_read_again_are_nothing_to_whoever_asked_again(tmp_path: Path, continued: bool) -> None:
    """The first answers are failures; the second request has gone into another batch when they are read once more."""

    async def main() -> None:
        def lines(batch: Any) -> list[tuple[str, bytes]]:
            return [(key, b"failed" if batch.id == "b0" else line_of(key)) for key in batch.keys]

        api = ScriptedBatches(lines=lines, torn=2)
        async with desk_of(tmp_path, api) as desk:
            assert await ask(desk, "a") == [b"failed"]
            second = asyncio.ensure_future(desk.answer("a", b"{}", again=True))
            if continued:
                while len(api.batches) < 2:
                    await asyncio.sleep(0.1)
                second.cancel()
            else:
                assert await second == line_of("a")
        async with desk_of(tmp_path, api) as desk:
            assert await ask(desk, "a") == answers("a")
        assert [batch.keys for batch in api.batches] == [["a"], ["a"]]

    run(main())


@pytest.mark.parametrize("continued", [False, True])
def test_a_batch_of_another_that_was_taken_for_ours_is_not(tmp_path: Path, continued: bool) -> None:
    async def main() -> None:
        strangers = [Submitted(f"x{number}", "", ["s", "t"]) for number in range(2)]
        api = ScriptedBatches({"submit": [DOWN]}, names_batches=False, batches=strangers)
        async with desk_of(tmp_path, api) as desk:
            asked = asyncio.ensure_future(ask(desk, *"ab"))
            while continued and not strangers[0].looks:
                await asyncio.sleep(0.1)
            if continued:
                asked.cancel()
            else:
                assert await asked == answers("ab")
        async with desk_of(tmp_path, api) as desk:
            assert await ask(desk, *"ab") == answers("ab")
        assert [batch.keys for batch in api.batches] == [["s", "t"], ["s", "t"], ["a", "b"]]

    run(main())


def test_a_batch_that_may_be_anothers_is_not_cancelled(tmp_path: Path) -> None:
    api = ScriptedBatches({"submit": [DOWN]}, names_batches=False, batches=[Submitted("x", "", ["r", "s", "t"])])
    api.state = without_end(api)
    assert [type(each) for each in cut_off(tmp_path, api)] == [LostInBatch] * 3
    assert not any(batch.cancelled for batch in api.batches)


def test_without_time_to_look_for_another_than_the_wrong_one_requests_may_be_billed(tmp_path: Path) -> None:
    async def main() -> None:
        stranger = Submitted("x", "", ["r", "s", "t"])
        api = ScriptedBatches({"submit": [DOWN]}, names_batches=False, heard=False, batches=[stranger])
        async with desk_of(tmp_path, api) as desk:
            asked = asyncio.ensure_future(ask(desk, *"abc"))
            while not stranger.looks:
                await asyncio.sleep(0.1)
            api.faults["find"] = [DOWN] * 1000
            desk.give_up(60)
            assert [type(each) for each in await asked] == [LostInBatch] * 3
            assert not desk.control.stopping

    run(main())
