"""Who answers: an earlier run's journal, the cache, the model, or one of its fallbacks."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fake_time import run_in_fake_time
from scripted import ScriptedModel, endpoint_of, in_turn, visit_of

from agentbatch.endpoints.answering import OUT_OF_SERVICE, Answering, Link
from agentbatch.endpoints.prices import Tariff, rates
from agentbatch.errors import AuthFault, BadRequest, ContextLength, OutputError, Overloaded, RateLimited
from agentbatch.kept.cache import ResponseCache, cache_stats, clear_cache
from agentbatch.kept.journal import JournalFile
from agentbatch.limits import Limiter
from agentbatch.messages import ChatRequest, Message
from agentbatch.process.control import Control
from agentbatch.step import Visit


def request(text: str = "hello", seed: str = "") -> ChatRequest:
    return ChatRequest((Message("user", text),), seed=seed)


def no_failure(error: OutputError) -> None:
    raise AssertionError(error)


async def test_a_cached_answer_costs_nothing_and_says_so(tmp_path: Path) -> None:
    model = ScriptedModel(in_turn(["first"]), latency=0)
    cache = ResponseCache(tmp_path / "c.sqlite")
    answering = Answering((endpoint_of(model),), None, cache)
    first, second = visit_of(0), visit_of(1)
    assert (await answering.ask(request(), first)).text == "first"
    assert (await answering.ask(request(), second)).text == "first"
    assert len(model.asked) == 1
    assert (first.requests, second.requests) == (1, 0)
    assert second.cost_usd == 0.0
    assert (first.extra, second.extra) == ({}, {"cached": True})
    cache.close()
    again = ResponseCache(tmp_path / "c.sqlite")
    assert (await Answering((endpoint_of(model),), None, again).ask(request(), visit_of())).text == "first"
    assert again.hits == 1
    again.close()


async def test_other_requests_and_copies_have_answers_of_their_own(tmp_path: Path) -> None:
    model = ScriptedModel(lambda _, number: f"answer {number}", latency=0)
    cache = ResponseCache(tmp_path / "c.sqlite")
    answering = Answering((endpoint_of(model),), None, cache)
    asked = [request(), request("bye"), request(seed="/1"), request(seed="/2"), request(seed="/1")]
    texts = [(await answering.ask(each, visit_of())).text for each in asked]
    assert texts == ["answer 0", "answer 1", "answer 2", "answer 3", "answer 2"]
    cache.close()


def test_the_same_request_in_flight_is_asked_once(tmp_path: Path) -> None:
    async def main() -> None:
        model = ScriptedModel(lambda _, number: f"answer {number}", latency=1)
        cache = ResponseCache(tmp_path / "c.sqlite")
        answering = Answering((endpoint_of(model),), None, cache)
        answers = await asyncio.gather(*(answering.ask(request(), visit_of(n)) for n in range(20)))
        assert {answer.text for answer in answers} == {"answer 0"}
        assert len(model.asked) == 1
        cache.close()

    run_in_fake_time(main())


def test_when_the_first_asker_fails_one_other_asks(tmp_path: Path) -> None:
    async def main() -> None:
        model = ScriptedModel(in_turn([BadRequest("400", http_status=400)], then="good"), latency=1)
        cache = ResponseCache(tmp_path / "c.sqlite")
        answering = Answering((endpoint_of(model),), None, cache)
        ended = await asyncio.gather(*(answering.ask(request(), visit_of(n)) for n in range(5)), return_exceptions=True)
        assert [type(end).__name__ for end in ended] == ["BadRequest"] + ["ChatResponse"] * 4
        assert len(model.asked) == 2
        cache.close()

    run_in_fake_time(main())


async def test_an_old_answer_and_a_refresh_are_asked_anew(tmp_path: Path) -> None:
    model = ScriptedModel(lambda _, number: f"answer {number}", latency=0)
    for options, text in (
        ({}, "answer 0"),
        ({"ttl": 1e-9}, "answer 1"),
        ({"refresh": True}, "answer 2"),
        ({}, "answer 2"),
    ):
        cache = ResponseCache(tmp_path / "c.sqlite", **options)
        assert (await Answering((endpoint_of(model),), None, cache).ask(request(), visit_of())).text == text
        cache.close()
    assert cache_stats(tmp_path / "c.sqlite").answers == 1
    assert clear_cache(tmp_path / "c.sqlite", older_than=3600) == 0
    assert clear_cache(tmp_path / "c.sqlite") == 1


async def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(OutputError, match=r"c\.sqlite: the cache cannot be used.*--no-cache"):
        ResponseCache(tmp_path / "c.sqlite")


async def test_what_a_disk_has_changed_in_the_cache_is_asked_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c.sqlite"
    model = ScriptedModel(lambda _, number: "x" * 1000, latency=0)
    requests = [request(f"question {number}") for number in range(50)]
    for damaged in (False, True):
        cache = ResponseCache(path)
        answering = Answering((endpoint_of(model),), None, cache)
        for each in requests:
            assert (await answering.ask(each, visit_of())).text == "x" * 1000
        cache.close()
        if not damaged:
            data = path.read_bytes()
            path.write_bytes(data[:8192] + bytes(len(data) // 2) + data[8192 + len(data) // 2 :])
    assert 50 < len(model.asked) <= 100
    told = [record.getMessage() for record in caplog.records]
    assert sum("the cache is damaged" in words for words in told) == 1, told


async def test_a_cache_that_can_no_longer_be_written_holds_nothing_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    cache = ResponseCache(path)
    cache.keep(b"1", b"{}")
    while cache.unwritten:
        await asyncio.sleep(0.01)
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE answers")
    cache.keep(b"2", b"{}")
    cache.close()  # what the thread could not write is gone
    cache.keep(b"3", b"{}")
    assert cache.unwritten == 0


def test_a_fallback_answers_where_the_first_model_cannot() -> None:
    async def main() -> None:
        first = ScriptedModel(in_turn([], ContextLength("too long", http_status=400)))
        second = ScriptedModel(in_turn([]), name="careful")
        visit = visit_of()
        answer = await Answering((endpoint_of(first), endpoint_of(second, name="careful")), None, None).ask(
            request(), visit
        )
        assert answer.text == "ok"
        assert visit.extra == {"fell_back": "m: context_length", "model": "careful"}
        assert visit.requests == 2, "both are in the books"

    run_in_fake_time(main())


@pytest.mark.parametrize("retry_after", [None, 1.0, 600.0])
@pytest.mark.parametrize("share", [0.05, 1.0])
def test_nobody_waits_long_for_a_model_while_its_fallback_is_free(retry_after: float | None, share: float) -> None:
    """Neither those that were refused nor those behind them."""
    draw = random.Random(2)

    def refuse(*_: object) -> RateLimited | str:
        return RateLimited("429", http_status=429, retry_after=retry_after) if draw.random() < share else "ok"

    async def main() -> float:
        first, second = ScriptedModel(refuse), ScriptedModel(in_turn([]), name="careful")
        chain = (endpoint_of(first, replaceable=True, elsewhere_on=OUT_OF_SERVICE), endpoint_of(second, name="careful"))
        answering = Answering(chain, None, None)
        began = asyncio.get_running_loop().time()
        answers = await asyncio.gather(*(answering.ask(request(), visit_of(number)) for number in range(300)))
        assert len(answers) == 300
        assert bool(second.asked) == (share == 1.0 or retry_after == 600.0), "what is over in a second is waited for"
        return asyncio.get_running_loop().time() - began

    assert run_in_fake_time(main()) <= 15


def test_a_refusal_that_no_fallback_is_for_is_waited_for() -> None:
    async def main() -> None:
        refused = [RateLimited("429", http_status=429, retry_after=600.0)]
        first, second = ScriptedModel(in_turn(refused)), ScriptedModel(in_turn([]))
        only_long = Link(endpoint_of(second), frozenset({"context_length"}))
        answering = Answering((endpoint_of(first, replaceable=True), only_long), None, None)
        await asyncio.gather(*(answering.ask(request(), visit_of(number)) for number in range(5)))
        assert not second.asked

    run_in_fake_time(main())


def test_what_another_model_would_refuse_too_is_not_asked_of_it() -> None:
    async def main() -> None:
        second = ScriptedModel(in_turn([]))
        chain = (endpoint_of(ScriptedModel(in_turn([], BadRequest("400", http_status=400)))), endpoint_of(second))
        with pytest.raises(BadRequest):
            await Answering(chain, None, None).ask(request(), visit_of())
        assert not second.asked

    run_in_fake_time(main())


def test_a_refused_key_only_ends_the_run_where_nobody_can_take_over() -> None:
    async def main() -> None:
        control = Control()
        refused = ScriptedModel(in_turn([], AuthFault("bad key", http_status=401)))
        second = ScriptedModel(in_turn([]))
        first = endpoint_of(refused, limiter=Limiter("m", max_concurrency=1), control=control, replaceable=True)
        answering = Answering((first, endpoint_of(second, control=control)), None, None)
        for index in range(10):
            assert (await answering.ask(request(), visit_of(index))).text == "ok"
        assert len(refused.asked) == 1
        assert not control.stopping

    run_in_fake_time(main())


def test_an_overloaded_model_hands_over_after_its_retries() -> None:
    async def main() -> None:
        first = ScriptedModel(in_turn([], Overloaded("529", http_status=529)))
        chain = (endpoint_of(first, retries=1), endpoint_of(ScriptedModel(in_turn([]))))
        assert (await Answering(chain, None, None).ask(request(), visit_of())).text == "ok"
        assert len(first.asked) == 2

    run_in_fake_time(main())


def _same_place(visit: Visit) -> Visit:
    """The visit of the same item and step in a run that continues."""
    return visit_of(visit.item.index)


async def test_a_call_that_an_earlier_run_paid_for_is_not_made_again(tmp_path: Path) -> None:
    model = ScriptedModel(lambda _, number: f"answer {number}", latency=0)
    journal = JournalFile(tmp_path / "j.sqlite", no_failure)
    visit = visit_of(3)
    answering = Answering((endpoint_of(model),), journal, None)
    texts = [(await answering.ask(request(text), visit)).text for text in ("one", "two", "three")]
    journal.close(complete=False)

    journal = JournalFile(tmp_path / "j.sqlite", no_failure)
    answering = Answering((endpoint_of(model),), journal, None)
    again = _same_place(visit)
    assert [(await answering.ask(request(text), again)).text for text in ("one", "two", "three")] == texts
    assert len(model.asked) == 3
    assert again.requests == 3, "what was paid for the item stays in its books"
    assert journal.recalled == 3
    journal.close(complete=True)
    assert list(tmp_path.iterdir()) == []


async def test_a_kept_answer_is_priced_as_the_model_whose_name_fits_best(tmp_path: Path) -> None:
    """What `dear-mini` said is not priced as `dear` would be."""
    dear = ScriptedModel(in_turn([], then=Overloaded("down", http_status=529, retry=False)), latency=0, name="dear")
    mini = ScriptedModel(in_turn([]), latency=0, name="dear-mini")
    for _ in range(2):
        chain = (
            endpoint_of(dear, retries=0, tariff=Tariff((rates(1000.0, 1000.0),))),
            endpoint_of(mini, name="mini", tariff=Tariff((rates(1.0, 1.0),))),
        )
        journal = JournalFile(tmp_path / "j.sqlite", no_failure)
        answering = Answering(chain, journal, None)
        visit = visit_of(3)
        await answering.ask(request("one"), visit)
        await answering.ask(request("two"), visit)
        assert visit.cost_usd == pytest.approx(2 * 15e-6)
        journal.close(complete=False)
    assert len(mini.asked) == 2, "the second time both answers are kept ones"


async def test_a_call_that_asks_something_else_is_made_anew(tmp_path: Path) -> None:
    model = ScriptedModel(lambda _, number: f"answer {number}", latency=0)
    journal = JournalFile(tmp_path / "j.sqlite", no_failure)
    await Answering((endpoint_of(model),), journal, None).ask(request("one"), visit_of(3))
    journal.close(complete=False)
    journal = JournalFile(tmp_path / "j.sqlite", no_failure)
    answering = Answering((endpoint_of(model),), journal, None)
    assert (await answering.ask(request("changed"), visit_of(3))).text == "answer 1"
    assert (await answering.ask(request("one"), visit_of(4))).text == "answer 2", "another item's call is another call"
    journal.close(complete=True)


async def test_calls_of_items_that_ended_are_forgotten(tmp_path: Path) -> None:
    model = ScriptedModel(in_turn([]), latency=0)
    journal = JournalFile(tmp_path / "j.sqlite", no_failure)
    answering = Answering((endpoint_of(model),), journal, None)
    for index in range(10):
        visit = visit_of(index)
        await answering.ask(request("one"), visit)
        await answering.ask(request("two"), visit)
    journal.forget(range(9))
    journal.close(complete=False)
    journal = JournalFile(tmp_path / "j.sqlite", no_failure)
    assert [item for item in range(20) if journal.known(item)] == [9]
    journal.close(complete=False)


async def test_an_item_of_one_call_never_touches_the_disk(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path / "j.sqlite", no_failure)
    answering = Answering((endpoint_of(ScriptedModel(in_turn([]), latency=0)),), journal, None)
    for index in range(50):
        await answering.ask(request(), visit_of(index))
        journal.forget([index])
    journal.close(complete=False)
    assert list(tmp_path.iterdir()) == []
