"""HTTP over aiohttp: the hot path of every run, so each microsecond per call was looked at.

Of aiohttp we use the connector (names, happy eyeballs, TLS, the pool) and the parser, not `ClientSession`: what that
adds per call (a request, a response and a writer's task, with all they can do and we don't need) costs twice as much as
everything here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from multidict import CIMultiDictProxy
from yarl import URL

from agentbatch import __version__
from agentbatch.errors import BadResponse, ConnectionFault
from agentbatch.transports import faults
from agentbatch.transports.base import CONNECT_TIMEOUT_S, MAX_BODY_BYTES, HttpResponse, HttpStream
from agentbatch.transports.decoding import ACCEPT_ENCODING, BodyDecoder, too_large
from agentbatch.transports.request_head import HeadLines

_CONNECTS_AT_ONCE = 256
"""A ramp of thousands of TLS handshakes would starve each other past the connect timeout: let them queue instead."""

_KEEP_ALIVE_S = 4.0
"""Shorter than the idle timeout of common servers (5 s: uvicorn, Node), so that we are the one to close first."""

_MAX_HEADER_BYTES = 64 * 1024
_URLS_REMEMBERED = 1024
_SMALL_BYTES = 64 * 1024
"""Bodies up to this are copied behind their head, so that both leave in one packet."""

_CONNECTION = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, aiohttp.UploadAbortedError, OSError)
_NOT_HTTP = (aiohttp.ClientResponseError, HttpProcessingError)
_UNSENDABLE = (
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    aiohttp.RedirectClientError,
    ValueError,
    TypeError,
)
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)

MAPPED = (*_CONNECTION, *_NOT_HTTP, *_UNSENDABLE)
"""The exceptions of aiohttp that become faults of ours."""


def fault_of(error: Exception, where: str, connect_timeout: float) -> ConnectionFault | BadResponse:
    """Our word for one of the `MAPPED` exceptions."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return faults.connect_timeout(where, connect_timeout)
    if isinstance(error, _UNSENDABLE) and not isinstance(error, aiohttp.ClientConnectionError):
        return faults.unsendable(where, error)  # that of a TLS certificate is a ValueError, too
    if isinstance(error, _NOT_HTTP):
        return faults.not_http(where, error.message)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return faults.disconnected(where, amid_headers=_has_answer_begun(error))
    return faults.connection_fault(error, where, connected=not isinstance(error, aiohttp.ClientConnectorError))


class AiohttpTransport:
    """`HttpTransport` over aiohttp. No redirects, cookies, proxies, nor a limit on connections (callers hold permits).

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
        self._connect_timeout = connect_timeout
        self._replay_after_idle = replay_after_idle
        self._connector = _Connector(connect_timeout)
        self._targets: dict[tuple[str, str], _Target] = {}
        self._last_answer = perf_counter()

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpResponse:
        """One exchange, as `HttpTransport.request` says."""
        exchange: _Exchange | None = None
        try:
            exchange = await self._send(method, url, headers, body)
            content = await self._read(exchange)
            whole = HttpResponse(exchange.status, LowerCaseHeaders(exchange.headers), content)
        except MAPPED as error:
            raise fault_of(error, faults.origin_of(url), self._connect_timeout) from None
        finally:
            if exchange is not None:
                exchange.end()
        self._last_answer = perf_counter()
        return whole

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> AsyncGenerator[HttpStream]:
        """One exchange read as it comes, as `HttpTransport.stream` says."""
        try:
            exchange = await self._send(method, url, headers, body)
        except MAPPED as error:
            raise fault_of(error, faults.origin_of(url), self._connect_timeout) from None
        try:
            self._last_answer = perf_counter()
            chunks = self._chunks(exchange, faults.origin_of(url))
            yield HttpStream(exchange.status, LowerCaseHeaders(exchange.headers), chunks)
        finally:
            exchange.end()

    async def close(self) -> None:
        """Close every pooled connection."""
        await self._connector.close()

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> _Exchange:
        quiet_s = perf_counter() - self._last_answer
        target = self._targets.get((method, url)) or self._remember(method, url)
        head = target.head(headers, body)
        exchange = _Exchange(await self._connector.connect(target, [], _NO_TIMEOUT))
        new = self._connector.is_new(exchange.protocol)
        try:
            await exchange.ask(head, body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError) as error:
            # The keep-alive race (RFC 9112 section 9.3.1): a server may close an idle connection just as we send on it.
            # Nothing came back on a reused connection that may have idled too long, so it never took the request: send
            # it once more. Elsewhere (a fresh or a busy connection) it is the server's failure, and a real attempt.
            if new or quiet_s < self._replay_after_idle or _has_answer_begun(error):
                raise
            exchange = _Exchange(await self._connector.connect(target, [], _NO_TIMEOUT))
            await exchange.ask(head, body)
        return exchange

    def _remember(self, method: str, url: str) -> _Target:
        if len(self._targets) >= _URLS_REMEMBERED:
            self._targets.clear()
        target = self._targets[method, url] = _Target(method, URL(url))
        return target

    async def _read(self, exchange: _Exchange) -> bytes:
        content = exchange.content
        coding = exchange.headers.get("content-encoding")
        if coding is None and content.is_eof() and content.exception() is None:  # as usual: all came in one packet
            body = content.read_nowait()
            if len(body) > self._max_body_bytes:
                raise too_large(self._max_body_bytes)
            return body
        decoder = BodyDecoder(coding, self._max_body_bytes)
        pieces: list[bytes] = []
        while chunk := await content.readany():
            pieces.extend(decoder.decode(chunk))
        decoder.end()
        return b"".join(pieces)

    async def _chunks(self, exchange: _Exchange, where: str) -> AsyncIterator[bytes]:
        try:
            decoder = BodyDecoder(exchange.headers.get("content-encoding"), self._max_body_bytes)
            while chunk := await exchange.content.readany():
                for piece in decoder.decode(chunk):
                    yield piece
            decoder.end()
        except MAPPED as error:
            raise fault_of(error, where, self._connect_timeout) from None


class _Exchange:
    """One request and its answer on one connection, from `ask` to `end`. Its connection is cut if `ask` fails."""

    __slots__ = ("_connection", "content", "headers", "protocol", "status")

    content: aiohttp.StreamReader
    headers: CIMultiDictProxy[str]
    status: int

    def __init__(self, connection: Connection) -> None:
        assert connection.protocol is not None  # it has one until it is released
        self._connection = connection
        self.protocol = connection.protocol

    async def ask(self, head: bytes, body: bytes | None) -> None:
        """Send a request and wait for the head of its answer. Interim answers (1xx) are passed over."""
        protocol = self.protocol
        try:
            protocol.set_response_params(
                read_until_eof=True,
                auto_decompress=False,
                max_line_size=_MAX_HEADER_BYTES,
                max_field_size=_MAX_HEADER_BYTES,
            )
            _write(protocol.transport, head, body)
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:
                message, content = await protocol.read()
        except BaseException:
            self._cut()
            raise
        self.status, self.headers, self.content = message.code, message.headers, content

    def end(self) -> None:
        """The exchange is over. Unless both sides have said all they had to say, the connection is cut here and now.

        A polite close would first flush what is still to be sent, and wait for the other side to say goodbye in TLS.
        """
        transport = self.protocol.transport
        if transport is None or (self.content.is_eof() and not transport.get_write_buffer_size()):
            self._connection.release()
        else:
            self._cut()

    def _cut(self) -> None:
        transport = self.protocol.transport
        self._connection.close()
        if transport is not None:
            transport.abort()


def _write(transport: asyncio.Transport | None, head: bytes, body: bytes | None) -> None:
    if transport is None or transport.is_closing():
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")
    if body is None:
        transport.write(head)
    elif len(body) <= _SMALL_BYTES:
        transport.write(head + body)
    else:
        transport.writelines((head, body))


class LowerCaseHeaders(Mapping[str, str]):
    """A view of an answer's headers with names in lower case; nothing is copied until somebody looks.

    Of a repeated header the first value counts. Bytes that are no UTF-8 become question marks.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: CIMultiDictProxy[str]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        value = self._fields[name]
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")

    def __contains__(self, name: object) -> bool:  # as quick as the library's own, where most names are absent
        return name in self._fields

    def get(self, name: str, default: Any = None) -> Any:  # likewise: the inherited one raises and catches
        return self[name] if name in self._fields else default

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name in self._fields))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


class _Target(aiohttp.ClientRequest):
    """A method and a URL, checked once, with what every request to it has in common. The connector reads its origin."""

    DEFAULT_HEADERS: Mapping[str, str] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "Accept": "*/*",
        "Accept-Encoding": ACCEPT_ENCODING,
        "User-Agent": f"agentbatch/{__version__}",
    }

    def __init__(self, method: str, url: URL) -> None:
        if url.scheme not in ("http", "https"):
            raise aiohttp.NonHttpUrlClientError(url)
        super().__init__(method, url, loop=asyncio.get_running_loop())
        lines = {name.lower(): f"{name}: {value}\r\n" for name, value in self.headers.items()}
        no_body = lines.pop("content-length", "")
        self.head = HeadLines(f"{self.method} {self.url.raw_path_qs} HTTP/1.1\r\n", lines, no_body).head
        self._key = super().connection_key

    @property
    def connection_key(self) -> Any:
        return self._key


class _Connector(aiohttp.TCPConnector):
    """aiohttp's pool without a limit, which opens only so many connections at a time."""

    def __init__(self, connect_timeout: float) -> None:
        # ssl=True, the default: aiohttp's own verifying context, of which there is one in the process.
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            limit=0, keepalive_timeout=_KEEP_ALIVE_S, ttl_dns_cache=60
        )
        self._connect_timeout = connect_timeout
        self._door = asyncio.Semaphore(_CONNECTS_AT_ONCE)
        self._new: set[ResponseHandler] = set()

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
        try:
            async with self._door, asyncio.timeout(self._connect_timeout):
                protocol = await super()._create_connection(req, traces, timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error
        self._new.add(protocol)
        return protocol

    def is_new(self, protocol: ResponseHandler) -> bool:
        """Whether a connection has just been opened: true the first time somebody asks, false from then on."""
        new = protocol in self._new
        self._new.discard(protocol)
        return new


def _has_answer_begun(error: Exception) -> bool:
    return isinstance(error, aiohttp.ServerDisconnectedError) and isinstance(error.message, RawResponseMessage)
