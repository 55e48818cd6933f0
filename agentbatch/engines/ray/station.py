"""A worker's end: the ordinary local engine on an event loop of its own, between an inbox and an outbox.

Nothing here knows Ray, so that tests need no cluster. The driver's questions are answered on the engine's loop: what
blocks that for longer than `engine.node_grace`, as code of a user's could, makes the worker one that is given up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from agentbatch.config import Config, load
from agentbatch.config.cache_choice import open_run_cache
from agentbatch.engines.local import LocalEngine
from agentbatch.engines.ray.errands.away import Away, NotHere, RemoteStep
from agentbatch.engines.ray.errands.bench import Bench
from agentbatch.engines.ray.far_journal import LAZY_S, FarJournal
from agentbatch.engines.ray.files_home import FilesHome
from agentbatch.engines.ray.inbox import Inbox
from agentbatch.engines.ray.leases.borrower import Borrower
from agentbatch.engines.ray.leases.fixed import take_part
from agentbatch.engines.ray.outbox import MOST_BYTES, Outbox
from agentbatch.engines.ray.parcels import Assignment, Batch, Chunk, Hello, finished_row, packed
from agentbatch.engines.ray.relay import LogRelay, SpanRelay, TraceLines
from agentbatch.errors import AgentBatchError, ConfigError
from agentbatch.items import ItemResult
from agentbatch.kept.stores import Stores
from agentbatch.limits import Budget
from agentbatch.placement import Placement
from agentbatch.process.control import Control
from agentbatch.process.event_loop import run_loop
from agentbatch.progress.tally import Tally
from agentbatch.results.artifacts import ArtifactFolder
from agentbatch.results.finished import Finishing
from agentbatch.step import Runnable
from agentbatch.text.redact import Redactor
from agentbatch.trace import SpanObserver, Tracer
from agentbatch.transports.function import FunctionCaller

_T = TypeVar("_T")

_UNEASY_S = 0.5
"""A driver that has not come for so long may be dead: nothing is begun until it comes again."""

_PART_EVERY_S = 0.5
"""Figures come so often, and with results, of which they never lack any should the worker be lost: 28 us of the driver
in a batch."""


class Station:
    """One worker. `start` it with its assignment and the folder of its package; the rest may come from any thread."""

    def __init__(
        self,
        assignment: Assignment,
        folder: Path,
        bank: Callable[[bytes], Awaitable[bytes]] | None = None,
        task_caller: Callable[[str, Placement | None], FunctionCaller] | None = None,
    ) -> None:
        self._task_caller = task_caller
        self._assignment = assignment
        self._bank = bank
        self._folder = folder
        self._hello: Future[Hello] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._control = Control()
        self._inbox = Inbox()
        self._outbox = Outbox(self._batch)
        self._journal = FarJournal(self._outbox.hurry)
        self._away = Away(self._control, self._journal, self._outbox.speak)
        self._bench: Bench | None = None
        self._files: FilesHome | None = None
        self._tally = Tally()
        self._held: dict[int, None] = {}
        self._part_at = 0.0
        self._redactor = Redactor(os.environ.get(name, "") for name in assignment.of_node)
        self._spans = SpanRelay(self._redactor)
        self._logs = LogRelay(assignment.log_level, self._redactor)
        self._fault: tuple[str, str] | None = None
        self._over = False
        self._alone = False
        self._listening = 0
        self._heard = 0.0
        threading.Thread(target=self._live, name="engine", daemon=True).start()

    async def ready(self) -> bytes:
        """Its `Hello`, when the engine is built.

        Raises:
            AgentBatchError: it can't be built here.
        """
        return packed(await asyncio.wrap_future(self._hello))

    def push(self, chunk: Chunk) -> None:
        """More items to do."""
        self._soon(self._take_in, chunk)

    async def drain(self, acknowledged: int, wait_s: float, most: int, kept: int = 0, paused: bool = False) -> bytes:
        """The next `Batch`, as soon as there is something to say, at the latest after `wait_s` seconds.

        Args:
            acknowledged: the number of the last batch that the driver has; the one after it is given again if need be.
            most: results in it.
            kept, paused: as of `kept` and `pause`, which may have been lost on the way.
        """
        return await self._there(self._drain(acknowledged, wait_s, most, kept, paused))

    def kept(self, through: int) -> None:
        """The driver has so many journal entries on its disk."""
        self._soon(self._journal.on_kept, through)

    def stop(self, reason: str, at_once: bool) -> None:
        """The run ends: drain, or cut."""
        self._soon(lambda: self._control.stop(reason, at_once=at_once))

    def pause(self, pausing: bool) -> None:
        """Begin nothing new, or go on."""
        self._soon(self._pause, pausing)

    def finish(self) -> None:
        """There will be no more items."""
        self._soon(self._inbox.close)

    # between threads

    def _soon(self, what: Callable[..., object], *about: object) -> None:
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(what, *about)
            except RuntimeError:
                pass  # the engine has ended, and its last batch says so

    async def _there(self, work: Coroutine[Any, Any, _T]) -> _T:
        assert self._loop is not None
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    # on the engine's loop

    def _live(self) -> None:
        try:
            run_loop(self._main())
        except BaseException as error:
            if not self._hello.done():
                told = self._redactor.text(str(error))
                ours = isinstance(error, AgentBatchError)
                self._hello.set_exception(type(error)(told) if ours else ConfigError(f"{type(error).__name__}: {told}"))

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        config = self._load()
        self._redactor = redactor = Redactor(config.secrets)
        self._spans = SpanRelay(redactor)
        self._logs = LogRelay(self._assignment.log_level, redactor)
        traces = TraceLines(config.trace.content, redactor.data) if self._assignment.traces else None
        self._finishing = Finishing(self._assignment.include, redactor)
        self._traces = traces
        self._tally = Tally(tuple(config.agents), redactor.text)
        observers: list[SpanObserver] = [self._tally]
        observers += [traces] if traces is not None else []
        observers += [self._spans] if self._assignment.follow else []
        self._control.on_stop(self._on_stop)
        if self._assignment.placement is not None:
            wanted = self._assignment.traces, config.trace.content
            self._bench = Bench(self._control, self._journal, self._tally, wanted, self._outbox.speak)
        with self._logs.listening():
            await self._run_noting_faults(config, Tracer(observers))
        self._journal.post_all()
        self._over = True
        self._outbox.hurry()
        await asyncio.sleep(self._assignment.grace_s)  # the driver may still want the last batches

    async def _run_noting_faults(self, config: Config, tracer: Tracer) -> None:
        """What breaks a worker that has said hello is for its last batch."""
        try:
            await self._run(config, tracer)
        except Exception as error:
            if not isinstance(error, AgentBatchError):
                logging.getLogger(__name__).exception("worker %s broke", self._assignment.worker)
            self._fault = (type(error).__name__, self._redactor.text(str(error)))
            if not self._hello.done():
                raise

    def _load(self) -> Config:
        assignment = self._assignment
        missing = [name for name in assignment.of_node if name not in os.environ]
        if missing:
            raise ConfigError(
                f"node {assignment.node} has no environment variable {missing[0]}, which engine.secrets takes from the"
                " node: set it before `ray start` there, or say from_driver"
            )
        # Ray puts the driver's folders on the path of its workers, which on the same machine would hide the package
        sys.path[:] = [entry for entry in sys.path if entry and entry not in assignment.foreign_paths]
        variables = {**assignment.variables, **{name: os.environ[name] for name in assignment.of_node}}
        os.environ.update({name: variables[name] for name in assignment.to_environment if name in variables})
        return load(self._folder / assignment.config, assignment.overrides, variables, here=assignment.placement)

    async def _run(self, config: Config, tracer: Tracer) -> None:
        assignment = self._assignment
        window = assignment.window
        limits = config.limits.model_copy(update={"max_concurrency": window, "max_cost": None})
        kept = config.cache.model_copy(update={"path": assignment.cache[1]})
        config = config.model_copy(update={"limits": limits, "cache": kept})
        cache = open_run_cache(config, assignment.cache[0])  # pyright: ignore[reportArgumentType]
        budget = self._budget()
        engine = LocalEngine(
            config,
            tracer=tracer,
            control=self._control,
            budget=budget,
            stores=Stores(self._journal if assignment.journal else None, cache, self._artifact_folder()),
            elsewhere=self,
        )
        self._engine = engine
        async with engine:
            tasks = [asyncio.create_task(self._watch())]
            if self._bench is not None:
                if self._has_tools(config):
                    await engine.workshop.open()
                self._bench.open(tracer)
            borrower = self._borrower(engine, budget)
            if borrower is not None:
                await borrower.open()
                tasks.append(asyncio.create_task(borrower.keep_up()))
            notes = tuple(map(self._redactor.text, engine.notes))
            self._hello.set_result(Hello(engine.window, notes))
            try:
                await engine.run(self._inbox.take, self._deliver)
            finally:
                if self._bench is not None:
                    await self._bench.close()
                for task in tasks:
                    task.cancel()
        if cache is not None:
            cache.close()

    def runs(self, agent: str) -> bool:
        """Whether the agent is on other workers only; see `Elsewhere`."""
        return self._assignment.placed.get(agent) not in (None, self._assignment.placement)

    def step(self, agent: str, runnable: Runnable) -> Runnable:
        """What stands for an agent on this worker; see `Elsewhere`."""
        placement = self._assignment.placed.get(agent)
        if placement is None:
            return runnable
        if self.runs(agent):
            return RemoteStep(agent, placement, self._away, runnable)
        if self._bench is not None:
            self._bench.offer(agent, runnable)
        return runnable

    def function(self, name: str, executor: str, placement: Placement | None) -> FunctionCaller | None:
        """What calls a function that is not to run in this process; see `Elsewhere`."""
        if executor != "ray":
            far = placement in self._assignment.placed.values() and placement != self._assignment.placement
            return NotHere(name) if far else None
        private = self._assignment.driver_pid is not None
        return None if self._task_caller is None else self._task_caller(name, None if private else placement)

    def _on_stop(self) -> None:
        """Items that have not begun are not taken. Who works for others is told when nobody needs it any more."""
        if self._bench is None or self._control.at_once:
            self._inbox.close()

    def _has_tools(self, config: Config) -> bool:
        """Whether agents that run here have any: what others' tools need is not asked of this node."""
        here = [name for name, placement in self._assignment.placed.items() if placement == self._assignment.placement]
        return any(getattr(config.agents[name], "tools", ()) for name in here)

    def _artifact_folder(self) -> ArtifactFolder | None:
        told = self._assignment.artifacts
        if told is None:
            return None
        if told:
            return ArtifactFolder(Path(told))
        self._files = FilesHome()
        return ArtifactFolder(self._files.folder, self._files.send)

    def _budget(self) -> Budget:
        """Under a cap nothing yet: it is borrowed, as limits in fixed parts keep none."""
        return Budget(None if self._assignment.budget is None else 0.0)

    def _borrower(self, engine: LocalEngine, budget: Budget) -> Borrower | None:
        workshop, assignment = engine.workshop, self._assignment
        if assignment.share is not None or self._bank is None:
            take_part(workshop.limiters, *(assignment.share or (0, 1)))
            return None
        return Borrower(
            assignment.worker,
            workshop.limiters,
            workshop.endpoints,
            budget,
            self._bank,
            assignment.ttl_s,
            lambda: self._cut("the bank of limits is silent"),
        )

    def _take_in(self, chunk: Chunk) -> None:
        self._journal.learn(chunk.paid)
        self._held.update(dict.fromkeys(item.index for item in chunk.items))
        self._inbox.put(chunk.items)
        for news in chunk.news:
            self._away.hear(news)
        if self._bench is not None and not self._over:
            self._bench.take_in(chunk.errands)
            self._bench.drop(chunk.dropped)
        if self._over:
            self._outbox.hurry()

    def _deliver(self, ended: ItemResult) -> None:
        index = ended.item.index
        self._journal.forget(index)
        self._held.pop(index, None)
        trace = self._trace_of(index)
        self._outbox.put(finished_row(self._finishing(ended), trace))

    def _pause(self, pausing: bool) -> None:
        self._control.pause() if pausing else self._control.resume()

    async def _drain(self, acknowledged: int, wait_s: float, most: int, kept: int, paused: bool) -> bytes:
        loop = asyncio.get_running_loop()
        self._heard = loop.time()
        self._journal.on_kept(kept)
        self._pause(paused)
        self._listening += 1
        try:
            return await self._outbox.drain(acknowledged, wait_s, most)
        finally:
            self._listening -= 1
            self._heard = loop.time()

    def _batch(self, number: int, most: int) -> Batch:
        files = [] if self._files is None else self._files.take(MOST_BYTES)
        more_files = self._files is not None and self._files.waiting
        calls, through = ([], 0) if more_files else self._journal.collect()
        finished = [] if more_files else self._outbox.take(most)
        all_said = self._outbox.empty and not more_files
        if all_said:
            self._outbox.rest()
        over = self._over and all_said
        if over and self._files is not None:
            self._files.close()
        now = asyncio.get_running_loop().time()
        due = over or now - self._part_at >= _PART_EVERY_S
        if due:
            self._part_at = now
        reason = None if self._control.reason is None else self._redactor.text(self._control.reason)
        return Batch(
            number=number,
            finished=finished,
            unfinished=[(index, self._trace_of(index)) for index in self._held] if over else [],
            calls=calls,
            calls_through=through,
            spans=[self._spans.waiting.popleft() for _ in range(len(self._spans.waiting))],
            logs=[self._logs.waiting.popleft() for _ in range(len(self._logs.waiting))],
            part=self._tally.part() if due or finished else None,
            pressure=self._engine.pressure() if due and not over else None,
            asked=_taken(self._away.asked),
            dropped=_taken(self._away.dropped),
            files=files,
            news=_taken([] if self._bench is None or more_files else self._bench.news),
            waits={} if over else self._engine.waits(),
            stopped=None if self._alone else reason,
            fault=self._fault,
            over=over,
            cut=reason if self._alone else None,
            unfinished_usd=self._engine.unfinished_usd if over else 0.0,
        )

    def _trace_of(self, index: int) -> bytes | None:
        return None if self._traces is None else self._traces.take(index)

    async def _watch(self) -> None:
        """Let journal entries age; and if the driver falls silent, cut the calls that it will have made again."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LAZY_S)
            self._journal.age()
            silent_s = 0.0 if self._listening else loop.time() - self._heard
            self._inbox.hold(silent_s > _UNEASY_S)
            if silent_s > self._assignment.grace_s / 2 or not self._driver_lives():
                self._cut("the driver is silent")

    def _driver_lives(self) -> bool:
        """Whether it may: on its own machine that can be seen."""
        if self._assignment.driver_pid is None:
            return True
        try:
            os.kill(self._assignment.driver_pid, 0)
        except OSError:
            return False
        return True

    def _cut(self, why: str) -> None:
        """This worker is on its own: what it has in flight will be done by others."""
        if not self._control.stopping:
            self._alone = True
            self._control.stop(why, at_once=True)


def _taken(waiting: list[_T]) -> list[_T]:
    """What waits; the list is empty then."""
    taken = waiting[:]
    waiting.clear()
    return taken
