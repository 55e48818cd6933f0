"""The window finds what a server takes, whatever it was told, and is not fooled by refusals at random."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest
from fake_time import run_in_fake_time
from scripted import ScriptedModel, endpoint_of, visit_of

from agentbatch.endpoints.window import START, Window
from agentbatch.errors import RateLimited
from agentbatch.limits import Limiter
from agentbatch.messages import ChatRequest, ChatResponse, Message, Usage

REQUEST = ChatRequest((Message("user", "hello"),))


class Server(ScriptedModel):
    """Refuses at once beyond `capacity` in flight."""

    capacity = 60

    async def chat(self, request: ChatRequest) -> ChatResponse:
        self.asked.append(request)
        self.times.append(asyncio.get_running_loop().time())
        if self.in_flight >= self.capacity:
            raise RateLimited("429", http_status=429)
        self.in_flight += 1
        try:
            await asyncio.sleep(self.latency)
        finally:
            self.in_flight -= 1
        return ChatResponse("ok", usage=Usage(10, 5, 1))


async def ask_all(server: ScriptedModel, calls: int, told: int, *, auto: bool = False) -> float:
    """The seconds that so many calls take, by workers that wait for permits as items do."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    endpoint = endpoint_of(server, limiter=Limiter("model m", max_concurrency=told), auto=auto)
    items = iter(range(calls))

    async def worker() -> None:
        for index in items:
            await endpoint.ask(REQUEST, visit_of(index))

    await asyncio.gather(*(worker() for _ in range(told * 2)))
    return loop.time() - began


@pytest.mark.parametrize("told", [100, 300, 1000])
def test_a_server_that_takes_60_is_filled_and_hardly_ever_refuses(told: int) -> None:
    server = Server(script=lambda *_: "ok", latency=0.1)
    seconds = run_in_fake_time(ask_all(server, 3000, told))
    assert len(server.asked) <= 3200
    assert seconds <= 5.8, "ideal: 3,000 x 0.1 s / 60 = 5.0 s"


class FarServer(Server):
    """On their way to it requests overtake each other, so that those refused are not those that were sent last."""

    def __init__(self, spread_s: float) -> None:
        super().__init__(script=lambda *_: "ok")
        self._draw = random.Random(4)
        self._spread_s = spread_s

    async def chat(self, request: ChatRequest) -> ChatResponse:
        await asyncio.sleep(0.002 + self._draw.uniform(0, self._spread_s))
        return await super().chat(request)


@pytest.mark.parametrize("told", [100, 300])
@pytest.mark.parametrize("spread_s", [0.001, 0.005])
def test_requests_that_overtake_each_other_tell_as_much(told: int, spread_s: float) -> None:
    server = FarServer(spread_s)
    seconds = run_in_fake_time(ask_all(server, 3000, told))
    assert len(server.asked) <= 3200
    assert seconds <= 5.6, "ideal: 3,000 x 0.1 s / 60 = 5.0 s, and the way"


def test_refusals_at_random_neither_pause_nor_shrink() -> None:
    draw = random.Random(7)

    def script(*_: object) -> RateLimited | str:
        return RateLimited("429", retry_after=1.0, http_status=429) if draw.random() < 0.05 else "ok"

    server = ScriptedModel(script=script, latency=0.1)
    seconds = run_in_fake_time(ask_all(server, 2000, 100))
    assert seconds <= 2000 * 0.1 / 100 + 3 * 1.1, "the last ones refused wait a second, as asked, some of them twice"
    assert server.peak == 100


def test_many_refusals_at_random_leave_most_of_it_open() -> None:
    draw = random.Random(7)
    server = ScriptedModel(
        script=lambda *_: RateLimited("429", retry_after=0.1, http_status=429) if draw.random() < 0.25 else "ok",
        latency=0.1,
    )
    seconds = run_in_fake_time(ask_all(server, 10_000, 100))
    assert seconds <= 3 * 10_000 * 0.1 / 100


def test_a_server_that_grows_is_filled_again() -> None:
    server = Server(script=lambda *_: "ok", latency=0.1)

    async def grown() -> float:
        asyncio.get_running_loop().call_later(10, setattr, server, "capacity", 200)
        return await ask_all(server, 6000 + 40_000, 300)

    seconds = run_in_fake_time(grown())
    assert seconds <= 10 + 20 + 40_000 * 0.1 / 200 / 0.9


def test_auto_finds_the_capacity_within_20_s() -> None:
    server = Server(script=lambda *_: "ok", latency=0.1)
    run_in_fake_time(ask_all(server, 20_000, 1000, auto=True))
    late = [at for at in server.times if at - server.times[0] > 20]
    span = late[-1] - late[0]
    assert len(late) >= 0.9 * span * 60 / 0.1
    assert len(server.asked) - 20_000 <= 0.02 * 20_000 + 60


@pytest.mark.parametrize(("capacity", "usual_s"), [(1, 0.5), (5, 0.5), (20, 5.0), (60, 1.0), (60, 5.0)])
def test_auto_fills_any_server_within_20_s_and_is_hardly_refused(capacity: int, usual_s: float) -> None:
    """Answers of very different lengths; the limit is one in flight, and not taken for one per minute."""

    class Long(FarServer):
        def __init__(self) -> None:
            super().__init__(0.003)
            self.capacity = capacity
            self.good: list[tuple[float, float]] = []

        async def chat(self, request: ChatRequest) -> ChatResponse:
            self.latency = usual_s * self._draw.lognormvariate(-0.125, 0.5)
            began, answer = asyncio.get_running_loop().time(), await super().chat(request)
            self.good.append((began, asyncio.get_running_loop().time()))
            return answer

    server = Long()
    run_in_fake_time(ask_all(server, round(100 * capacity / usual_s), 1000, auto=True))
    start, end = server.times[0] + 20, server.times[0] + 80
    in_flight = sum(max(0.0, min(until, end) - max(since, start)) for since, until in server.good) / (end - start)
    assert in_flight >= 0.9 * capacity
    taken = sum(start <= since < end for since, _ in server.good)
    assert sum(start <= at < end for at in server.times) - taken <= 0.02 * taken + 2


def test_auto_stays_small_where_answers_get_slow() -> None:
    class Queueing(ScriptedModel):
        """Works on 20 at once; the others wait in its own queue."""

        async def chat(self, request: ChatRequest) -> ChatResponse:
            self.latency = 0.1 * max(1.0, (self.in_flight + 1) / 20)
            return await super().chat(request)

    server = Queueing(script=lambda *_: "ok")
    seconds = run_in_fake_time(ask_all(server, 5000, 1000, auto=True))
    assert server.peak <= 150
    assert seconds <= 1.3 * 5000 * 0.1 / 20


def test_a_storm_is_answered_by_silence() -> None:
    window = Window(50)
    sent = [window.send(level) for level in range(1, 51)]
    refusals = [window.on_refusal(each) for each in sent]
    assert window.size == 1
    assert "of everything" in refusals


def test_a_burst_of_which_a_part_is_taken_leaves_places_for_that_part() -> None:
    window = Window(300)
    sent = [window.send(level) for level in range(1, START + 1)]
    refusals = [window.on_refusal(each) for each in sent[60:]]
    assert window.size == 60
    assert set(refusals) == {"of some"}


def test_the_one_by_which_more_are_sent_than_are_taken_is_known() -> None:
    window = Window(300)
    sent = [window.send(level) for level in range(1, START + 1)]
    for each in sent[60:]:
        window.on_refusal(each)
    while window.size == 60:
        window.on_answer(window.send(60), 0.1)
    assert window.on_refusal(window.send(61)) == "of one too many"
    assert window.size == 60


def test_what_is_allowed_is_never_passed() -> None:
    window = Window(3)
    for _ in range(100):
        window.on_answer(window.send(1), 0.1)
    assert window.size == 3
    assert Window(5000).size == START


def test_it_opens_by_itself_up_to_the_limit_while_nobody_is_refused() -> None:
    window = Window(START * 5)
    sizes = [window.size]
    while window.open_wider():
        sizes.append(window.size)
    assert [*sizes, window.size] == [START, START * 2, START * 4, START * 5]


def test_it_never_lets_thousands_in_at_once() -> None:
    window = Window(10_000)
    sizes = [window.size]
    while window.open_wider():
        sizes.append(window.size)
    assert max(after - before for before, after in pairwise(sizes)) <= 400


def test_a_refusal_ends_the_opening() -> None:
    window = Window(START * 5)
    window.on_refusal(window.send(START))
    assert not window.open_wider()
    assert window.size == START - 1


def test_one_that_finds_out_by_itself_does_not_open_by_the_clock() -> None:
    window = Window(START * 5, auto=True)
    before = window.size
    assert not window.open_wider()
    assert window.size == before


@pytest.mark.slow
def test_auto_gets_used_to_answers_that_take_longer() -> None:
    """Another agent's requests take twenty times as long: that is no sign of a server that queues."""

    class Changing(ScriptedModel):
        async def chat(self, request: ChatRequest) -> ChatResponse:
            self.latency = 0.3 if asyncio.get_running_loop().time() < 1030 else 6.0
            return await super().chat(request)

    server = Changing(script=lambda *_: "ok")
    run_in_fake_time(ask_all(server, 30_000, 200, auto=True))
    late = [at for at in server.times if 1150 <= at < 1350]
    assert len(late) >= 0.85 * 200 / 6.0 * 200
