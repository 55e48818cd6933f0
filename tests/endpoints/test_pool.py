"""Several endpoints behind one model: the work is shared by weight, and what one can't do another does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from fake_time import run_in_fake_time
from scripted import Reply, ScriptedModel, SpanList, endpoint_of, visit_of

from agentbatch.endpoints.answering import Answering, Link
from agentbatch.endpoints.endpoint import Endpoint
from agentbatch.endpoints.pool import EndpointPool, Lane
from agentbatch.errors import (
    AuthFault,
    BadRequest,
    ConnectionFault,
    ContextLength,
    Overloaded,
    RateLimited,
    RunStopped,
    ServerFault,
    Unreachable,
)
from agentbatch.limits import Limiter
from agentbatch.messages import ChatRequest, Message
from agentbatch.process.control import Control

REQUEST = ChatRequest((Message("user", "hello"),))


def always(reply: Reply) -> Callable[[ChatRequest, int], Reply]:
    return lambda *_: reply


class Servers:
    """Endpoints `m#1`, `m#2`, ... of one model, each with a script of its own."""

    def __init__(self, *scripts: Callable[[ChatRequest, int], Reply], weights: tuple[float, ...] = (), **more: object):
        self.control = Control()
        self.models = [ScriptedModel(script) for script in scripts]
        self.endpoints: list[Endpoint] = [
            endpoint_of(
                model,
                name=f"m#{number}",
                limiter=Limiter(f"model m#{number}", max_concurrency=20, **more),  # pyright: ignore[reportArgumentType]
                control=self.control,
                pooled=True,
                replaceable=True,
            )
            for number, model in enumerate(self.models, 1)
        ]
        lanes = [Lane(each, weight) for each, weight in zip(self.endpoints, weights or [1.0] * 9, strict=False)]
        self.pool = EndpointPool("m", tuple(lanes), replaceable=False)

    async def ask(self, calls: int, workers: int = 30) -> list[str | Exception]:
        items = iter(range(calls))
        answers: list[str | Exception] = []

        async def worker() -> None:
            for index in items:
                try:
                    answers.append((await self.pool.ask(REQUEST, visit_of(index))).text)
                except Exception as error:
                    answers.append(error)

        await asyncio.gather(*(worker() for _ in range(workers)))
        return answers

    @property
    def asked(self) -> list[int]:
        return [len(model.asked) for model in self.models]


def test_the_work_is_shared_by_weight() -> None:
    async def main() -> None:
        servers = Servers(always("ok"), always("ok"), weights=(3.0, 1.0))
        assert await servers.ask(400, workers=16) == ["ok"] * 400
        first, second = servers.asked
        assert 2.5 <= first / second <= 3.5

    run_in_fake_time(main())


@pytest.mark.parametrize(
    "fault",
    [Unreachable("refused"), ConnectionFault("reset"), ServerFault("500"), Overloaded("529"), RateLimited("429")],
    ids=lambda fault: type(fault).__name__,
)
def test_a_dead_endpoint_costs_little_and_the_others_do_its_work(fault: Exception) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        servers = Servers(always(fault), always("ok"))  # pyright: ignore[reportArgumentType]
        assert await servers.ask(2000) == ["ok"] * 2000
        assert loop.time() - began <= 2000 * 0.1 / 20 * 1.3, "the other one takes 20 at once"
        assert servers.asked[0] <= 200

    run_in_fake_time(main())


def test_a_refused_key_is_one_endpoints_affair_until_all_are_refused() -> None:
    async def main() -> None:
        servers = Servers(always(AuthFault("401", http_status=401)), always("ok"))
        assert await servers.ask(500) == ["ok"] * 500
        assert servers.asked[0] <= 30
        assert servers.endpoints[0].dead is not None
        both = Servers(always(AuthFault("401", http_status=401)), always(AuthFault("401", http_status=401)))
        answers = await both.ask(500)
        assert any(isinstance(each, RunStopped) for each in answers)
        assert "every endpoint of model m is out of service" in (both.control.reason or "")
        assert sum(both.asked) <= 120

    run_in_fake_time(main())


def test_one_that_was_down_is_used_again() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()

        def down_for_a_while(*_: object) -> Reply:
            return ConnectionFault("reset") if 5 <= loop.time() - began < 35 else "ok"

        servers = Servers(down_for_a_while, always("ok"))
        assert await servers.ask(16_000, workers=60) == ["ok"] * 16_000
        times = servers.models[0].times
        assert sum(6 <= at - began < 35 for at in times) <= 60, "a few probes"
        assert sum(41 <= at - began < 42 for at in times) >= 150, "20 in flight of 0.1 s each are 200 a second"

    run_in_fake_time(main())


def test_there_is_one_retry_layer() -> None:
    async def main() -> None:
        servers = Servers(always(ServerFault("500")), always(ServerFault("500")))
        visit = visit_of()
        with pytest.raises(ServerFault):
            await servers.pool.ask(REQUEST, visit)
        assert sum(servers.asked) == 5, "one and four retries, over both"
        assert visit.requests == 5
        bad = Servers(always(BadRequest("400", http_status=400)), always("ok"))
        with pytest.raises(BadRequest):
            await bad.pool.ask(REQUEST, visit_of())
        assert sum(bad.asked) == 1

    run_in_fake_time(main())


def test_each_has_its_own_limits() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        servers = Servers(always("ok"), always("ok"), rpm=60)
        await servers.ask(100)
        assert loop.time() - began <= 60
        assert min(servers.asked) >= 40

    run_in_fake_time(main())


def test_the_result_and_the_trace_say_which_one_answered() -> None:
    async def main() -> None:
        servers = Servers(always(ServerFault("500")), always("ok"))
        spans = SpanList()
        visit = visit_of(0, spans)
        await servers.pool.ask(REQUEST, visit)
        assert visit.extra["endpoint"] == "m#2"
        assert [span.attributes["endpoint"] for span in spans.ended] == ["m#1", "m#2"]

    run_in_fake_time(main())


def test_a_fallback_is_asked_after_the_errors_it_is_for() -> None:
    async def main() -> None:
        long, long_model = endpoint_and_model("long", "from long")
        other, other_model = endpoint_and_model("other", "from other")

        async def answer(error: Exception) -> str:
            first = endpoint_of(ScriptedModel(always(error)), name="first", retries=0, replaceable=True)  # pyright: ignore[reportArgumentType]
            chain = (
                Link(first),
                Link(long, frozenset({"context_length"})),
                Link(other, frozenset({"server", "connection"})),
            )
            visit = visit_of()
            response = await Answering(chain, None, None).ask(REQUEST, visit)
            return f"{response.text} {visit.extra['model']} {visit.extra['fell_back']}"

        assert await answer(ContextLength("too long")) == "from long long first: context_length"
        assert await answer(ServerFault("500")) == "from other other first: server"
        with pytest.raises(BadRequest):
            await answer(BadRequest("400"))
        assert (len(long_model.asked), len(other_model.asked)) == (1, 1)

    run_in_fake_time(main())


def endpoint_and_model(name: str, reply: str) -> tuple[Endpoint, ScriptedModel]:
    model = ScriptedModel(always(reply))
    return endpoint_of(model, name=name), model
