"""Limits on loan: all workers together never have more than the whole, and whoever needs more gets it."""

from __future__ import annotations

import asyncio
import pickle
import random
from contextlib import AsyncExitStack

import pytest
from fake_time import run_in_fake_time

from agentbatch.engines.ray.leases.bank import Bank
from agentbatch.engines.ray.leases.borrower import Borrower
from agentbatch.engines.ray.leases.fixed import take_part
from agentbatch.engines.ray.leases.loans import Answer, Holding, Need, Report, Terms
from agentbatch.engines.ray.leases.shares import Shares
from agentbatch.errors import ConfigError, RunStopped
from agentbatch.limits import Budget, Limiter, Rate, RateLike


def test_equal_needs_share_equally_and_an_odd_place_is_not_lost():
    shares = Shares(5)
    given = {"a": 0.0, "b": 0.0}
    for _ in range(3):
        for worker, now in given.items():
            given[worker] = shares.report(worker, Holding(now, 0, 10))
    assert sorted(given.values()) == [2, 3]


def test_whoever_needs_more_gets_what_others_leave():
    shares = Shares(40)
    given = {"busy": 0.0, "idle": 0.0}
    for _ in range(3):
        given["busy"] = shares.report("busy", Holding(given["busy"], 0, 60))
        given["idle"] = shares.report("idle", Holding(given["idle"], 0, 1))
    assert given == {"busy": 39, "idle": 1}


def test_a_dead_workers_places_come_back():
    shares = Shares(10)
    assert shares.report("a", Holding(0, 0, 10)) == 10
    assert shares.report("b", Holding(0, 0, 10)) == 0
    shares.drop("a")
    assert shares.report("b", Holding(0, 0, 10)) == 10


def test_never_more_than_the_whole_whatever_is_lost_on_the_way():
    draw = random.Random(7)
    for _ in range(200):
        total = draw.randint(1, 20)
        shares = Shares(total)
        may = dict.fromkeys("abc", 0.0)
        used = dict.fromkeys("abc", 0.0)
        for _ in range(60):
            name = draw.choice("abc")
            answer = shares.report(name, Holding(may[name], used[name], draw.randint(0, 15)))
            if draw.random() < 0.7:  # else the answer is lost
                may[name] = answer
            other = draw.choice("abc")
            used[other] = draw.randint(0, int(may[other])) if used[other] <= may[other] else used[other] - 1
            assert sum(used.values()) <= total


def test_a_silent_workers_lease_returns_after_its_time():
    bank = Bank(ttl_s=4)
    terms = {"model m": Terms(10, None, None)}
    first = bank.report(Report("a", 1, terms, {"model m": Holding(0, 0, 10)}), 100)
    assert first.places == {"model m": 10}
    assert bank.report(Report("b", 1, terms, {"model m": Holding(0, 0, 10)}), 103).places == {"model m": 0}
    assert bank.report(Report("b", 2, terms, {"model m": Holding(0, 0, 10)}), 104.1).places == {"model m": 10}


def test_a_worker_that_is_only_late_is_counted_once_and_goes_on():
    bank = Bank(ttl_s=4, budget=10.0)
    bank.vouch(frozenset("ab"))
    terms = {"m": Terms(10, 600, None)}

    def told(worker: str, number: int, at: float, spent: float = 0.0, returned: float = 0.0) -> Answer:
        dollars = Holding(6.0, spent, spent + 1, 0.1)
        places = Holding(10, 10, 10) if worker == "a" else Holding(0, 0, 10)
        rates = {("m", "rpm"): Need(returned, 5)}
        return bank.report(Report(worker, number, terms, {"m": places}, rates, dollars=dollars, spent=spent), at)

    lent = 0.0
    for number in range(1, 101):
        lent = told("a", number, 100 + number / 10, spent=4.0, returned=30.0).lent["m", "rpm"]
    for number, at in enumerate((115.1, 120.2, 125.3, 130.4)):  # three pauses of five seconds
        assert told("b", 1 + number, at).places == {"m": 0}  # those of the other may all be in use
        late = told("a", 101 + number, at + 0.1, spent=4.0, returned=30.0)
        assert late.exhausted is None
        assert late.lent["m", "rpm"] >= lent
    assert bank.spent == pytest.approx(4.0)


def test_who_was_given_up_is_not_listened_to_again():
    bank = Bank(ttl_s=4, budget=10.0)
    for worker, number, at in (("a", 1, 100.0), ("b", 1, 105.0), ("a", 2, 105.1), ("b", 2, 110.0)):
        bank.report(Report(worker, number, dollars=Holding(5.0, 2.0, 3.0), spent=2.0), at)
    assert bank.spent == pytest.approx(4.0)


def test_who_comes_with_another_node_brings_its_places():
    bank = Bank(ttl_s=4)
    before, after = {"agent task": Terms(4, None, None)}, {"agent task": Terms(6, None, None)}
    assert bank.report(Report("a", 1, before, {"agent task": Holding(0, 0, 9)}), 100).places == {"agent task": 4}
    assert bank.report(Report("b", 1, after, {"agent task": Holding(0, 0, 9)}), 100.1).places == {"agent task": 2}
    assert bank.report(Report("a", 2, before, {"agent task": Holding(4, 4, 9)}), 100.2).places == {"agent task": 3}


def test_a_pause_of_one_is_a_pause_of_all_and_does_not_grow_by_being_told():
    bank = Bank(ttl_s=4)
    bank.report(Report("a", 1, pauses={"model m": 10.0}), 100.0)
    told = bank.report(Report("b", 1, pauses={}), 101.0).pauses["model m"]
    assert told == pytest.approx(9)
    for number in range(2, 30):
        bank.report(Report("b", number, pauses={"model m": told + 0.1}), 101.0)
    assert bank.report(Report("a", 2), 101.0).pauses["model m"] == pytest.approx(9)


async def test_a_rate_over_two_workers_is_the_rate():
    bank = Bank(ttl_s=4)
    terms = {"m": Terms(None, 600, None)}
    began = asyncio.get_running_loop().time()
    lent = {"a": 0.0, "b": 0.0}
    for step in range(2000):  # twenty seconds
        for worker in lent:
            report = Report(worker, step + 1, terms, rates={("m", "rpm"): Need(0.0, 50)})
            lent[worker] = bank.report(report, began + step * 0.01).lent["m", "rpm"]
    assert 190 <= sum(lent.values()) <= 205
    assert min(lent.values()) > 60


@pytest.mark.parametrize(("workers", "limit", "size"), [(4, 40_000, 4_000), (4, 100_000, 50_000)])
def test_tokens_of_large_requests_over_many_workers_are_the_limit_in_any_minute(workers: int, limit: int, size: int):
    sent: list[float] = []

    async def send(rate: RateLike) -> None:
        for number in range(1_000):
            await rate.take(number, size)
            sent.append(asyncio.get_running_loop().time())

    async def main() -> None:
        bank = BankNearby()
        async with AsyncExitStack() as stack:
            for n in range(workers):
                worker = Worker(f"w{n}", bank)
                rate = worker.limiter.tpm = Rate(limit, "tokens", "model m")
                worker.borrower = Borrower(f"w{n}", [worker.limiter], {}, worker.budget, bank.report, 4.0, print)
                await stack.enter_async_context(worker)
                for _ in range(4):
                    stack.callback(asyncio.create_task(send(rate)).cancel)
            await asyncio.sleep(130)

    run_in_fake_time(main())
    assert max(sum(size for at in sent if began <= at < began + 60) for began in sent) <= limit
    assert len(sent) * size >= 0.97 * limit * 130 / 60


def test_a_bank_that_follows_another_lends_no_rate_for_a_minute():
    bank = Bank(ttl_s=4, follows=True)
    bank.vouch(frozenset("a"))
    terms = {"m": Terms(10, 600, 6000)}
    need = {("m", "rpm"): Need(0.0, 5), ("m", "tpm"): Need(0.0, 50)}
    for number, at, free in ((1, 100.0, False), (2, 159.0, False), (3, 162.0, True)):
        answer = bank.report(Report("a", number, terms, {"m": Holding(0, 0, 5)}, need), at)
        assert [lent > 0 for lent in answer.lent.values()] == [free, free]
        assert answer.places == {"m": 10}


async def test_what_is_given_back_can_be_lent_again():
    bank = Bank(ttl_s=4)
    terms = {"m": Terms(None, None, 6000)}
    now = asyncio.get_running_loop().time()
    first = bank.report(Report("a", 1, terms, rates={("m", "tpm"): Need(0.0, 300)}), now).lent["m", "tpm"]
    assert first > 0
    spent = bank.report(Report("b", 1, terms, rates={("m", "tpm"): Need(0.0, 300)}), now).lent["m", "tpm"]
    bank.report(Report("a", 2, terms, rates={("m", "tpm"): Need(first, 0)}), now)
    again = bank.report(Report("b", 2, terms, rates={("m", "tpm"): Need(0.0, 300)}), now).lent["m", "tpm"]
    assert again > spent


class BankNearby:
    """A bank in the same process, on a link that can be cut."""

    def __init__(self, ttl_s: float = 4.0, budget: float | None = None) -> None:
        self.bank = Bank(ttl_s, budget)
        self.cut = False
        self.reports = 0

    async def report(self, data: bytes) -> bytes:
        self.reports += 1
        if self.cut:
            await asyncio.sleep(3600)
        return pickle.dumps(self.bank.report(pickle.loads(data), asyncio.get_running_loop().time()))


class Worker:
    """Limits on loan, with their borrower."""

    def __init__(self, name: str, bank: BankNearby, cap: float | None = None, ttl_s: float = 4.0) -> None:
        self.limiter = Limiter("model m", max_concurrency=10, rpm=6000)
        self.budget = Budget(None if cap is None else 0.0)
        self.silent = asyncio.Event()
        self.borrower = Borrower(name, [self.limiter], {}, self.budget, bank.report, ttl_s, self.silent.set)

    async def __aenter__(self) -> Worker:
        await self.borrower.open()
        self._task = asyncio.create_task(self.borrower.keep_up())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()


async def test_two_workers_never_hold_more_places_than_there_are():
    bank = BankNearby()
    most = 0
    async with Worker("a", bank) as a, Worker("b", bank) as b:

        async def call(worker: Worker, number: int) -> None:
            nonlocal most
            assert worker.limiter.permits is not None
            async with worker.limiter.permits.held(number):
                most = max(most, sum(each.limiter.permits.in_use for each in (a, b) if each.limiter.permits))
                await asyncio.sleep(0.005)

        async with asyncio.timeout(60):
            await asyncio.gather(*(call(worker, n) for n in range(150) for worker in (a, b)))
    assert 8 <= most <= 10
    assert bank.reports < 400


async def test_a_worker_cut_from_the_bank_notices_before_others_have_its_share():
    bank = BankNearby(ttl_s=0.6)
    async with Worker("a", bank, ttl_s=0.6) as worker:
        bank.cut = True
        async with asyncio.timeout(30):
            await worker.silent.wait()


async def test_a_cap_on_cost_holds_over_two_workers():
    bank = BankNearby(budget=1.0)
    async with Worker("a", bank, cap=1.0) as a, Worker("b", bank, cap=1.0) as b:

        async def spend(worker: Worker) -> int:
            calls = 0
            while True:
                try:
                    async with worker.budget.reserved(0.05) as spending:
                        spending.usd = 0.04
                        calls += 1
                except RunStopped:
                    return calls

        async with asyncio.timeout(60):
            calls = await asyncio.gather(spend(a), spend(b))
    assert 20 <= sum(calls) <= 25
    assert a.budget.spent + b.budget.spent <= 1.0


@pytest.mark.parametrize(
    ("workers", "cap", "worst", "true", "calls"),
    [(8, 1.0, 0.1, 0.01, 91), (4, 1.0, 0.1, 0.05, 19), (2, 1.5, 1.0, 0.9, 1)],
)
def test_near_its_end_a_cap_is_lent_whole_requests_at_a_time(
    workers: int, cap: float, worst: float, true: float, calls: int
):
    async def ask(budget: Budget) -> int:
        for asked in range(200):
            try:
                async with budget.reserved(worst) as spending:
                    await asyncio.sleep(1)
                    spending.usd = true
            except RunStopped:
                return asked
        return 200

    async def main() -> int:
        bank = BankNearby(budget=cap)
        async with AsyncExitStack() as stack:
            there = [await stack.enter_async_context(Worker(f"w{n}", bank, cap=cap)) for n in range(workers)]
            async with asyncio.timeout(3600):
                return sum(await asyncio.gather(*(ask(worker.budget) for worker in there for _ in range(10))))

    assert run_in_fake_time(main()) == calls


def test_never_more_dollars_than_the_cap_whatever_is_lost_on_the_way():
    draw = random.Random(11)
    for _ in range(300):
        cap, least = draw.uniform(0.5, 3.0), draw.uniform(0.05, 1.0)
        shares = Shares(cap, whole=False)
        may = dict.fromkeys("abcd", 0.0)
        used = dict.fromkeys("abcd", 0.0)
        for _ in range(80):
            name = draw.choice("abcd")
            waiting = draw.randint(0, 3)
            holding = Holding(may[name], used[name], used[name] + waiting * least, least if waiting else None)
            answer = shares.report(name, holding)
            if draw.random() < 0.7:  # else the answer is lost
                may[name] = answer
            other = draw.choice("abcd")
            if used[other] + least <= may[other] + 1e-12:
                used[other] += least
            assert sum(used.values()) <= cap + 1e-9


async def test_fixed_parts_add_up_and_a_limit_that_cannot_be_split_is_refused():
    limiters = [Limiter("model m", max_concurrency=10, rpm=100) for _ in range(3)]
    for rank, limiter in enumerate(limiters):
        take_part([limiter], rank, 3)
    assert sorted(limiter.permits.limit for limiter in limiters if limiter.permits) == [3, 3, 4]
    with pytest.raises(ConfigError, match="max_concurrency of model m is 2, which 3 workers"):
        take_part([Limiter("model m", max_concurrency=2)], 0, 3)


def test_the_only_place_goes_on_to_whoever_waits_when_its_holder_is_idle():
    shares = Shares(1)
    assert shares.report("a", Holding(0, 0, 3)) == 1
    assert shares.report("b", Holding(0, 0, 3)) == 0
    assert shares.report("a", Holding(1, 0, 0)) == 0
    shares.report("a", Holding(0, 0, 0))
    assert shares.report("b", Holding(0, 0, 3)) == 1


async def test_two_workers_with_one_place_between_them_both_come_to_an_end():
    bank = BankNearby()
    async with Worker("a", bank) as a, Worker("b", bank) as b:
        bank.bank._places["model m"].total = 1  # pyright: ignore[reportPrivateUsage]

        async def call(worker: Worker, number: int) -> None:
            assert worker.limiter.permits is not None
            async with worker.limiter.permits.held(number):
                await asyncio.sleep(0)

        async with asyncio.timeout(60):
            await asyncio.gather(*(call(worker, n) for n in range(5) for worker in (a, b)))
