"""The engine of one process: a fixed set of workers over a lazy reader."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from agentbatch.assembly import Elsewhere
from agentbatch.build import Workshop
from agentbatch.engines.base import Take
from agentbatch.engines.waits import THE_RUN, full_endpoints, limits_waited_for, work_under_way
from agentbatch.errors import RunStopped
from agentbatch.items import Item, ItemResult, Output
from agentbatch.kept.stores import NO_STORES, Stores
from agentbatch.limits import Budget
from agentbatch.process.control import Control
from agentbatch.process.event_loop import expect_in_flight
from agentbatch.progress.view import Pressure
from agentbatch.step import POSSIBLY_BILLED, Visit, ending, within
from agentbatch.time_book import Bound, Waits, strongest_limit
from agentbatch.trace import Tracer, current_item

if TYPE_CHECKING:
    from agentbatch.config import Config

DRAIN_S = 5.0
"""What is in flight when the run is told to stop gets so long to end."""


_BEGIN_A_TURN = 32
"""Each item that begins lets another one begin: thousands of them in one turn would keep the loop from all else.
These take some 10 ms, as do those that `WakeUps` lets go on."""

_PRICES_AFTER_S = 0.075
"""Published prices are loaded so long after the beginning (it takes 60 ms): the first requests are on their way then,
and their answers mostly not here yet."""

_ITEMS_A_TURN = 32
"""An item on a model without latency never waits; so many in a row, then the loop gets its turn."""


class LocalEngine:
    """Runs items in this process, at most `window` at once. Use as `async with`."""

    def __init__(
        self,
        config: Config,
        *,
        tracer: Tracer,
        control: Control,
        budget: Budget,
        stores: Stores = NO_STORES,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._config = config
        self._tracer = tracer
        self._control = control
        self._budget = budget
        budget.item_cap = config.limits.item_max_cost
        self._workshop = Workshop(config, control, budget, stores, elsewhere)
        self._waiting = self._workshop.batches.waiting
        self._window = config.limits.max_concurrency or self._default_window()
        self._chosen = config.limits.max_concurrency is not None
        """Whether somebody said how many items may be in flight."""
        self.notes = self._workshop.notes
        self._workers: dict[asyncio.Task[None], Visit | None] = {}
        self._beginning = 0
        """Workers that are to begin in the next turn of the loop."""
        self._reading = self._committing = 0
        """Workers that wait for an item to come, and for a result to be written."""
        self._read_all = False
        self._drain_timer: asyncio.TimerHandle | None = None
        self._fault: BaseException | None = None
        self._opened = False

    async def __aenter__(self) -> Self:
        self._workshop.check_prices()
        if self._workshop.shared is not None:
            self._workshop.shared.start()
        self._control.on_stop(self._drain)
        self._waiting.on_enter = self._hire
        self._waiting.all_wait = self._all_wait
        if not self._chosen:
            self._control.on_rest = self._hire
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._workshop.close()

    async def run(self, take: Take, deliver: Callable[[ItemResult], Awaitable[None] | None]) -> None:
        """Run every item.

        Each worker takes its next item itself and starts one more worker while there is room: no queue, no task per
        item, and no more workers than items.
        """
        self._take, self._deliver = take, deliver
        expect_in_flight(self._window)
        loop = asyncio.get_running_loop()
        self._done = loop.create_future()
        self._hire()
        prices = loop.call_later(_PRICES_AFTER_S, self._workshop.models_without_price)
        try:
            await self._done
        finally:
            prices.cancel()
            self.abandon()
            if self._workers:
                await asyncio.wait(self._workers)
            if self._drain_timer is not None:
                self._drain_timer.cancel()
        if self._fault is not None:
            raise self._fault

    def pressure(self) -> Pressure:
        """How busy the workers and endpoints are."""
        visits = [visit for visit in list(self._workers.values()) if visit is not None]
        permits = [e.limiter.permits for e in self._workshop.endpoints.values() if e.limiter.permits is not None]
        return Pressure(
            items_in_flight=len(visits),
            items_limit=max(self._window, len(visits)),  # items that rest before a retry leave their places
            requests_in_flight=sum(each.in_use for each in permits),
            requests_limit=sum(each.limit for each in permits),
            held_by=self._held_by(len(visits)),
        )

    def waits(self) -> Waits:
        """What the items in flight wait for now, with how many do. Cheap: limits first, and items only without any."""
        endpoints = self._workshop.endpoints.values()
        now = asyncio.get_running_loop().time()
        limits = limits_waited_for(endpoints, self._workshop.limiters, self._budget, now)
        if self._control.paused:
            return {Bound("paused"): 1.0}
        if limits:
            return limits
        visits = [visit for visit in self._workers.values() if visit is not None]
        places = self._window if self._chosen else self._window + self._control.resting
        if len(visits) >= places and not self._reading and not self._read_all:
            return (not self._chosen and full_endpoints(endpoints)) or {THE_RUN: 1.0}
        if self._waiting and not any(visit.at_work for visit in visits):
            return {Bound("batch"): float(len(self._waiting))}
        waits = work_under_way(endpoints, sum(visit.working for visit in visits))
        waits[Bound("disk")] += self._committing
        waits[Bound("inputs")] += self._reading
        return waits

    def rests(self) -> dict[str, float]:
        """The models that let nobody in for a while, and how many seconds more."""
        now = asyncio.get_running_loop().time()
        endpoints = self._workshop.endpoints.values()
        return {each.owner: each.resting_until - now for each in endpoints if each.resting_until > now}

    def found_limits(self) -> dict[str, float | None]:
        """What the models' servers were found to take: at once, and in a minute where they don't say so."""
        found: dict[str, float | None] = {}
        for each in self._workshop.endpoints.values():
            found[f"{each.owner}: in flight at most"] = each.health.size
            found[f"{each.owner}: requests a minute"] = each.limiter.learnt and each.limiter.learnt.limit
        return found

    @property
    def unfinished_usd(self) -> float:
        """See `Engine`."""
        return self._budget.unfinished

    @property
    def workshop(self) -> Workshop:
        """What its items are worked on with."""
        return self._workshop

    @property
    def window(self) -> int:
        """How many items may be in flight at once."""
        return self._window

    def resize(self, window: int) -> None:
        """Let so many items be in flight from now on; those beyond it end first."""
        self._window, self._chosen = window, True
        expect_in_flight(window)
        if self._workers:
            self._hire()

    def abandon(self) -> None:
        """Cancel everything in flight now."""
        for worker in self._workers:
            worker.cancel()

    def _held_by(self, in_flight: int) -> str:
        now = self._done.get_loop().time()
        endpoints = list(self._workshop.endpoints.values())
        limit = strongest_limit(limits_waited_for(endpoints, self._workshop.limiters, self._budget, now))
        if limit is None and self._waiting:
            return self._workshop.batches.words
        if limit is None:
            return "items in flight (max_concurrency)" if in_flight >= self._window else ""
        if limit.what == "cool_down":
            rest = max(each.resting_until for each in endpoints if each.owner == limit.who) - now
            return f"{limit.words}: {max(0.0, rest):.0f} s more"
        return limit.words

    def _default_window(self) -> int:
        """Enough items to keep every model busy."""
        return max(64, min(10_000, sum(each.health.window.limit for each in self._workshop.endpoints.values())))

    def _hire(self) -> None:
        if self._beginning < _BEGIN_A_TURN and len(self._workers) < self._places() and not self._control.stopping:
            self._beginning += 1
            worker = asyncio.create_task(self._work())
            self._workers[worker] = None
            worker.add_done_callback(self._retire)

    def _places(self) -> int:
        """How many workers there may be: those whose items wait for a provider's batch don't count, nor, within reason,
        those that sleep before a retry."""
        in_batches = min(len(self._waiting), self._waiting.most)
        return self._window + in_batches + (0 if self._chosen else min(self._control.resting, self._window))

    def _all_wait(self) -> bool:
        """Whether every item in flight waits for a batch, and no other can be begun."""
        none_comes = self._read_all or self._control.stopping or self._waiting.none_comes()
        if len(self._workers) < self._places() and not none_comes:
            return False
        visits = [visit for visit in self._workers.values() if visit is not None]
        idle = self._reading if none_comes else 0
        return len(visits) + idle == len(self._workers) and all(
            visit.item.index in self._waiting and not visit.at_work for visit in visits
        )

    def _leaves(self, worker: asyncio.Task[None]) -> bool:
        """Whether there is a worker too many. It is off the books at once: of several that ask, only so many go."""
        if len(self._workers) <= self._places():
            return False
        del self._workers[worker]
        return True

    def _retire(self, worker: asyncio.Task[None]) -> None:
        self._workers.pop(worker, None)
        if not worker.cancelled() and worker.exception() is not None and self._fault is None:
            self._fault = worker.exception()
            self._control.stop("an error in the run itself")
        if not self._workers and not self._done.done():
            self._done.set_result(None)

    async def _work(self) -> None:
        """Take items until there are none or the run stops."""
        self._beginning -= 1
        worker = asyncio.current_task()
        assert worker is not None
        items = 0
        while not self._control.stopping and not self._leaves(worker):
            items += 1
            if self._control.paused:
                await self._control.unpaused()
                continue
            if items % _ITEMS_A_TURN == 0:
                await asyncio.sleep(0)
            taken = self._take()
            item = taken if taken is None or isinstance(taken, Item) else await self._wait_for(taken)
            if item is None:
                self._read_all = True
                return
            if not self._opened:  # this is the first worker, and there is no other yet
                await self._workshop.open()
                self._opened = True
            self._hire()
            try:
                result = await self._run_item(item, worker)
            except RunStopped as stopped:
                self._control.stop(str(stopped))
                return
            finally:
                self._workers[worker] = None
            waiting = self._deliver(result)
            del result, item, taken  # an answer may be megabytes, and the disk take its time
            if waiting is not None:
                self._committing += 1
                try:
                    await waiting
                finally:
                    self._committing -= 1

    async def _wait_for(self, coming: Awaitable[Item | None]) -> Item | None:
        """The next item of inputs that come as they are made."""
        self._reading += 1
        try:
            return await coming
        finally:
            self._reading -= 1

    async def _run_item(self, item: Item, worker: asyncio.Task[None]) -> ItemResult:
        """One item, from its first queue to its result."""
        span = self._tracer.start("item", "item", attributes={"item.id": item.id, "item.index": item.index})
        visit = Visit(item, self._tracer, "item", "", span)
        if self._budget.item_cap is not None:
            visit.purse = Budget(self._budget.item_cap)
        self._workers[worker] = visit
        current_item.set(span)
        try:
            work = within(self._config.limits.item_timeout, visit, self._enter(item, visit))
            status, output, error = await ending(work, visit, None)
        except BaseException:
            self._tracer.end(span, "stopped")
            self._budget.unfinished += visit.extra.get(POSSIBLY_BILLED, 0.0)
            raise
        result = visit.result("item", status, output, error)
        span.attributes["queued_s"], span.attributes["cost_usd"] = result.queued_s, result.cost_usd
        self._tracer.end(span, result.status, error and error.type, error and error.message)
        current_item.set(None)
        span.tree = []  # as in Tracer.end: whoever wants the tree has it by now
        return ItemResult(item, span.trace_id, span.start_ns, result)

    async def _enter(self, item: Item, visit: Visit) -> Output:
        return await self._workshop.root.run(self._workshop.scope(item), visit)

    def _drain(self) -> None:
        """The run stops: what waits has been turned away; what is on the wire may end, within the grace."""
        if self._control.at_once:
            self.abandon()
        else:
            self._drain_timer = asyncio.get_running_loop().call_later(DRAIN_S, self.abandon)
