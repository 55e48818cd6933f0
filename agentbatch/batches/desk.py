"""Where requests to one model are gathered into batches, submitted, waited for and handed out.

A batch is closed when it is full, when nothing else can be added because every item in flight waits in here, or some
time after its first request. Its life is one task: entered in the store, submitted, looked at from time to time,
fetched. A run that continues takes up the batches it finds in the store.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
import uuid
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import IO, Any

from agentbatch.batches.base import BatchApi, BatchState, NotInBatch
from agentbatch.batches.config import ProviderBatchConfig
from agentbatch.batches.store import EXPIRED, BatchStore, StoredBatch
from agentbatch.batches.waiting import WaitingRoom
from agentbatch.errors import AgentBatchError, AuthFault, BadContent, OutputError, QuotaFault, RunStopped, StepError
from agentbatch.process.control import Control

_LOOK_S = 0.1
"""How often a batch that is being gathered is looked at."""

_FIRST_POLL_S = 1.0
_POLL_GROWTH = 1.5
_MAX_BYTES = 100 * 1024 * 1024
"""Of a batch: below what providers take, and held in memory while it is submitted."""

_PATIENCE_S = 900.0
_CHUNK = 500
_SUBMIT_TRIES = 8
_READ_TRIES = 3
_LOGGER = logging.getLogger(__name__)


@dataclass(slots=True)
class _Gathering:
    """A batch that is not submitted yet."""

    file: IO[bytes]
    since: float
    keys: list[str] = field(default_factory=list[str])
    size: int = 0
    seen: int = 0
    """Its requests when it was last looked at."""


@dataclass(slots=True)
class Carried:
    """A batch at the provider, for people."""

    stored: StoredBatch
    state: BatchState


class BatchDesk:
    """The batches of one model. Use on the event loop.

    Args:
        name: the model's, in the config.
        api: the provider's.
        store: what is known of batches, on disk.
        room: where items wait.
        control: the run's stop switch.
        config: `provider_batch`.

    Attributes:
        open: whether requests are taken; they are not when batches would come too late.
        carried: the batches at the provider.
    """

    def __init__(
        self,
        name: str,
        api: BatchApi,
        store: BatchStore,
        room: WaitingRoom,
        control: Control,
        config: ProviderBatchConfig,
    ) -> None:
        self.name = name
        self.api = api
        self.open = True
        self.carried: dict[int, Carried] = {}
        self.answered = 0
        self._store = store
        self._room = room
        self._control = control
        self._config = config
        self._most = min(config.max_requests or api.max_requests, api.max_requests)
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._gathering: _Gathering | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._taken_up: asyncio.Task[None] | None = None
        self._cut = asyncio.Event()
        self._cut_patience_s = _PATIENCE_S
        control.on_stop(self._stop)

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
            return _checked(known.answer)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[key] = answer
        if known is None or known.batch not in self.carried:
            self._gather(key, self.api.line(key, body))
        return await answer

    @property
    def gathering(self) -> int:
        """Requests that are not submitted yet."""
        return 0 if self._gathering is None else len(self._gathering.keys)

    @property
    def unanswered(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    def give_up(self, patience_s: float) -> None:
        """Batches would come too late: take no more requests, hand back those not submitted, cancel the others.

        After `patience_s` what has not come from the provider is given up, too.
        """
        self.open = False
        self._cut_patience_s = patience_s
        if self._gathering is not None:
            gathering, self._gathering = self._gathering, None
            gathering.file.close()
            self._fail(gathering.keys, NotInBatch("there is no time left for a batch"))
        self._cut.set()

    async def close(self) -> None:
        """End all tasks. What is at the provider stays there."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._gathering is not None:
            self._gathering.file.close()

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
        gathering.file.write(line + b"\n")
        gathering.keys.append(key)
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

    def _close_batch(self) -> None:
        gathering, self._gathering = self._gathering, None
        if gathering is not None:
            self._start(self._carry(gathering))

    # the life of a batch

    async def _carry(self, gathering: _Gathering) -> None:
        """Submit it, once it is on disk that it is going to be, and follow it."""
        with gathering.file as file:
            file.seek(0)
            lines = file.read()
        token = uuid.uuid4().hex
        stored = await asyncio.to_thread(self._store.begin, token, self.name, gathering.keys)
        self.carried[stored.number] = Carried(stored, BatchState("", "submitting", ended=False, total=stored.count))
        try:
            batch_id = await self._submit(lines, stored)
        except StepError as error:
            del self.carried[stored.number]
            await asyncio.to_thread(self._store.forget, stored.number)
            self._refused(error, gathering.keys)
            return
        del lines
        self.carried[stored.number].state = BatchState(batch_id, "submitted", ended=False, total=stored.count)
        await asyncio.to_thread(self._store.submitted, stored.number, batch_id)
        _LOGGER.info("model %s: batch %s of %d requests is submitted", self.name, batch_id, stored.count)
        await self._follow(stored, batch_id)

    async def _submit(self, lines: bytes, stored: StoredBatch) -> str:
        """Submit; after a failure that leaves it open whether the batch got there, look for it first."""
        delay = _FIRST_POLL_S
        for attempt in range(_SUBMIT_TRIES):
            try:
                if attempt and (found := await self._find(stored)) is not None:
                    return found
                return await self.api.submit(lines, stored.count, stored.token)
            except StepError as error:
                if not error.retryable or attempt == _SUBMIT_TRIES - 1:
                    raise
                _LOGGER.warning("model %s: a batch could not be submitted, again: %s", self.name, error.message)
                await asyncio.sleep(max(delay, error.retry_after or 0.0))
                delay = min(delay * 2, self._config.poll_every)
        raise AssertionError("unreachable")

    async def _find(self, stored: StoredBatch) -> str | None:
        known = await asyncio.to_thread(self._store.known)
        return await self.api.find(stored.token, stored.count, stored.begun_at, known)

    async def _follow(self, stored: StoredBatch, batch_id: str) -> None:
        """Look at it until it has ended, and fetch its results."""
        state = BatchState(batch_id, "submitted", ended=False, total=stored.count)
        self.carried[stored.number] = Carried(stored, state)
        state = await self._end_of(stored, batch_id)
        if state is not None and state.fault is None:
            await self._fetch(stored, state)
        del self.carried[stored.number]
        expired = await asyncio.to_thread(self._store.ended, stored.number)
        fault = None if state is None else state.fault
        if fault is not None:
            await asyncio.to_thread(self._store.forget, stored.number)
        self._fail(expired, fault or NotInBatch(f"batch {batch_id} ended without an answer"))

    async def _end_of(self, stored: StoredBatch, batch_id: str) -> BatchState | None:
        """Its state when it has ended; None where the provider knows no such batch, or it takes too long to cancel."""
        delay, cancelled_at = min(_FIRST_POLL_S, self._config.poll_every), 0.0
        while True:
            late = self._cut.is_set() or self._is_late(stored)
            try:
                if late and not cancelled_at:
                    cancelled_at = time.time()
                    delay = _FIRST_POLL_S
                    await self.api.cancel(batch_id)
                state = await self.api.look(batch_id)
            except StepError as error:
                if error.http_status == 404:
                    return None
                self._refuse_denial(error)
                _LOGGER.warning("model %s: batch %s could not be looked at: %s", self.name, batch_id, error.message)
            else:
                self.carried[stored.number].state = state
                if state.ended:
                    return state
            if cancelled_at and time.time() - cancelled_at > self._patience_s:
                return None
            await self._pause(delay)
            delay = min(delay * _POLL_GROWTH, self._config.poll_every)

    async def _pause(self, delay: float) -> None:
        """Sleep, but not through the news that batches are to be cut."""
        if self._cut.is_set():
            await asyncio.sleep(delay)
            return
        try:
            async with asyncio.timeout(delay):
                await self._cut.wait()
        except TimeoutError:
            pass

    @property
    def _patience_s(self) -> float:
        """How long the provider may take to cancel a batch, before its rest is given up."""
        return self._cut_patience_s if self._cut.is_set() else _PATIENCE_S

    def _is_late(self, stored: StoredBatch) -> bool:
        return self._config.max_wait is not None and time.time() - stored.begun_at > self._config.max_wait

    async def _fetch(self, stored: StoredBatch, state: BatchState) -> None:
        """Keep the results, and hand them out. What breaks off is fetched again; what stays unreadable, a few times."""
        delay, unreadable = _FIRST_POLL_S, 0
        while True:
            try:
                await self._fetch_once(stored, state)
                return
            except StepError as error:
                unreadable += isinstance(error, BadContent)
                if error.http_status == 404 or unreadable >= _READ_TRIES:
                    return
                self._refuse_denial(error)
                _LOGGER.warning("model %s: the results of %s broke off: %s", self.name, state.id, error.message)
            await asyncio.sleep(delay)
            delay = min(delay * _POLL_GROWTH, self._config.poll_every)

    async def _fetch_once(self, stored: StoredBatch, state: BatchState) -> None:
        """Chunk by chunk; also what came before it broke off is handed out."""
        chunk: list[tuple[str, bytes]] = []
        try:
            async for each in self.api.results(state):
                chunk.append(each)
                if len(chunk) == _CHUNK:
                    await self._hand_out(stored, chunk)
                    chunk = []
        except StepError:
            await self._hand_out(stored, chunk)
            raise
        await self._hand_out(stored, chunk)

    async def _hand_out(self, stored: StoredBatch, lines: list[tuple[str, bytes]]) -> None:
        await asyncio.to_thread(self._store.answered, stored.number, lines)
        for key, line in lines:
            answer = self._waiting.pop(key, None)
            if answer is not None and not answer.done():
                self.answered += 1
                answer.set_result(line)

    async def _take_up(self) -> None:
        """Go on with the batches of an earlier run."""
        for stored in await asyncio.to_thread(self._store.unended, self.name):
            batch_id = stored.id or await self._find_patiently(stored)
            if batch_id is None:
                await asyncio.to_thread(self._store.forget, stored.number)
                continue
            if stored.id is None:
                await asyncio.to_thread(self._store.submitted, stored.number, batch_id)
            self.carried[stored.number] = Carried(stored, BatchState(batch_id, "submitted", False, 0, stored.count))
            self._start(self._follow(stored, batch_id))

    async def _find_patiently(self, stored: StoredBatch) -> str | None:
        delay = _FIRST_POLL_S
        while True:
            try:
                return await self._find(stored)
            except StepError as error:
                self._refuse_denial(error)
                if not error.retryable:
                    raise RunStopped(
                        f"model {self.name}: whether a batch of the earlier run was submitted can't be found out:"
                        f" {error.message}"
                    ) from error
            await asyncio.sleep(delay)
            delay = min(delay * _POLL_GROWTH, self._config.poll_every)

    # ends

    def _refused(self, error: StepError, keys: Iterable[str]) -> None:
        """The provider does not take the batch."""
        if isinstance(error, AuthFault | QuotaFault):
            self._control.stop(f"model {self.name}: {error.type}: {error.message}")
        self._fail(keys, error)

    def _refuse_denial(self, error: StepError) -> None:
        if isinstance(error, AuthFault | QuotaFault):
            raise RunStopped(f"model {self.name}: {error.type}: {error.message}") from error

    def _fail(self, keys: Iterable[str], error: Exception) -> None:
        for key in keys:
            answer = self._waiting.pop(key, None)
            if answer is not None and not answer.done():
                answer.set_exception(error)

    def _stop(self) -> None:
        self._fail(list(self._waiting), RunStopped(self._control.reason or ""))

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
        self._control.stop(str(error), at_once=isinstance(error, OutputError))


def _checked(line: bytes) -> bytes:
    if line == EXPIRED:
        raise NotInBatch("its batch ended without an answer")
    return line
