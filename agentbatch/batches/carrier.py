"""One batch at its provider: submitted, found again, looked at until it has ended, and its results fetched.

Whatever fails for a time is tried again; what was perhaps submitted is looked for before anything is submitted anew.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable

from agentbatch.batches.base import BatchApi, BatchState, LostInBatch
from agentbatch.batches.config import ProviderBatchConfig
from agentbatch.batches.store import BatchStore, StoredBatch
from agentbatch.errors import (
    AuthFault,
    BadContent,
    QuotaFault,
    RateLimited,
    RunStopped,
    StepError,
    Unreachable,
)
from agentbatch.text import figures

FIRST_POLL_S = 1.0
_POLL_GROWTH = 1.5
_PATIENCE_S = 900.0
_CHUNK = 500
_SUBMIT_TRIES = 8
_MISSED = 3
"""What the provider says for good, or that it has no such batch or file, counts when it has said so that often: not all
of its servers may know of a batch at once."""

_LOGGER = logging.getLogger(__name__)

HandOut = Callable[[StoredBatch, list[tuple[str, bytes]]], Awaitable[None]]
"""Takes lines of a batch's results, each with its custom id."""


class Cut(asyncio.Event):
    """The news that batches would come too late.

    Attributes:
        patience_s: how long providers then may take to cancel theirs, and to hand out what they had answered.
    """

    patience_s = 0.0

    async def sleep(self, seconds: float) -> None:
        """So long, but not beyond the news."""
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self.wait()
        except TimeoutError:
            pass


class Carrier:
    """Carries the batches of one model to and fro.

    Args:
        name: the model's, in the config.
        api: the provider's.
        store: what is known of batches, on disk.
        config: `provider_batch`.
        cut: the news that batches would come too late.

    Raises:
        RunStopped: from every method: what the provider says needs a person; batches stay where they are.
    """

    def __init__(self, name: str, api: BatchApi, store: BatchStore, config: ProviderBatchConfig, cut: Cut) -> None:
        self._name = name
        self._api = api
        self._store = store
        self._config = config
        self._cut = cut
        self._guessed: dict[int, str] = {}
        """Batches that were found and perhaps are another's, by the number of ours."""
        self._strange: set[str] = set()
        """Batches whose results were another's."""

    async def submit(self, lines: bytes, stored: StoredBatch) -> str:
        """Submit; after a failure that leaves it open whether the batch got there, look for it first.

        Raises:
            StepError: it is not at the provider. RunStopped: nobody knows whether it is.
        """
        delay, tries = FIRST_POLL_S, 0
        while True:
            try:
                return await self._api.submit(lines, stored.count, stored.token)
            except StepError as error:
                if not error.retryable:
                    raise
                refused = error
            tries += not isinstance(refused, RateLimited)
            _LOGGER.warning("model %s: a batch could not be submitted, again: %s", self._name, refused.message)
            await self._cut.sleep(max(delay, refused.retry_after or 0.0))
            delay = min(delay * 2, self._config.poll_every)
            got_there = not isinstance(refused, RateLimited | Unreachable)
            if got_there and (found := await self.find_patiently(stored, _SUBMIT_TRIES)) is not None:
                return found
            if self._cut.is_set() or tries >= _SUBMIT_TRIES:
                raise refused

    async def find_patiently(self, stored: StoredBatch, tries: float = math.inf) -> str | None:
        """The batch's id, if it was submitted.

        Raises:
            RunStopped: that can't be found out, not in so many tries.
            LostInBatch: nor before there is no time left for batches.
        """
        delay = FIRST_POLL_S
        while True:
            try:
                return await self._find(stored)
            except StepError as error:
                tries -= not isinstance(error, RateLimited)
                self._refuse_denial(error)
                if self._cut.is_set():
                    raise LostInBatch(f"whether its batch was submitted can't be found out: {error.message}") from error
                if not error.retryable or tries <= 0:
                    raise RunStopped(
                        f"model {self._name}: whether a batch of {figures.counted(stored.count, 'request')} was"
                        f" submitted can't be found out: {error.message}. The same command looks again"
                    ) from error
                _LOGGER.warning("model %s: batches could not be listed, again: %s", self._name, error.message)
                asked_s = error.retry_after or 0.0
            await self._cut.sleep(max(delay, asked_s))
            delay = min(delay * _POLL_GROWTH, self._config.poll_every)

    async def _find(self, stored: StoredBatch) -> str | None:
        known = await asyncio.to_thread(self._store.known)
        known = known | self._strange | set(self._guessed.values())
        found = await self._api.find(stored.token, stored.count, stored.begun_at, known)
        if found is not None and not self._api.names_batches:
            self._guessed[stored.number] = found
        return found

    async def keep(self, stored: StoredBatch, batch_id: str) -> None:
        """Put down which one it is, unless that is a guess: then the next run had better guess again."""
        if stored.number not in self._guessed:
            await asyncio.to_thread(self._store.submitted, stored.number, batch_id)

    async def instead_of(self, stored: StoredBatch, batch_id: str) -> str | None:
        """Another batch that may be the one, where this turned out to be another's; None where there is none, or this
        was never in doubt."""
        if self._guessed.pop(stored.number, None) is None:
            return None
        self._strange.add(batch_id)
        return await self.find_patiently(stored, _SUBMIT_TRIES)

    async def end_of(self, stored: StoredBatch, batch_id: str, tell: Callable[[BatchState], None]) -> BatchState | None:
        """Its state when it has ended; None where the provider has no such batch, or it takes too long to cancel."""
        loop = asyncio.get_running_loop()
        delay, cancelled_at, cancelled, missed = min(FIRST_POLL_S, self._config.poll_every), 0.0, False, 0
        due, asked_s = self._due(stored), 0.0
        while True:
            late = self._cut.is_set() or loop.time() > due
            try:
                if late and not cancelled:
                    cancelled_at, delay = cancelled_at or loop.time(), min(FIRST_POLL_S, self._config.poll_every)
                    if stored.number not in self._guessed:  # it may be another's
                        await self._cancel(batch_id)
                    cancelled = True
                state = await self._api.look(batch_id)
            except StepError as error:
                missed += not error.retryable
                if missed >= _MISSED:
                    self._end_for(error, batch_id)
                    return None
                self._refuse_denial(error)
                _LOGGER.warning("model %s: batch %s could not be looked at: %s", self._name, batch_id, error.message)
                asked_s = error.retry_after or 0.0
            else:
                asked_s = 0.0
                tell(state)
                missed = missed + 1 if state.ended else 0
                if state.ended and (not state.awaits_files or missed >= _MISSED):
                    return state
            left_s = cancelled_at + self._patience_s - loop.time() if cancelled_at else math.inf
            if left_s <= 0:
                return None
            await self._pause(min(max(delay, asked_s), left_s))
            delay = min(delay * _POLL_GROWTH, self._config.poll_every)

    async def _cancel(self, batch_id: str) -> None:
        """Have the provider answer no more of it; that it can't says that it has ended, which the next look tells."""
        try:
            await self._api.cancel(batch_id)
        except StepError as error:
            if error.retryable:
                raise

    def _end_for(self, error: StepError, batch_id: str) -> None:
        """A batch that the provider doesn't know is lost; what else it says for good, a person must look into."""
        if error.http_status != 404:
            raise RunStopped(
                f"model {self._name}: batch {batch_id} can't be looked at: {error.message}. The same command goes on"
                " with it"
            )

    async def _pause(self, delay: float) -> None:
        """Sleep, but not through the news that batches are to be cut."""
        if self._cut.is_set():
            await asyncio.sleep(delay)
        else:
            await self._cut.sleep(delay)

    @property
    def _patience_s(self) -> float:
        """How long the provider may take to cancel a batch, before its rest is given up."""
        return self._cut.patience_s if self._cut.is_set() else _PATIENCE_S

    def _due(self, stored: StoredBatch) -> float:
        """When it is to be cancelled (loop time). The wall clock, which may leap, is asked once: how old it is."""
        if self._config.max_wait is None:
            return math.inf
        return asyncio.get_running_loop().time() + self._config.max_wait - max(0.0, time.time() - stored.begun_at)

    async def fetch(self, stored: StoredBatch, state: BatchState, hand_out: HandOut) -> bool:
        """Keep the results, and hand them out; whether they could all be read.

        What breaks off is fetched again; what is not there, or stays unreadable, a few times.
        """
        loop = asyncio.get_running_loop()
        delay, missed, began = min(FIRST_POLL_S, self._config.poll_every), 0, loop.time()
        while True:
            try:
                await self._fetch_once(stored, state, hand_out)
                return True
            except StepError as error:
                missed += isinstance(error, BadContent) or not error.retryable
                self._refuse_denial(error)
                if missed >= _MISSED or (self._cut.is_set() and loop.time() - began > self._patience_s):
                    return False
                _LOGGER.warning("model %s: the results of %s broke off: %s", self._name, state.id, error.message)
                asked_s = error.retry_after or 0.0
            await self._pause(max(delay, asked_s))
            delay = min(delay * _POLL_GROWTH, self._config.poll_every)

    async def _fetch_once(self, stored: StoredBatch, state: BatchState, hand_out: HandOut) -> None:
        """Chunk by chunk; also what came before it broke off is handed out."""
        chunk: list[tuple[str, bytes]] = []
        try:
            async for each in self._api.results(state):
                chunk.append(each)
                if len(chunk) == _CHUNK:
                    await hand_out(stored, chunk)
                    chunk = []
        except StepError:
            await hand_out(stored, chunk)
            raise
        await hand_out(stored, chunk)

    def _refuse_denial(self, error: StepError) -> None:
        if isinstance(error, AuthFault | QuotaFault):
            raise RunStopped(f"model {self._name}: {error.type}: {error.message}") from error
