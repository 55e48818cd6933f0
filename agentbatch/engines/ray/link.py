"""One worker as the driver knows it: what it has in flight, what it said last, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Literal

from agentbatch.engines.ray.cluster import Node, Remote, WorkerCrashed, WorkerGone, WorkerUnheard
from agentbatch.engines.ray.errands.parcels import ErrandRow, NewsRow
from agentbatch.engines.ray.parcels import Batch, Chunk, PieceRow, packed, unpacked
from agentbatch.items import Item
from agentbatch.placement import Placement
from agentbatch.progress.view import Pressure
from agentbatch.time_book import Waits

_WAIT_S = 1.0
"""A worker with nothing to say answers after so long, which is its sign of life."""

_MOST = 256
_MAIL_S = 0.01
"""Errands and news wait so long for more: a message costs the driver most of a millisecond, however small it is."""

_AGAIN_S = 0.2
_MOST_ON_WAY = 1_000_000
"""Bytes of items that have not arrived: with more on the way it is sent none, as Ray holds them until they have."""

State = Literal["working", "lost", "over"]


class Link:
    """A worker that is ready. Silence is measured on this process's own clock.

    Attributes:
        held: the items it has, by index; alone: they are suspects, and have it to themselves.
        crashed: its process ended on a machine that is alive.
        window: how many it works on at once; ahead: how many more it may have waiting.
        placement: of the agents whose steps it does for other workers; None for a worker that has items.
        errands: the steps it does for others, by who wants them; served: how many it has done.
        kept: so many of its journal entries are on disk; paused: whether it is to begin nothing. Its items wait for
            both, so it hears them at once and, should that get lost, with each question for what it has to say.
    """

    def __init__(
        self,
        name: str,
        node: Node,
        remote: Remote,
        window: int,
        ahead: int,
        grace_s: float,
        placement: Placement | None = None,
    ) -> None:
        self.name = name
        self.node = node
        self.remote = remote
        self.window = window
        self.ahead = ahead
        self.held: dict[int, Item] = {}
        self.done = 0
        self.placement = placement
        self.errands: set[tuple[str, int]] = set()
        self.served = 0
        self.kept = 0
        self.paused = False
        self._mail = Chunk()
        self._on_way = 0
        self.alone = False
        self.crashed = False
        self.state: State = "working"
        self.why = ""
        self.pressure = Pressure()
        self.waits: Waits = {}
        self._grace_s = grace_s
        self._wait_s = min(_WAIT_S, grace_s / 4)
        self._last = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def room(self) -> int:
        """How many more items it may be sent."""
        if self.state != "working" or self.placement is not None or (self.alone and self.held):
            return 0
        return self.window + self.ahead - len(self.held) if self._on_way < _MOST_ON_WAY else 0

    @property
    def begun(self) -> int:
        """How many of its items it works on; the others wait there, so that it never waits for the driver."""
        return min(len(self.held), self.window)

    @property
    def load(self) -> float:
        """What it has, as a share of what it can work on at once."""
        return len(self.held) / self.window

    def push(self, chunk: Chunk, then: Callable[[], None], *, alone: bool = False) -> None:
        """Send it items; `then` they are there. If they don't arrive, it is lost, and they with it."""
        self.alone = alone
        self.held.update((item.index, item) for item in chunk.items)
        data = packed(chunk)
        self._on_way += len(data)
        self._start(self._push(data, then))

    def mail(
        self,
        *,
        errand: ErrandRow | None = None,
        dropped: tuple[str, int] | None = None,
        news: NewsRow | None = None,
    ) -> None:
        """Send it something small soon, together with what else there is by then. If it is lost, so is the worker."""
        if self._mail.empty:
            asyncio.get_running_loop().call_later(_MAIL_S, self._send_mail)
        self._mail.errands += [] if errand is None else [errand]
        self._mail.dropped += [] if dropped is None else [dropped]
        self._mail.news += [] if news is None else [news]

    def tell(self, method: str, *arguments: object) -> None:
        """Tell it something that it does not matter much to miss."""
        self._start(self.remote.tell(method, *arguments, timeout=self._grace_s))

    def say_kept(self, through: int) -> None:
        """So many of its journal entries are on disk."""
        self.kept = max(self.kept, through)
        if self.state == "working":
            self.tell("kept", self.kept)

    def pause(self, pausing: bool) -> None:
        """It is to begin nothing new, or to go on."""
        self.paused = pausing
        self.tell("pause", pausing)

    async def listen(
        self, on_batch: Callable[[Link, Batch], None], on_files: Callable[[Sequence[PieceRow]], None]
    ) -> None:
        """Hand over what it says until it has ended or is lost; `state` and `why` tell which.

        `on_files` gets a batch's files before `on_batch` gets the batch, in a thread, for a disk may be slow.
        """
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while self.state == "working":
            left = heard + self._grace_s - loop.time()
            if left <= 0:
                self.lose(f"it was silent for {self._grace_s:g} s")
                return
            try:
                data = await self._drained(left)
            except WorkerGone as error:
                self.crashed = isinstance(error, WorkerCrashed)
                self.lose(str(error))
                return
            except WorkerUnheard as error:
                self.why = str(error)
                await asyncio.sleep(_AGAIN_S)
                continue
            if self.state != "working":
                return
            batch: Batch = unpacked(data)
            if batch.files and batch.number > self._last:
                await asyncio.to_thread(on_files, batch.files)
            if self.state != "working":
                return
            heard = loop.time()
            if batch.number > self._last:
                self._last = batch.number
                on_batch(self, batch)
                if batch.over and batch.cut is not None:
                    self.lose(f"it ended by itself: {batch.cut}")
                elif batch.over:
                    self.state = "over"

    async def _drained(self, timeout: float) -> bytes:
        return await self.remote.call("drain", self._last, self._wait_s, _MOST, self.kept, self.paused, timeout=timeout)

    def close(self) -> None:
        """Nothing more is said to it."""
        for task in self._tasks:
            task.cancel()

    def _send_mail(self) -> None:
        mail, self._mail = self._mail, Chunk()
        if self.state == "working":
            self._start(self._deliver(packed(mail)))

    def lose(self, why: str) -> None:
        """Give it up, unless it has ended."""
        if self.state == "working":
            self.state, self.why = "lost", why

    def _start(self, saying: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(saying)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _push(self, chunk: bytes, then: Callable[[], None]) -> None:
        try:
            await self._deliver(chunk)
        finally:
            self._on_way -= len(chunk)
            then()

    async def _deliver(self, chunk: bytes) -> None:
        try:
            await self.remote.call("push", chunk, timeout=self._grace_s)
        except WorkerGone:
            pass  # `listen` hears of it, too
        except WorkerUnheard as error:
            self.lose(f"items could not be sent to it: {error}")
