"""Work that is no model's (a tool, a command, a function) and is not done again after a crash once it is finished."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from agentbatch.errors import StepError
from agentbatch.files.plain_json import to_plain
from agentbatch.kept.journal import Entry, Journal, Place, digest, next_place
from agentbatch.kept.tape import Tape, TapedCall
from agentbatch.limits import Budget
from agentbatch.record import record
from agentbatch.step import Visit


@record
class Bill:
    """`cost_usd` tells by a result what it cost, in US dollars, and `budget` pays it."""

    budget: Budget
    cost_usd: Callable[[Any], float]


class PaidWork:
    """One piece of work in its place in the run. Make it before anything is awaited: its place is its turn.

    Args:
        journal: where finished work is kept; None keeps nothing.
        visit: whose work it is.
        asked: all that shapes what comes of it.
        bill: who pays what its result says that it cost; None where it costs nothing.
        tape: what it is recorded on, or replayed from.
    """

    def __init__(
        self,
        journal: Journal | None,
        visit: Visit,
        asked: Any,
        tape: Tape | None = None,
        bill: Bill | None = None,
    ) -> None:
        self._journal = journal
        self._visit = visit
        self._asked = asked
        self._tape = tape
        self._bill = bill
        self._place: Place | None = None if journal is None and tape is None else next_place(visit)

    def recalled(self) -> tuple[Any] | None:
        """What an earlier run left of it, in a tuple of one; None where there is nothing."""
        if self._journal is None or self._place is None:
            return None
        found = self._journal.recall(self._place, self._digested)
        return None if found is None else (orjson.loads(found),)

    async def done(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do it, once everything that the item did before is on disk; its result must be plain JSON, and is kept."""
        if self._tape is None or self._place is None:
            return await self._journalled(work)
        call = TapedCall.of(self._visit, self._place, self._digested())
        found = self._tape.find(call)
        if self._tape.replays:
            self._visit.extra["replayed"] = True
            self._pay(found)
            return found
        try:
            result = await self._journalled(work)
        except StepError as error:
            self._tape.keep_failure(call, error)
            raise
        self._tape.keep(call, to_plain(result))
        return result

    async def _journalled(self, work: Callable[[], Awaitable[Any]]) -> Any:
        if self._journal is None or self._place is None:
            result = await work()
            self._pay(result)
            return result
        await self._journal.settle(self._place.item)
        begun = self._journal.begin(self._place, work=True)
        if begun is None:
            result = await work()
        else:
            begun.sent()
            result = await work()
            begun.answered(None)
        cost = self._pay(result)
        kept = Entry(self._place, lambda: (digest(self._digested()), orjson.dumps(to_plain(result))), cost)
        self._journal.record(kept)
        return result

    def _pay(self, result: Any) -> float:
        """Charge the run; returns US dollars."""
        cost = 0.0 if self._bill is None else self._bill.cost_usd(result)
        if self._bill is not None:
            self._bill.budget.spent += cost
        return cost

    def _digested(self) -> bytes:
        return orjson.dumps(to_plain(self._asked), option=orjson.OPT_SORT_KEYS)
