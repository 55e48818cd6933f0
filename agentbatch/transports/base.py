"""The contract of the one border to the network over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from agentbatch.record import record

MAX_BODY_BYTES = 32 * 1024 * 1024
"""A decoded answer larger than this is refused while it is read."""

CONNECT_TIMEOUT_S = 5.0
"""A server that does not accept a connection within this is down, however patient the attempt's own deadline is."""


@record
class HttpResponse:
    """A whole answer: header names in lower case, the body decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@record
class HttpStream:
    """An answer whose body is still coming, in decoded chunks of any size."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class HttpTransport(Protocol):
    """Sends a request, returns what came back. Redirects are answers, never followed. No retries.

    Every method raises only `ConnectionFault` (nothing whole came back) and `BadResponse` (it is larger than the cap,
    or not HTTP), and `asyncio.CancelledError` through which the connection is closed before it is re-raised. The caller
    owns the deadline: wrap a call in `asyncio.timeout`.
    """

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpResponse:
        """One exchange, with its socket released (or closed) before this returns or raises."""
        ...

    def stream(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> AbstractAsyncContextManager[HttpStream]:
        """One exchange whose body is read inside the `async with`; leaving early closes the connection."""
        ...

    async def close(self) -> None:
        """Close every pooled connection."""
        ...
