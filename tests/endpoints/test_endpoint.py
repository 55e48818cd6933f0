"""One request through the endpoint: retried, limited, timed, traced and priced."""

from __future__ import annotations

import asyncio

import pytest
from fake_time import run_in_fake_time
from scripted import ScriptedModel, SpanList, endpoint_of, in_turn, visit_of

from agentbatch.endpoints.prices import Tariff, rates
from agentbatch.errors import (
    AuthFault,
    BadRequest,
    BadResponse,
    ConnectionFault,
    RateLimited,
    RunStopped,
    ServerFault,
    StepTimeout,
)
from agentbatch.limits import Budget, Limiter
from agentbatch.messages import ChatRequest, Message, Usage
from agentbatch.process.control import Control

REQUEST = ChatRequest((Message("user", "hello"),))


def test_a_transient_failure_is_retried_and_both_attempts_are_in_the_books() -> None:
    async def main() -> None:
        model = ScriptedModel(in_turn([ServerFault("500", http_status=500)]))
        spans = SpanList()
        visit = visit_of(0, spans)
        answer = await endpoint_of(model).ask(REQUEST, visit)
        assert answer.text == "ok"
        assert visit.requests == 2
        assert [(span.status, span.error_type, span.attributes["attempt"]) for span in spans.ended] == [
            ("error", "server", 1),
            ("ok", None, 2),
        ]
        assert len({request.traceparent for request in model.asked}) == 2
        assert model.times[1] - model.times[0] >= 0.5
        assert not visit.at_work

    run_in_fake_time(main())


def test_attempts_end_after_the_retries() -> None:
    async def main() -> None:
        model = ScriptedModel(in_turn([], ServerFault("500")))
        with pytest.raises(ServerFault):
            await endpoint_of(model, retries=2).ask(REQUEST, visit_of())
        assert len(model.asked) == 3

    run_in_fake_time(main())


def test_a_deterministic_failure_is_sent_once() -> None:
    async def main() -> None:
        model = ScriptedModel(in_turn([], BadRequest("400")))
        with pytest.raises(BadRequest):
            await endpoint_of(model).ask(REQUEST, visit_of())
        assert len(model.asked) == 1

    run_in_fake_time(main())


def test_an_attempt_that_hangs_ends_at_its_deadline_and_is_retried() -> None:
    async def main() -> None:
        model = ScriptedModel(in_turn([]), latency=1000)
        began = asyncio.get_running_loop().time()
        with pytest.raises(StepTimeout, match="within 2 s"):
            await endpoint_of(model, timeout=2.0, retries=1).ask(REQUEST, visit_of())
        assert len(model.asked) == 2
        assert 4.0 <= asyncio.get_running_loop().time() - began < 6.0

    run_in_fake_time(main())


def test_retry_after_is_a_minimum_for_everybody_when_the_endpoint_is_small() -> None:
    async def main() -> None:
        model = ScriptedModel(in_turn([RateLimited("429", retry_after=7.0)]))
        endpoint = endpoint_of(model, limiter=Limiter("model m", max_concurrency=1))
        await asyncio.gather(*(endpoint.ask(REQUEST, visit_of(index)) for index in range(3)))
        assert [at - model.times[0] >= 7.0 for at in model.times] == [False, True, True, True]

    run_in_fake_time(main())


def test_a_sleeping_retry_holds_no_permit() -> None:
    async def main() -> None:
        model = ScriptedModel(lambda request, number: ServerFault("500", retry_after=9.0) if number == 0 else "ok")
        endpoint = endpoint_of(model, limiter=Limiter("model m", max_concurrency=1))
        first = asyncio.ensure_future(endpoint.ask(REQUEST, visit_of(0)))
        await asyncio.sleep(0.2)
        await endpoint.ask(REQUEST, visit_of(1))
        assert model.times[1] - model.times[0] < 1.0
        await first

    run_in_fake_time(main())


def test_retries_count_against_the_rate() -> None:
    async def main() -> None:
        model = ScriptedModel(in_turn([ServerFault("500"), ServerFault("500")]), latency=0)
        endpoint = endpoint_of(model, limiter=Limiter("model m", max_concurrency=10, rpm=6))
        await endpoint.ask(REQUEST, visit_of())
        gaps = [later - earlier for earlier, later in zip(model.times, model.times[1:], strict=False)]
        assert all(gap >= 10 for gap in gaps)

    run_in_fake_time(main())


def test_tokens_reserved_for_a_failed_call_are_not_leaked() -> None:
    async def main() -> None:
        limiter = Limiter("model m", max_concurrency=4, tpm=10_000)
        model = ScriptedModel(in_turn([], BadRequest("400")), latency=0)
        endpoint = endpoint_of(model, limiter=limiter)
        for _ in range(100):  # 100 x 500 reserved tokens would take five minutes if they stayed taken
            with pytest.raises(BadRequest):
                await endpoint.ask(REQUEST, visit_of())
        return

    began: list[float] = []

    async def timed() -> float:
        loop = asyncio.get_running_loop()
        began.append(loop.time())
        await main()
        return loop.time() - began[0]

    assert run_in_fake_time(timed()) < 60


def test_cost_and_tokens_reach_the_books() -> None:
    async def main() -> None:
        visit = visit_of()
        endpoint = endpoint_of(ScriptedModel(in_turn([])), tariff=Tariff((rates(1.0, 2.0),)))
        await endpoint.ask(REQUEST, visit)
        assert visit.cost_usd == pytest.approx((10 * 1.0 + 5 * 2.0) / 1e6)
        unpriced = visit_of()
        await endpoint_of(ScriptedModel(in_turn([]))).ask(REQUEST, unpriced)
        assert unpriced.cost_usd is None

    run_in_fake_time(main())


def test_the_budget_stops_the_run_before_it_is_passed() -> None:
    async def main() -> None:
        budget = Budget(0.01)
        request = ChatRequest(REQUEST.messages, {"max_tokens": 5})
        endpoint = endpoint_of(ScriptedModel(in_turn([])), tariff=Tariff((rates(100.0, 400.0),)), budget=budget)
        sent = 0
        with pytest.raises(RunStopped, match="max_cost"):
            while True:
                await endpoint.ask(request, visit_of())
                sent += 1
        assert sent == 3
        assert budget.spent <= 0.01
        assert budget.set_aside == pytest.approx(0)

    run_in_fake_time(main())


def test_a_wrong_key_stops_the_run_after_what_was_in_flight_at_first() -> None:
    async def main() -> None:
        model = ScriptedModel(in_turn([], AuthFault("invalid key", http_status=401)))
        control = Control()
        endpoint = endpoint_of(model, limiter=Limiter("model m", max_concurrency=8), control=control)

        async def one(index: int) -> None:
            await endpoint.ask(REQUEST, visit_of(index))

        ended = await asyncio.gather(*(one(index) for index in range(8)), return_exceptions=True)
        assert len(model.asked) == 8
        assert {type(end) for end in ended} == {AuthFault, RunStopped}
        assert control.reason and "invalid key" in control.reason
        with pytest.raises(RunStopped):
            await one(9)
        assert len(model.asked) == 8

    run_in_fake_time(main())


def test_an_outage_of_30_s_loses_nothing_and_is_over_10_s_after_it() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()

        def script(request: ChatRequest, number: int) -> ConnectionFault | str:
            down = 5.0 <= loop.time() - began < 35.0
            return ConnectionFault("reset") if down else "ok"

        model = ScriptedModel(script)
        endpoint = endpoint_of(model, limiter=Limiter("model m", max_concurrency=20))
        items = iter(range(3000))
        done: list[float] = []

        async def worker() -> None:
            for index in items:
                await endpoint.ask(REQUEST, visit_of(index))
                done.append(loop.time() - began)

        await asyncio.gather(*(worker() for _ in range(20)))
        assert len(done) == 3000
        during = sum(5.2 <= at - began < 35.0 for at in model.times)
        assert during <= 60, "a few probes, no storm"
        after = [at for at in done if at > 35.0]
        full_speed = sum(44.0 <= at < 45.0 for at in after)
        assert full_speed >= 180, "20 in flight of 0.1 s each are 200 a second"

    run_in_fake_time(main())


def test_a_stop_wakes_a_sleeping_retry() -> None:
    async def main() -> None:
        control = Control()
        model = ScriptedModel(in_turn([], ServerFault("500", retry_after=1000.0)))
        asking = asyncio.ensure_future(endpoint_of(model, control=control).ask(REQUEST, visit_of()))
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        control.stop("enough")
        with pytest.raises(RunStopped, match="enough"):
            await asking
        assert asyncio.get_running_loop().time() == began

    run_in_fake_time(main())


def test_a_bad_answer_that_was_paid_for_is_counted() -> None:
    async def main() -> None:
        bad = BadResponse("empty", http_status=200, retry=False)
        bad.usage = Usage(1000, 500, 1, cached_tokens=100)
        model = ScriptedModel(in_turn([bad]))
        budget, spans, visit = Budget(1.0), SpanList(), visit_of()
        visit.tracer.observers = (spans,)
        tariff = Tariff((rates(1.0, 2.0),))
        with pytest.raises(BadResponse):
            await endpoint_of(model, tariff=tariff, budget=budget).ask(REQUEST, visit)
        assert (visit.requests, visit.input_tokens, visit.output_tokens, visit.cached_tokens) == (1, 1000, 500, 100)
        assert visit.cost_usd == pytest.approx(0.002)
        assert budget.spent == pytest.approx(0.002)
        (span,) = spans.ended
        assert (span.attributes["input_tokens"], span.attributes["cost_usd"]) == (1000, pytest.approx(0.002))
        assert "possibly_billed" not in span.attributes

    run_in_fake_time(main())


def test_a_loan_of_the_configs_places_is_not_what_the_server_accepts() -> None:
    async def main() -> None:
        model = ScriptedModel(in_turn([]))
        limiter = Limiter("model m", max_concurrency=120)
        endpoint = endpoint_of(model, limiter=limiter)
        await endpoint.ask(REQUEST, visit_of())
        await asyncio.sleep(10)
        assert endpoint.place_bound.words == "max_concurrency of model m"
        assert limiter.permits is not None
        limiter.permits.lend(40)
        assert endpoint.place_bound.words == "max_concurrency of model m"
        endpoint.health.outage = True
        limiter.permits.resize(endpoint.health.size)
        assert endpoint.place_bound.words == "what model m accepts at once"

    run_in_fake_time(main())
