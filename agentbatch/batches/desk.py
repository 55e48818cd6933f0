"""Where requests to one model are gathered into batches, submitted, waited for and handed out.

A batch is closed when it is full, when nothing else can be added because every item in flight waits in here, or some
time after its first request. Its life is one task: entered in the store, submitted, looked at from time to time,
fetched (`Carrier`). A run that continues takes up the batches it finds in the store.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import uuid
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import IO, Any

from agentbatch.batches.base import BatchApi, BatchState, LostInBatch, NotInBatch, QueueFull
from agentbatch.batches.carrier import FIRST_POLL_S, Carrier, Cut
from agentbatch.batches.config import ProviderBatchConfig
from agentbatch.batches.store import EXPIRED, BatchStore, StoredBatch, StoredCall
from agentbatch.batches.waiting import WaitingRoom
from agentbatch.errors import (
    AgentBatchError,
    AuthFault,
    OutputError,
    QuotaFault,
    RateLimited,
    RunStopped,
    StepError,
)
from agentbatch.process.control import Control

_LOOK_S = 0.1
"""How often a batch that is being gathered is looked at."""

_MAX_BYTES = 100 * 1024 * 1024
"""Of a batch: below what providers take, and held in memory while it is submitted."""

_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class _Gathering:
    """A batch that is not submitted yet."""

    file: IO[bytes]
    since: float
    keys: dict[str, None] = field(default_factory=dict[str, None])
    size: int = 0
    seen: int = 0
    """Its requests when it was last looked at."""


@dataclass(slots=True)
class Carried:
    """A batch at the provider. `answers` are those of its results that are ours."""

    stored: StoredBatch
    state: BatchState
    answers: int = 0


class BatchDesk:
    """The batches of one model. Use on the event loop.

    Args:
        name: the model's, in the config.
        api: the provider's.
        store: what is known of batches, on disk.
        room: where items wait.
        control: the run's stop switch.
        config: `provider_batch`.
        submitting: held while a batch is on its way to that server.

    Attributes:
        open: whether requests are taken; they are not when batches would come too late.
        carried: the batches at the provider.
        failure: why what is submitted can't be kept any more.
    """

    def __init__(
        self,
        name: str,
        api: BatchApi,
        store: BatchStore,
        room: WaitingRoom,
        control: Control,
        config: ProviderBatchConfig,
        submitting: asyncio.Lock,
    ) -> None:
        self.name = name
        self.api = api
        self.open = True
        self.carried: dict[int, Carried] = {}
        self.failure: OutputError | None = None
        self._store = store
        self._room = room
        self._control = control
        self._config = config
        self._most = min(config.max_requests or api.max_requests, api.max_requests)
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._gathering: _Gathering | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._taken_up: asyncio.Task[None] | None = None
        self._submitting = submitting
        self._queued = 0
        self._rest_until = self._rest_s = 0.0
        """Loop time before which nothing is submitted, and how long that rest is, in seconds."""
        self._cut = Cut()
        self._carrier = Carrier(name, api, store, config, self._cut)
        control.on_stop(self._stop)

    def known(self, key: str) -> StoredCall | None:
        """The request of that key, if it is in a batch of this run or of an earlier one."""
        return self._store.find(key)

    async def answer(self, key: str, body: bytes, *, again: bool = False) -> bytes:
        """The line of results for a request; it is put into a batch unless it is in one, or is to be asked `again`.

        Raises:
            NotInBatch: its batch ended without an answer, or no batch can come in time.
            StepError: the batch was refused. RunStopped: the run stops; what is at the provider stays there.
        """
        if self._taken_up is None:
            self._taken_up = self._start(self._take_up())
        await asyncio.wait({self._taken_up})
        self._control.check()
        known = None if again else self._store.find(key)
        if known is not None and known.answer is not None:
            return checked(known.answer)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[key] = answer
        if known is None or known.batch not in self.carried:
            self._gather(key, self.api.line(key, body))
        return await answer

    @property
    def gathering(self) -> int:
        """Requests that are not submitted yet."""
        return self._queued + (0 if self._gathering is None else len(self._gathering.keys))

    @property
    def unanswered(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def give_up(self, patience_s: float) -> None:
        """Batches would come too late: take no more requests, hand back those not submitted, cancel the others.

        After `patience_s` what has not come from the provider is given up, too.
        """
        self.open = False
        self._cut.patience_s = patience_s
        self._hand_back(NotInBatch("there is no time left for a batch"))
        self._cut.set()

    async def close(self) -> None:
        """End all tasks. What is at the provider stays there."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._hand_back(RunStopped("the run is over"))

    # gathering

    def _gather(self, key: str, line: bytes) -> None:
        if not self.open:
            self._fail([key], NotInBatch("there is no time left for a batch"))
            return
        if self._gathering is not None and self._gathering.size + len(line) > _MAX_BYTES:
            self._close_batch()
        if self._gathering is None:
            # the bytes wait on disk, not in memory
            file = tempfile.TemporaryFile(dir=self._store.path.parent)  # noqa: SIM115
            self._gathering = _Gathering(file, asyncio.get_running_loop().time())
            self._start(self._watch(self._gathering))
        gathering = self._gathering
        if key in gathering.keys:
            return
        gathering.file.write(line + b"\n")
        gathering.keys[key] = None
        gathering.size += len(line) + 1
        if len(gathering.keys) >= self._most:
            self._close_batch()

    async def _watch(self, gathering: _Gathering) -> None:
        """Close the batch when it has waited long enough."""
        loop = asyncio.get_running_loop()
        while self._gathering is gathering:
            await asyncio.sleep(_LOOK_S)
            if self._gathering is not gathering:
                return
            grown = len(gathering.keys) > gathering.seen
            gathering.seen = len(gathering.keys)
            too_old = loop.time() - gathering.since >= self._config.gather
            if too_old or (not grown and self._room.all_wait()):
                self._close_batch()

    def _hand_back(self, error: Exception) -> None:
        """What is gathered is not submitted."""
        gathering, self._gathering = self._gathering, None
        if gathering is not None:
            gathering.file.close()
            self._fail(gathering.keys, error)

    def _close_batch(self) -> None:
        gathering, self._gathering = self._gathering, None
        if gathering is not None:
            self._start(self._carry(gathering))

    # the life of a batch

    async def _carry(self, gathering: _Gathering) -> None:
        """Submit it, once it is on disk that it is going to be, and follow it.

        One after the other: of several on their way at once nobody could tell which one a lost answer was about.
        """
        self._queued += len(gathering.keys)
        with gathering.file as file:
            async with self._submitting:
                self._queued -= len(gathering.keys)
                await self._cut.sleep(self._rest_until - asyncio.get_running_loop().time())
                file.seek(0)
                carried = await self._submitted(file.read(), list(gathering.keys))
        if carried is not None:
            await self._follow(carried.stored, carried.state.id)

    async def _submitted(self, lines: bytes, keys: list[str]) -> Carried | None:
        """The batch at the provider; None where it could not be submitted."""
        if self._cut.is_set() or self._control.stopping:
            self._fail(keys, NotInBatch("there is no time left for a batch"))
            return None
        stored = await asyncio.to_thread(self._store.begin, uuid.uuid4().hex, self.name, keys)
        carried = Carried(stored, BatchState("", "submitting", ended=False, total=stored.count))
        self.carried[stored.number] = carried
        try:
            batch_id = await self._carrier.submit(lines, stored)
        except StepError as error:
            await asyncio.to_thread(self._store.forget, stored.number)
            del self.carried[stored.number]
            self._refused(error, keys)
            return None
        carried.state = BatchState(batch_id, "submitted", ended=False, total=stored.count)
        await self._carrier.keep(stored, batch_id)
        _LOGGER.info("model %s: batch %s of %d requests is submitted", self.name, batch_id, stored.count)
        return carried

    async def _follow(self, stored: StoredBatch, batch_id: str) -> None:
        """Look at it until it has ended, and fetch its results."""
        carried = Carried(stored, BatchState(batch_id, "submitted", False, total=stored.count))
        self.carried[stored.number] = carried
        state = await self._carrier.end_of(stored, batch_id, lambda state: self._told(stored, state))
        fault = None if state is None else state.fault
        if fault is not None:
            refused = await asyncio.to_thread(self._store.forget, stored.number)
            del self.carried[stored.number]
            self._refused(self._put_off(fault), refused)
            return
        self._rest_s = 0.0
        whole = state is not None and await self._carrier.fetch(stored, state, self._hand_out)
        if whole and not carried.answers:
            try:
                other = await self._carrier.instead_of(stored, batch_id)
            except LostInBatch:
                whole, other = False, None
            if other is not None:
                await self._follow(stored, other)
                return
        expired = await asyncio.to_thread(self._store.ended, stored.number)
        del self.carried[stored.number]
        if state is None:
            self._fail(expired, LostInBatch(f"batch {batch_id} is lost: nobody knows what it has answered"))
        elif state.has_all or not whole:
            self._fail(expired, LostInBatch(f"the results of batch {batch_id} lack this request"))
        else:
            self._fail(expired, NotInBatch(f"batch {batch_id} ended without an answer"))

    def _told(self, stored: StoredBatch, state: BatchState) -> None:
        self.carried[stored.number].state = state

    def _put_off(self, fault: StepError) -> StepError:
        """The fault of a batch. Where the provider has too much in its queue, submit more only later."""
        if not isinstance(fault, QueueFull):
            return fault
        self._rest_s = min(max(FIRST_POLL_S, 2 * self._rest_s), self._config.poll_every)
        self._rest_until = asyncio.get_running_loop().time() + self._rest_s
        if self.carried:
            return fault
        words = "no other batch of this run is in its queue: make them smaller, with provider_batch.max_requests"
        return RateLimited(f"{fault.message}; {words}")

    async def _hand_out(self, stored: StoredBatch, lines: list[tuple[str, bytes]]) -> None:
        kept = await asyncio.to_thread(self._store.answered, stored.number, lines)
        self.carried[stored.number].answers += len(kept)
        for key, line in kept:
            answer = self._waiting.pop(key, None)
            if answer is not None and not answer.done():
                answer.set_result(line)

    async def _take_up(self) -> None:
        """Go on with the batches of an earlier run."""
        for stored in await asyncio.to_thread(self._store.unended, self.name):
            batch_id = stored.id or await self._looked_up(stored)
            if batch_id is None:
                continue
            self.carried[stored.number] = Carried(stored, BatchState(batch_id, "submitted", False, 0, stored.count))
            self._start(self._follow(stored, batch_id))

    async def _looked_up(self, stored: StoredBatch) -> str | None:
        """The id of a batch whose submission nobody heard of; None where it never got there."""
        async with self._submitting:
            try:
                batch_id = await self._carrier.find_patiently(stored)
            except LostInBatch:
                await asyncio.to_thread(self._store.ended, stored.number)
                return None
            if batch_id is None:
                await asyncio.to_thread(self._store.forget, stored.number)
            else:
                await self._carrier.keep(stored, batch_id)
            return batch_id

    # ends

    def _refused(self, error: StepError, keys: Iterable[str]) -> None:
        """The provider does not take the batch."""
        if isinstance(error, AuthFault | QuotaFault):
            self._control.stop(f"model {self.name}: {error.type}: {error.message}")
        self._fail(keys, error)

    def _fail(self, keys: Iterable[str], error: Exception) -> None:
        for key in keys:
            answer = self._waiting.pop(key, None)
            if answer is not None and not answer.done():
                answer.set_exception(error)

    def _stop(self) -> None:
        """Submit no more; whoever waits ends. What is at the provider stays there."""
        stopped = RunStopped(self._control.reason or "")
        self._hand_back(stopped)
        self._fail(list(self._waiting), stopped)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that can't go on ends the run: its batches stay where they are."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if not isinstance(error, AgentBatchError):
            _LOGGER.error("model %s: a batch could not be carried on", self.name, exc_info=error)
        if isinstance(error, OutputError):
            self.failure = self.failure or error
        self._control.stop(str(error), at_once=self.failure is not None)


def checked(line: bytes) -> bytes:
    """A kept line of results.

    Raises:
        NotInBatch: it stands for none.
    """
    if line == EXPIRED:
        raise NotInBatch("its batch ended without an answer")
    return line
