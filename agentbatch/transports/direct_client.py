"""HTTP/1.1 straight on the event loop: the hot path of every run, so each microsecond per call was looked at.

A client library's session, its request and response objects and the task that writes them cost several times what the
exchange itself does. Here are a connection that parses as it reads, and a pool; TLS and sockets are the loop's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from time import perf_counter

from agentbatch.errors import ConnectionFault
from agentbatch.transports import faults
from agentbatch.transports.base import CONNECT_TIMEOUT_S, MAX_BODY_BYTES, HttpResponse, HttpStream
from agentbatch.transports.connection import Connection, Headers
from agentbatch.transports.decoding import BodyDecoder
from agentbatch.transports.pool import Pool
from agentbatch.transports.request_head import Target

_URLS_REMEMBERED = 1024


class DirectTransport:
    """`HttpTransport` on asyncio alone. No redirects, cookies, proxies, nor a limit on connections (callers hold
    permits).

    Args:
        max_body_bytes: a decoded body larger than this is refused while it is read.
        connect_timeout: seconds for DNS, TCP and TLS together.
        replay_after_idle: seconds without any answer after which a pooled connection counts as possibly stale.
    """

    def __init__(
        self,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        connect_timeout: float = CONNECT_TIMEOUT_S,
        replay_after_idle: float = 1.0,
    ) -> None:
        self._max_body_bytes = max_body_bytes
        self._replay_after_idle = replay_after_idle
        self._pool = Pool(connect_timeout, max_body_bytes)
        self._targets: dict[tuple[str, str], Target] = {}
        self._last_answer = perf_counter()

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpResponse:
        """One exchange, as `HttpTransport.request` says."""
        target, head = self._head(method, url, headers, body)
        connection = await self._send(target, head, body, piecemeal=False)
        try:
            pieces = await connection.whole()
            status, fields = connection.status, connection.headers
        finally:
            self._end(target, connection)
        self._last_answer = perf_counter()
        return HttpResponse(status, Headers(fields), self._decoded(pieces, fields))

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> AsyncGenerator[HttpStream]:
        """One exchange read as it comes, as `HttpTransport.stream` says."""
        target, head = self._head(method, url, headers, body)
        connection = await self._send(target, head, body, piecemeal=True)
        try:
            self._last_answer = perf_counter()
            yield HttpStream(connection.status, Headers(connection.headers), self._chunks(connection))
        finally:
            self._end(target, connection)

    async def close(self) -> None:
        """Close every pooled connection."""
        self._pool.close()
        await asyncio.sleep(0)  # the loop closes the sockets in its next turn

    def _head(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> tuple[Target, bytes]:
        try:
            target = self._targets.get((method, url)) or self._remember(method, url)
            return target, target.head(headers, body)
        except ValueError as error:
            raise faults.unsendable(faults.origin_of(url), error) from None

    def _remember(self, method: str, url: str) -> Target:
        if len(self._targets) >= _URLS_REMEMBERED:
            self._targets.clear()
        target = self._targets[method, url] = Target(method, url)
        return target

    async def _send(self, target: Target, head: bytes, body: bytes | None, *, piecemeal: bool) -> Connection:
        """The connection on which the answer has begun to come."""
        quiet_s = perf_counter() - self._last_answer
        used = self._pool.take(target.origin)
        if used is not None:
            try:
                return await self._begin(used, target, head, body, piecemeal)
            except ConnectionFault:
                # The keep-alive race (RFC 9112 section 9.3.1): a server may close an idle connection just as we send on
                # it. Nothing came back on a connection that may have idled too long, so it never took the request: send
                # it once more. Elsewhere (a fresh or a busy connection) it is the server's failure, a real attempt.
                if used.begun or quiet_s < self._replay_after_idle:
                    raise
        fresh = await self._pool.connect(target.origin, target.where)
        return await self._begin(fresh, target, head, body, piecemeal)

    async def _begin(
        self, connection: Connection, target: Target, head: bytes, body: bytes | None, piecemeal: bool
    ) -> Connection:
        try:
            connection.send(head, body, piecemeal=piecemeal, has_no_body=target.method == "HEAD")
            await connection.head()
        except BaseException:
            connection.cut()
            raise
        return connection

    def _end(self, target: Target, connection: Connection) -> None:
        if connection.end():
            self._pool.give_back(target.origin, connection)

    def _decoded(self, pieces: list[bytes], fields: Mapping[bytes, bytes]) -> bytes:
        if b"content-encoding" not in fields:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        decoder = self._decoder(fields)
        decoded = [piece for raw in pieces for piece in decoder.decode(raw)]
        decoder.end()
        return b"".join(decoded)

    def _decoder(self, fields: Mapping[bytes, bytes]) -> BodyDecoder:
        return BodyDecoder(fields.get(b"content-encoding", b"").decode("latin-1"), self._max_body_bytes)

    async def _chunks(self, connection: Connection) -> AsyncIterator[bytes]:
        decoder = self._decoder(connection.headers)
        while raw := await connection.piece():
            for piece in decoder.decode(raw):
                yield piece
        decoder.end()
