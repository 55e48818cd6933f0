"""The driver of a run on Ray: it alone has the inputs, the results and the journal; workers have the rest.

One task deals items to workers that have room, one per worker listens to it, and one looks after who works. A worker is
given up when its process has died, or when this process's clock says that it was silent too long; its items are dealt
again, and what it may still say of them is dropped by their index.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from agentbatch.engines.base import Deliver, Take
from agentbatch.engines.local import DRAIN_S
from agentbatch.engines.ray.backlog import Backlog
from agentbatch.engines.ray.cluster import Cluster
from agentbatch.engines.ray.crew import Crew
from agentbatch.engines.ray.errands.desk import ErrandDesk
from agentbatch.engines.ray.files_home import write_pieces
from agentbatch.engines.ray.head_watch import watch_head
from agentbatch.engines.ray.link import Link
from agentbatch.engines.ray.paid_calls import PaidCalls
from agentbatch.engines.ray.parcels import Batch, Chunk, FinishedRow, PieceRow, SpanRow
from agentbatch.engines.ray.relay import log_again
from agentbatch.engines.ray.suspects import MOST_DEATHS, Suspects
from agentbatch.errors import ConfigError, FunctionFault
from agentbatch.items import Failure, Item, ItemResult, Result
from agentbatch.kept.journal import JournalFile
from agentbatch.process.control import Control
from agentbatch.progress.tally import Tally
from agentbatch.progress.view import NodePressure, Pressure
from agentbatch.results.finished import FinishedItem
from agentbatch.text.figures import counted
from agentbatch.time_book import Bound, Waits
from agentbatch.trace import SpanObserver, Tracer
from agentbatch.traces.trace_file import TraceFile

if TYPE_CHECKING:
    from agentbatch.config import Config

_PATIENCE_S = DRAIN_S + 2.0
"""What is in flight when the run is told to stop gets so long to end: a worker's own grace, and the way back."""

CUT_S = 1.0
_SMALLEST_CHUNK = 8

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who on the driver wants to know what happens on the workers."""

    tally: Tally
    tracer: Tracer = field(default_factory=Tracer)
    traces: TraceFile | None = None
    spans: tuple[SpanObserver, ...] = field(default=())
    """Of every single span, which costs the driver much more than results do."""
    artifacts: Path | None = None
    """Where files go that agents leave behind on nodes."""


class RayEngine:
    """Runs items on workers. Use as `async with`."""

    def __init__(
        self,
        config: Config,
        *,
        cluster: Cluster,
        crew: Crew,
        control: Control,
        watchers: Watchers,
        journal: JournalFile | None,
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._crew = crew
        self._control = control
        self._watchers = watchers
        self._observers = watchers.spans
        self._paid = PaidCalls(journal)
        self._errands = ErrandDesk(lambda: self._crew.links, self._paid)
        self._suspects = Suspects()
        self._wake = asyncio.Event()
        self._backlog = Backlog(lambda: None, self._wake.set)
        self._slow: set[asyncio.Future[None]] = set()
        self._fault: Exception | None = None
        self._listening: set[asyncio.Task[None]] = set()
        self._cut = False
        self._watching: asyncio.Task[None] | None = None
        self.notes: list[str] = []
        self.unfinished_usd = 0.0

    async def __aenter__(self) -> Self:
        engine = self._config.engine
        if engine.address is None:
            await self._cluster.open_private(engine.workers or os.cpu_count() or 1)
        else:
            await self._cluster.join(engine.address)
        self._watching = asyncio.create_task(self._watch_raylet())
        self._control.on_stop(self._on_stop)
        self._control.on_pause = self._pause
        if self._control.stopping:
            self._on_stop()
        try:
            await self._crew.open(self._begin, lambda: self._control.stopping)
        except BaseException:
            for task in self._listening:
                task.cancel()
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        # `_watch_head` may not have waited long enough to say so
        if not self._cluster.lost and not await self._cluster.head_listens():
            self._cluster.lost = True
        await self._crew.close()
        if self._watching is not None:
            self._watching.cancel()
        await self._cluster.close()

    async def run(self, take: Take, deliver: Deliver) -> None:
        """Run every item; see `Engine`."""
        self._deliver = deliver
        self._backlog = Backlog(take, self._wake.set)
        recruiting = asyncio.create_task(
            self._crew.keep_up(lambda: not self._control.stopping, lambda: self._errands.wanted)
        )
        recruiting.add_done_callback(lambda _: self._wake.set())
        watching = asyncio.create_task(self._watch_head())
        try:
            while not self._finished():
                await self._turn(recruiting)
            if not self._cut:
                await self._end_workers()
        finally:
            recruiting.cancel()
            watching.cancel()
            for task in self._listening:
                task.cancel()
        if self._fault is not None:
            raise self._fault

    def pressure(self) -> Pressure:
        """The workers' pressure together, and a row for each node."""
        links = list(self._crew.links)
        told = [link.pressure for link in links if link.state == "working"]
        with_items = [link.pressure for link in links if link.state == "working" and link.placement is None]
        nodes: dict[str, NodePressure] = {}
        for link in links:
            row = nodes.get(link.node.name) or NodePressure(link.node.name)
            working = link.state == "working"
            nodes[link.node.name] = NodePressure(
                row.name,
                workers=row.workers + working,
                lost=row.lost + (link.state == "lost"),
                in_flight=row.in_flight + (link.begun + len(link.errands) if working else 0),
                done=row.done + link.done,
            )
        return Pressure(
            items_in_flight=sum(link.begun for link in links if link.state == "working"),
            items_limit=self._config.limits.max_concurrency or sum(one.items_limit or 0 for one in with_items),
            requests_in_flight=sum(one.requests_in_flight for one in told),
            requests_limit=sum(one.requests_limit or 0 for one in told),
            held_by=next((one.held_by for one in told if one.held_by), ""),
            nodes=tuple(nodes.values()),
        )

    def waits(self) -> Waits:
        """What the workers' items wait for, as they last said.

        A worker that waits for items has nothing to do, unless this process waits for its inputs.
        """
        waits: Counter[Bound] = Counter()
        for link in self._crew.links:
            if link.state == "working":
                waits.update(link.waits)  # pyright: ignore[reportArgumentType]  # a Counter adds any numbers
        del waits[Bound("inputs")]
        if self._backlog.waits:
            waits[Bound("inputs")] = 1
        return waits

    def abandon(self) -> None:
        """Cancel everything in flight now."""
        self._cut = True
        self._wake.set()

    async def _watch_head(self) -> None:
        """Ray would end this process without a word a minute after the head is gone: end the run in order before."""
        silent_s = await watch_head(self._cluster.head_listens)
        self._cluster.lost = True
        self._control.stop(f"the head of the Ray cluster, {self._cluster.head}, was silent for {silent_s:.0f} s")

    async def _watch_raylet(self) -> None:
        """Its workers end with it, and so does this process when it next wants something of it: end the run at once."""
        await self._cluster.raylet_ended()
        self._cluster.lost = True
        self.abandon()
        self._control.stop("the Ray process on this machine (raylet) has ended")

    # dealing

    async def _turn(self, recruiting: asyncio.Task[None]) -> None:
        self._wake.clear()
        if recruiting.done() and not recruiting.cancelled() and recruiting.exception() is not None:
            recruiting.result()
        if not self._control.stopping:
            while not self._slow and self._deal_once():
                pass
        if not self._finished():
            await self._wake.wait()

    def _deal_once(self) -> bool:
        """Send one chunk to the worker that has least to do; returns whether there was one to send."""
        open_ = [link for link in self._crew.links if link.room > 0]
        if not open_:
            return False
        link = min(open_, key=lambda link: link.load)
        most = min(link.room, self._config.engine.chunk_max, max(_SMALLEST_CHUNK, len(link.held) // 2))
        if self._config.limits.max_concurrency is not None:
            in_flight = sum(len(link.held) for link in self._crew.links if link.state == "working")
            most = min(most, self._config.limits.max_concurrency - in_flight)
        items = self._backlog.next(most)
        alone = not items and most > 0 and not link.held and bool(self._suspects)
        if alone:
            items = self._suspects.next(most)
        if not items:
            return False
        link.push(Chunk(items, self._paid.of(items)), self._wake.set, alone=alone)
        return True

    def _finished(self) -> bool:
        if self._cut:
            return True
        if self._control.stopping:
            return not any(link.state == "working" and link.placement is None for link in self._crew.links)
        # a lost worker's items are on their way back until nobody listens to it any more
        return self._backlog.empty and not self._suspects and not any(link.held for link in self._crew.links)

    async def _end_workers(self) -> None:
        """Everything is done: the workers say their last figures."""
        for link in self._crew.links:
            if link.state == "working":
                link.tell("finish")
        if self._listening:
            await asyncio.wait(self._listening, timeout=_PATIENCE_S)

    def _on_stop(self) -> None:
        if self._cluster.lost and self._cut:
            return  # nobody is there to be told
        for link in self._crew.links:
            if link.state == "working":
                link.tell("stop", self._control.reason or "", self._control.at_once)
        patience = CUT_S if self._control.at_once else _PATIENCE_S
        asyncio.get_running_loop().call_later(patience, self.abandon)
        self._wake.set()

    def _pause(self, pausing: bool) -> None:
        for link in self._crew.links:
            if link.state == "working":
                link.pause(pausing)

    # listening

    def _begin(self, link: Link) -> None:
        """A new worker is ready."""
        if self._control.stopping:
            link.tell("stop", self._control.reason or "", self._control.at_once)
        if self._control.paused:
            link.pause(True)
        self._errands.deal()
        task = asyncio.create_task(self._listen(link))
        self._listening.add(task)
        task.add_done_callback(self._listening.discard)
        self._wake.set()

    async def _listen(self, link: Link) -> None:
        try:
            await link.listen(self._on_batch, self._bring_home)
        except Exception as error:  # a bug of ours, too: a worker that nobody listens to would hold its items for ever
            link.lose(f"{type(error).__name__}: {error}")
            self._break(error)
        if link.state == "lost":
            again = _again(link)
            _LOGGER.warning("worker %s on %s is lost: %s; %s run again", link.name, link.node.name, link.why, again)
            self._watchers.tally.lose(link.name)
        self._cluster.kill(link.remote)  # an ended one would keep its core, and one that is cut off its calls
        if link.held:  # none before the run has begun
            self._take_back(link)
        self._errands.lose(link)
        self._crew.on_ended(link)
        self._wake.set()

    def _take_back(self, link: Link) -> None:
        """What a worker had is dealt again, but for an item that ends every process that it is in."""
        items = sorted(link.held.values(), key=lambda item: item.index)
        link.held.clear()
        if link.crashed:
            items, given_up = self._suspects.after_death(items)
            for item in given_up:
                self._give_up(item, link.why)
        self._backlog.give_back(items)

    def _give_up(self, item: Item, why: str) -> None:
        message = (
            f"the worker's process died {MOST_DEATHS} times while it had this item, the last time this item alone"
            f" ({why}): a function or a tool ends the process, or needs more memory than there is"
        )
        _LOGGER.warning("item %s is given up: %s", item.id, message)
        self._suspects.cleared(item.index)
        self._paid.forget(item.index)
        tracer = self._watchers.tracer
        span = tracer.start("item", "item", attributes={"item.id": item.id, "item.index": item.index})
        tracer.end(span, "error", FunctionFault.type, message)
        failed = Result("error", error=Failure(FunctionFault.type, message))
        self._hand_over(ItemResult(item, span.trace_id, span.start_ns, failed))

    def _bring_home(self, files: Sequence[PieceRow]) -> None:
        if self._watchers.artifacts is not None:
            write_pieces(self._watchers.artifacts, files)

    def _on_batch(self, link: Link, batch: Batch) -> None:
        if batch.calls:  # before the ends of their items, which forget them: they would be kept for ever after
            self._paid.keep(batch.calls, lambda: link.say_kept(batch.calls_through))
        for row in batch.finished:
            self._finish(link, row)
        for asked in batch.asked:
            self._errands.ask(link, asked)
        for number in batch.dropped:
            self._errands.drop(link, number)
        for news in batch.news:
            self._errands.tell(link, news)
        self._show(link, batch)
        if batch.fault is not None:
            self._break(ConfigError(f"worker {link.name}: {batch.fault[0]}: {batch.fault[1]}"))
        if batch.over:
            self._on_last(batch)
        if batch.stopped is not None and not self._control.stopping:
            self._control.stop(batch.stopped)
        self._wake.set()

    def _show(self, link: Link, batch: Batch) -> None:
        """What a person may look at."""
        if batch.part is not None:
            self._watchers.tally.take_in(link.name, batch.part)
        if batch.pressure is not None:
            link.pressure = batch.pressure
        link.waits = batch.waits
        for row in batch.spans:
            self._show_span(row)
        for row in batch.logs:
            log_again(row)

    def _show_span(self, row: SpanRow) -> None:
        """As of a `Tracer`: an observer that raises is dropped, never the run."""
        word, span = row
        for observer in self._observers:
            try:
                {"started": observer.on_start, "working": observer.on_work, "ended": observer.on_end}[word](span)
            except Exception:
                self._observers = tuple(other for other in self._observers if other is not observer)
                _LOGGER.exception("an observer failed and is no longer told: %r", observer)

    def _on_last(self, batch: Batch) -> None:
        self.unfinished_usd += batch.unfinished_usd
        if not self._control.stopping:
            return
        for _, trace in batch.unfinished:
            self._watchers.tally.end_item("stopped")
            if trace is not None and self._watchers.traces is not None:
                self._watchers.traces.put(trace)

    def _finish(self, link: Link, row: FinishedRow) -> None:
        item_id, index, status, error, attempts, truncated, checks, fared_well, line, trace = row
        if link.held.pop(index, None) is None:
            return  # it was given up, and belongs to another worker now
        link.done += 1
        self._suspects.cleared(index)
        self._paid.forget(index)
        if error is None:
            self._watchers.tally.end_item(status)
        else:
            self._watchers.tally.end_item(status, str(item_id), error.type, error.agent, error.message)
        if trace is not None and self._watchers.traces is not None:
            self._watchers.traces.put(trace)
        self._hand_over(FinishedItem(item_id, index, status, error, attempts, truncated, checks, fared_well, line))

    def _hand_over(self, ended: ItemResult | FinishedItem) -> None:
        """To the results; where the disk can't follow, nothing is dealt until it has."""
        waiting = self._deliver(ended)
        if waiting is not None:
            future = asyncio.ensure_future(waiting)
            self._slow.add(future)
            future.add_done_callback(self._caught_up)

    def _caught_up(self, waited: asyncio.Future[None]) -> None:
        self._slow.discard(waited)
        self._wake.set()

    def _break(self, error: Exception) -> None:
        self._fault = self._fault or error
        self._control.stop("an error in the run itself")


def _again(link: Link) -> str:
    """What a lost worker had in flight."""
    return (
        counted(len(link.held), "item")
        if link.placement is None
        else f"{counted(len(link.errands), 'step')} of agents placed there"
    )
