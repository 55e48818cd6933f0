"""A batch API that does what a test tells it, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field

from agentbatch.batches.base import BatchState
from agentbatch.errors import ConnectionFault, StepError
from agentbatch.messages import ChatRequest, ChatResponse, Usage

Said = StepError | str


@dataclass
class Submitted:
    """One batch that got there."""

    id: str
    token: str
    keys: list[str]
    looks: int = 0
    cancelled: bool = False


@dataclass
class ScriptedBatches:
    """The `BatchApi` of a provider that takes every batch and ends it at the second look, unless told otherwise.

    Attributes:
        faults: by the name of a method, what its next calls raise, one each; None: that call goes well.
        heard: whether a submission that a fault was raised for got there all the same.
        state: changes what a look says.
        lines: the results of a batch.
        asked: the methods, in order.
    """

    faults: dict[str, list[StepError | None]] = field(default_factory=dict[str, list[StepError | None]])
    heard: bool = True
    state: Callable[[Submitted, BatchState], BatchState] = lambda batch, state: state
    lines: Callable[[Submitted], list[tuple[str, bytes]]] = lambda batch: [(key, line_of(key)) for key in batch.keys]
    torn: int = 0
    """How many times results break off behind their last line."""
    max_requests: int = 100
    names_batches: bool = True
    batches: list[Submitted] = field(default_factory=list[Submitted])
    asked: list[str] = field(default_factory=list[str])
    under_way: int = 0
    most_under_way: int = 0
    """Submissions at once."""

    def line(self, key: str, body: bytes) -> bytes:
        return json.dumps({"key": key}).encode()

    async def submit(self, lines: bytes, count: int, token: str) -> str:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0.5)
        self.under_way -= 1
        fault = self._fault("submit")
        if fault is None or self.heard:
            keys = [json.loads(line)["key"] for line in lines.splitlines()]
            assert len(set(keys)) == count
            self.batches.append(Submitted(f"b{len(self.batches)}", token, keys))
        if fault is not None:
            raise fault
        return self.batches[-1].id

    async def find(self, token: str, count: int, since: float, known: Collection[str]) -> str | None:
        self._check("find")
        if self.names_batches:
            return next((each.id for each in self.batches if each.token == token), None)
        alike = [each.id for each in self.batches if len(each.keys) == count and each.id not in known]
        return next(iter(alike), None)

    async def look(self, batch: str) -> BatchState:
        self._check("look")
        found = self._of(batch)
        found.looks += 1
        ended = found.cancelled or found.looks > 1
        return self.state(found, BatchState(batch, "ended" if ended else "in progress", ended))

    async def cancel(self, batch: str) -> None:
        self._check("cancel")
        self._of(batch).cancelled = True

    async def results(self, state: BatchState) -> AsyncIterator[tuple[str, bytes]]:
        self._check("results")
        for key, line in self.lines(self._of(state.id)):
            yield key, line
        self.torn -= 1
        if self.torn >= 0:
            raise ConnectionFault("broke off")

    def read(self, line: bytes, request: ChatRequest) -> ChatResponse:
        return ChatResponse(line.decode(), usage=Usage(10, 5, 1), model="scripted")

    def _of(self, batch: str) -> Submitted:
        return next(each for each in self.batches if each.id == batch)

    def _fault(self, name: str) -> StepError | None:
        self.asked.append(name)
        waiting = self.faults.get(name)
        return waiting.pop(0) if waiting else None

    def _check(self, name: str) -> None:
        fault = self._fault(name)
        if fault is not None:
            raise fault


def line_of(key: str) -> bytes:
    return f"answer to {key}".encode()
