"""The contract of a provider's batch API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Protocol

from agentbatch.errors import RateLimited, StepError, TransientError
from agentbatch.messages import ChatRequest, ChatResponse
from agentbatch.record import record


class NotInBatch(TransientError):
    """The batch has ended without an answer to this request: it expired, or was cancelled."""

    type = "timeout"


class LostInBatch(NotInBatch):
    """Nobody knows what became of this request: it may have been answered, and be billed."""


class QueueFull(RateLimited):
    """The provider takes no more requests into batches until some of those that it has are done."""


@record
class BatchState:
    """What the provider says of a batch. `words` are its own, `sources` where the results are.

    Attributes:
        done: requests that have been answered or have failed, of `total`.
        fault: why none of its requests was worked on.
        has_all: its results have a line for every request, unless something is wrong with them.
        awaits_files: it has ended, and does not say yet where its results are.
    """

    id: str
    words: str
    ended: bool
    done: int = 0
    total: int = 0
    fault: StepError | None = None
    sources: tuple[str, ...] = ()
    has_all: bool = False
    awaits_files: bool = False


class BatchApi(Protocol):
    """Every method raises the `StepError` that the provider's answer, or the want of one, stands for."""

    @property
    def max_requests(self) -> int:
        """Requests that a batch may have."""
        ...

    @property
    def names_batches(self) -> bool:
        """Whether a batch keeps its token; else `find` may take another's for it."""
        ...

    def line(self, key: str, body: bytes) -> bytes:
        """One request as it stands in a batch. `body` is the request's JSON, `key` its custom id."""
        ...

    async def submit(self, lines: bytes, count: int, token: str) -> str:
        """Submit a batch, each request a line, and give the provider's id for it; `token` is kept with it."""
        ...

    async def find(self, token: str, count: int, since: float, known: Collection[str]) -> str | None:
        """The batch that was submitted with this token and this many requests, not before `since` (Unix time).

        None where there is none but those `known`: it never got there.
        """
        ...

    async def look(self, batch: str) -> BatchState:
        """How it stands."""
        ...

    async def cancel(self, batch: str) -> None:
        """Answer no more of it than has been answered."""
        ...

    def results(self, state: BatchState) -> AsyncIterator[tuple[str, bytes]]:
        """The lines of its results, each with its custom id, in any order."""
        ...

    def read(self, line: bytes, request: ChatRequest) -> ChatResponse:
        """The answer to `request`, in a line of results.

        Raises:
            NotInBatch: it expired, or was cancelled.
            StepError: it failed.
        """
        ...
