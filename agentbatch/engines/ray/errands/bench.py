"""The end of the worker that does other workers' steps: each is a task, with a visit that continues the far one."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from agentbatch.engines.local import DRAIN_S
from agentbatch.engines.ray.errands.parcels import (
    Errand,
    ErrandEnd,
    ErrandRow,
    NewsRow,
    packed_end,
    taken_apart,
)
from agentbatch.engines.ray.far_journal import FarJournal
from agentbatch.errors import InternalFault, RunStopped, StepError
from agentbatch.items import Item
from agentbatch.limits import Budget
from agentbatch.process.control import Control
from agentbatch.progress.tally import Tally
from agentbatch.step import POSSIBLY_BILLED, Runnable, Visit
from agentbatch.trace import Span, Tracer, current_item

_CONTENT = ("messages", "answer")
"""What of a span is only written where the config asks for content."""

_UNWANTED = "the step is no longer wanted"


class _WorkNews:
    """Stands where a visit's deadline would, as that is told when its clock runs and when it rests. Never expires."""

    def __init__(self, tell: Callable[[bool], None]) -> None:
        self._tell = tell

    def when(self) -> float | None:
        """Never."""
        return None

    def reschedule(self, when: float | None) -> None:
        """Work goes on, or pauses."""
        self._tell(when is not None)

    def expired(self) -> bool:
        """No."""
        return False


class Bench:
    """Does the steps of the agents that `offer` brought. `speak` is called when there is something in `news`."""

    def __init__(
        self, control: Control, journal: FarJournal, tally: Tally, traces: tuple[bool, bool], speak: Callable[[], None]
    ) -> None:
        """`traces`: whether spans are wanted, and their content, too."""
        self.news: list[NewsRow] = []
        self._control = control
        self._journal = journal
        self._tally = tally
        self._traces = traces
        self._speak = speak
        self._runnables: dict[str, Runnable] = {}
        self._at_work: dict[tuple[str, int], asyncio.Task[bytes]] = {}
        self._of_item: Counter[int] = Counter()
        self._drain: asyncio.TimerHandle | None = None

    def offer(self, agent: str, runnable: Runnable) -> None:
        """This agent runs here."""
        self._runnables[agent] = runnable

    def open(self, tracer: Tracer) -> None:
        """From now on steps can be done."""
        self._tracer = tracer
        self._control.on_stop(self._on_stop)

    def take_in(self, rows: Iterable[ErrandRow]) -> None:
        """Begin steps."""
        for row in rows:
            self._begin(row)

    def _begin(self, row: ErrandRow) -> None:
        caller, number, item, data, paid = row
        self._journal.learn({item: paid} if paid else {})
        self._of_item[item] += 1
        task = asyncio.create_task(self._serve(caller, number, data))
        self._at_work[caller, number] = task
        task.add_done_callback(lambda _: self._ended(task, caller, number, item))

    def drop(self, unwanted: Iterable[tuple[str, int]]) -> None:
        """Nobody wants these steps any more."""
        for key in unwanted:
            if task := self._at_work.get(key):
                task.cancel()

    async def close(self) -> None:
        """Cut what is still at work."""
        if self._drain is not None:
            self._drain.cancel()
        tasks = list(self._at_work.values())
        self._cut()
        if tasks:
            await asyncio.wait(tasks)

    def _on_stop(self) -> None:
        if self._control.at_once:
            self._cut()
        elif self._drain is None:
            self._drain = asyncio.get_running_loop().call_later(DRAIN_S, self._cut)

    def _cut(self) -> None:
        for task in self._at_work.values():
            task.cancel()

    def _ended(self, task: asyncio.Task[bytes], caller: str, number: int, item: int) -> None:
        if task.cancelled():  # before it had begun
            end = packed_end(ErrandEnd(stopped=_UNWANTED))
        elif (fault := task.exception()) is not None:
            end = packed_end(ErrandEnd(error=taken_apart(InternalFault(f"{type(fault).__name__}: {fault}"))))
        else:
            end = task.result()
        self.news.append((caller, number, "ended", end))
        self._speak()
        self._at_work.pop((caller, number), None)
        self._of_item[item] -= 1
        if not self._of_item[item]:
            del self._of_item[item]
            self._journal.forget(item)

    async def _serve(self, caller: str, number: int, data: bytes) -> bytes:
        errand: Errand = pickle.loads(data)
        visit = self._visit(errand, lambda working: self._say(caller, number, working))
        span = visit.span
        self._tally.work_for(errand.agent, span.span_id)
        current_item.set(_item_span(errand.item, span))
        try:
            end = await self._done(errand, visit)
        finally:
            self._tally.end_work_for(span.span_id)
        self._close_books(end, errand, visit)
        return packed_end(end)

    def _say(self, caller: str, number: int, working: bool) -> None:
        self.news.append((caller, number, "working" if working else "resting", None))
        self._speak()

    def _visit(self, errand: Errand, tell: Callable[[bool], None]) -> Visit:
        """The far visit goes on here: below one that hears when something works."""
        span = Span(errand.agent, "agent", errand.trace_id, errand.span_id, None, 0, [])
        told = 1e-9  # the far end tells its observers itself when the work has begun
        item, label, path = errand.item, errand.label, errand.path
        outer = Visit(item, self._tracer, label, path, span, _worked=told)
        outer.set_deadline(_WorkNews(tell))
        if errand.purse is not None:
            cap, spent = errand.purse
            outer.purse = Budget(cap, spent)
        visit = Visit(item, self._tracer, label, path, span, outer, errand.prefix, errand.seed, _worked=told)
        visit.paths, visit.calls = set(errand.paths), errand.calls
        return visit

    async def _done(self, errand: Errand, visit: Visit) -> ErrandEnd:
        """How the step ended; being cut short is an end, too, for what it has cost was paid."""
        try:
            return ErrandEnd(await self._runnables[errand.agent].run(errand.scope, visit))
        except asyncio.CancelledError:
            return ErrandEnd(stopped=self._control.reason or _UNWANTED)
        except RunStopped as stopped:
            self._control.stop(str(stopped))
            return ErrandEnd(stopped=str(stopped))
        except StepError as error:
            return ErrandEnd(error=taken_apart(error))
        except Exception as error:  # a bug, ours or a plugin's: loud in the log, but only this item's
            logging.getLogger(__name__).exception("step %s failed on item %s", errand.path, errand.item.id)
            return ErrandEnd(error=taken_apart(InternalFault(f"{type(error).__name__}: {error}")))

    def _close_books(self, end: ErrandEnd, errand: Errand, visit: Visit) -> None:
        of_item = visit.of_item
        end.usage, end.cost_usd, end.calls, end.worked_s = visit.usage(), visit.cost_usd, visit.calls, visit.worked_s
        end.possibly_billed_usd = of_item.extra.get(POSSIBLY_BILLED, 0.0)
        if of_item.purse is not None and errand.purse is not None:
            end.spent_usd = of_item.purse.spent - errand.purse[1]
        end.steps, end.extra, end.sets = visit.steps, visit.extra, visit.sets
        end.paths = visit.paths - errand.paths
        end.spans = [self._far_span(span) for span in visit.span.tree] if self._traces[0] else []
        end.kept = self._journal.hand_over(errand.item.index, {errand.path, *end.paths})

    def _far_span(self, span: Span) -> Span:
        if self._traces[1]:
            return replace(span, tree=[])
        return replace(span, tree=[], attributes={k: v for k, v in span.attributes.items() if k not in _CONTENT})


def _item_span(item: Item, span: Span) -> Span:
    """By what log messages know the item."""
    return Span("item", "item", span.trace_id, "", None, 0, [], {"item.id": item.id, "item.index": item.index})
