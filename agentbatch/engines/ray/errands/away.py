"""The end of the worker that has the item: a step that is done elsewhere looks like any other step from here."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentbatch.engines.ray.errands.parcels import AskRow, Errand, ErrandEnd, NewsRow, put_together
from agentbatch.errors import InternalFault, RunStopped
from agentbatch.items import Output, Scope
from agentbatch.kept.journal import Entry, Journal
from agentbatch.placement import Placement
from agentbatch.process.control import Control
from agentbatch.record import record
from agentbatch.step import Runnable, Visit

_LAST_WORDS_S = 2.0
"""What a step has cost that is no longer wanted is waited for so long."""

_AT_STOP_S = 0.5
"""And so long where the run stops: its item has no line, but what it may be billed counts."""


@dataclass(slots=True, eq=False)
class _Open:
    """An errand that has not come back."""

    visit: Visit
    end: asyncio.Future[ErrandEnd] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    working: bool = False
    spent_usd: float = 0.0

    def work(self, working: bool) -> None:
        """The clocks of the visit run while the step is at work, wherever that is."""
        if working != self.working:
            self.working = working
            self.visit.begin_work() if working else self.visit.end_work()


class Away:
    """A worker's errands. `speak` is called when there is something for the driver in `asked` or `dropped`."""

    def __init__(self, control: Control, journal: Journal | None, speak: Callable[[], None]) -> None:
        self.asked: list[AskRow] = []
        self.dropped: list[int] = []
        self._control = control
        self._journal = journal
        self._speak = speak
        self._open: dict[int, _Open] = {}
        self._number = 0

    async def do(self, placement: Placement, agent: str, scope: Scope, visit: Visit) -> Output:
        """Have a step done where its placement says.

        Raises:
            StepError: it failed. RunStopped: the run ends, and the step was not finished.
        """
        if self._journal is not None:
            await self._journal.settle(visit.item.index)
        purse = visit.of_item.purse
        if purse is None or purse.cap is None:
            return await self._sent(placement, agent, scope, _Open(visit))
        # how much of it the step needs is known over there alone, so steps with a cap go one after another
        rest, mine = await purse.enter_with_rest(), _Open(visit)
        try:
            return await self._sent(placement, agent, scope, mine)
        finally:
            purse.leave(rest, mine.spent_usd)

    async def _sent(self, placement: Placement, agent: str, scope: Scope, mine: _Open) -> Output:
        visit = mine.visit
        self._number += 1
        number, data = self._number, _packed(agent, scope, visit)
        self._open[number] = mine
        self.asked.append((number, placement, visit.item.index, data))
        self._speak()
        try:
            end = await mine.end
        except asyncio.CancelledError:
            await self._last_words(number, mine)
            raise
        finally:
            self._open.pop(number, None)
            mine.work(False)
        self._enter(end, mine)
        if end.stopped is not None:
            raise RunStopped(end.stopped)
        if end.error is not None:
            raise put_together(end.error)
        assert end.output is not None
        return end.output

    def hear(self, news: NewsRow) -> None:
        """What the driver has heard of an errand."""
        _, number, word, data = news
        mine = self._open.get(number)
        if mine is None or mine.end.done():
            return
        if word != "ended" or data is None:
            mine.work(word == "working")
            return
        mine.end.set_result(pickle.loads(data))

    async def _last_words(self, number: int, mine: _Open) -> None:
        """Nobody waits for the step any more; what it has cost counts all the same."""
        if not mine.end.cancelled():  # it came back in the same moment
            self._enter(mine.end.result(), mine)
            return
        self.dropped.append(number)
        self._speak()
        mine.end = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_AT_STOP_S if self._control.stopping else _LAST_WORDS_S):
                self._enter(await mine.end, mine)
        except TimeoutError:
            pass

    def _enter(self, end: ErrandEnd, mine: _Open) -> None:
        """The step's books in those of its item."""
        mine.work(False)
        visit = mine.visit
        visit.count_work(max(0.0, end.worked_s - visit.worked_s))
        visit.count(end.usage, end.cost_usd)
        visit.may_have_cost(end.possibly_billed_usd)
        mine.spent_usd = end.spent_usd
        visit.calls = max(visit.calls, end.calls)
        visit.steps |= end.steps
        visit.extra |= end.extra
        visit.sets |= end.sets
        visit.paths |= end.paths
        visit.span.tree.extend(end.spans)
        if self._journal is not None:
            for call in end.kept:
                self._journal.record(Entry.unpacked(call))


@record
class RemoteStep:
    """An agent that runs on other nodes; `inner` is what it would be here, and says its kind."""

    agent: str
    placement: Placement
    away: Away
    inner: Runnable

    @property
    def kind(self) -> str:
        return self.inner.kind

    async def run(self, scope: Scope, visit: Visit) -> Output:
        """As of `Away.do`."""
        return await self.away.do(self.placement, self.agent, scope, visit)


@record
class NotHere:
    """The function of an agent that runs on other nodes: its module, and what that imports, may be there alone."""

    function: str
    at_once: int | None = None

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        """Never called: the agent's steps go where it is.

        Raises:
            InternalFault: it was.
        """
        raise InternalFault(f"{self.function} runs on other nodes")


def _packed(agent: str, scope: Scope, visit: Visit) -> bytes:
    """The errand's bytes. Of what the item may cost, it may spend all that is left."""
    purse = visit.of_item.purse
    errand = Errand(
        item=visit.item,
        agent=agent,
        scope=scope,
        label=visit.name,
        path=visit.path,
        prefix=visit.prefix,
        seed=visit.seed,
        paths=visit.paths,
        calls=visit.calls,
        trace_id=visit.span.trace_id,
        span_id=visit.span.span_id,
        purse=None if purse is None or purse.cap is None else (purse.cap, purse.spent),
    )
    try:
        return pickle.dumps(errand, protocol=5)
    except Exception as error:  # whatever a foreign value raises when it is pickled
        raise InternalFault(
            f"what {agent} is given can't travel to its node: {type(error).__name__}: {error}"
        ) from error
