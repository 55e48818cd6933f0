"""HTTP over aiohttp: the hot path of every run, so each microsecond per call was looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from time import perf_counter
from typing import Any

import aiohttp
from aiohttp.http import HttpProcessingError, RawResponseMessage
from multidict import CIMultiDictProxy
from yarl import URL

from agentbatch import __version__
from agentbatch.errors import BadResponse, ConnectionFault
from agentbatch.transports import faults
from agentbatch.transports.base import CONNECT_TIMEOUT_S, MAX_BODY_BYTES, HttpResponse, HttpStream
from agentbatch.transports.decoding import ACCEPT_ENCODING, BodyDecoder, too_large

_CONNECTS_AT_ONCE = 256
"""A ramp of thousands of TLS handshakes would starve each other past the connect timeout: let them queue instead."""

_KEEP_ALIVE_S = 4.0
"""Shorter than the idle timeout of common servers (5 s: uvicorn, Node), so that we are the one to close first."""

_MAX_HEADER_BYTES = 64 * 1024
_URLS_REMEMBERED = 1024
_LARGE_BYTES = 256 * 1024
"""Larger bodies are handed over as files, which aiohttp sends piece by piece instead of in one write."""

_CONNECTION = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, aiohttp.UploadAbortedError, OSError)
_NOT_HTTP = (aiohttp.ClientResponseError, HttpProcessingError)
_UNSENDABLE = (
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    aiohttp.RedirectClientError,
    ValueError,
    TypeError,
)
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
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            request_class=_Request,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
        )
        # aiohttp would send a GET a second time by itself, even on a fresh connection: there is one retry layer, ours.
        self._session._retry_connection = False  # pyright: ignore[reportPrivateUsage]
        self._urls: dict[str, URL] = {}
        self._last_answer = perf_counter()

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpResponse:
        """One exchange, as `HttpTransport.request` says."""
        task = asyncio.current_task()
        response: aiohttp.ClientResponse | None = None
        try:
            response = await self._send(method, url, headers, body)
            content = await self._read(response)
            whole = HttpResponse(response.status, LowerCaseHeaders(response.headers), content)
        except MAPPED as error:
            raise fault_of(error, faults.origin_of(url), self._connect_timeout) from None
        finally:
            _let_go(self._connector.take(task), response)
        self._last_answer = perf_counter()
        return whole

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> AsyncGenerator[HttpStream]:
        """One exchange read as it comes, as `HttpTransport.stream` says."""
        task = asyncio.current_task()
        response: aiohttp.ClientResponse | None = None
        transport: asyncio.Transport | None = None
        try:
            try:
                response = await self._send(method, url, headers, body)
            except MAPPED as error:
                raise fault_of(error, faults.origin_of(url), self._connect_timeout) from None
            finally:
                transport = self._connector.take(task)  # the reader may send other requests in the same task
            self._last_answer = perf_counter()
            chunks = self._chunks(response, faults.origin_of(url))
            yield HttpStream(response.status, LowerCaseHeaders(response.headers), chunks)
        finally:
            _let_go(transport, response)

    async def close(self) -> None:
        """Close every pooled connection."""
        await self._session.close()

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        quiet_s = perf_counter() - self._last_answer
        target = self._urls.get(url) or self._remember(url)
        data = body if body is None or len(body) < _LARGE_BYTES else BytesIO(body)
        try:
            return await self._session.request(method, target, data=data, headers=headers, allow_redirects=False)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError) as error:
            # The keep-alive race (RFC 9112 section 9.3.1): a server may close an idle connection just as we send on it.
            # Nothing came back on a reused connection that may have idled too long, so it never took the request: send
            # it once more. Elsewhere (a fresh or a busy connection) it is the server's failure, and a real attempt.
            if quiet_s < self._replay_after_idle or self._connector.opened_one() or _has_answer_begun(error):
                raise
        data = body if data is body else BytesIO(body or b"")
        return await self._session.request(method, target, data=data, headers=headers, allow_redirects=False)

    def _remember(self, url: str) -> URL:
        if len(self._urls) >= _URLS_REMEMBERED:
            self._urls.clear()
        target = self._urls[url] = URL(url)
        return target

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        content = response.content
        coding = response.headers.get("content-encoding")
        if coding is None and content.is_eof():  # the usual case: head and body came in one packet
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

    async def _chunks(self, response: aiohttp.ClientResponse, where: str) -> AsyncIterator[bytes]:
        try:
            decoder = BodyDecoder(response.headers.get("content-encoding"), self._max_body_bytes)
            while chunk := await response.content.readany():
                for piece in decoder.decode(chunk):
                    yield piece
            decoder.end()
        except MAPPED as error:
            raise fault_of(error, where, self._connect_timeout) from None


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


class _Request(aiohttp.ClientRequest):
    """A request that names what we can decode and who we are, without the cost of headers set per session."""

    DEFAULT_HEADERS: Mapping[str, str] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        "Accept": "*/*",
        "Accept-Encoding": ACCEPT_ENCODING,
        "User-Agent": f"agentbatch/{__version__}",
    }


class _Connector(aiohttp.TCPConnector):
    """aiohttp's pool without a limit, which knows the connection of each task: whether it is new, and how to cut it."""

    def __init__(self, connect_timeout: float) -> None:
        # ssl=True, the default: aiohttp's own verifying context, of which there is one in the process.
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            limit=0, keepalive_timeout=_KEEP_ALIVE_S, ttl_dns_cache=60
        )
        self._connect_timeout = connect_timeout
        self._door = asyncio.Semaphore(_CONNECTS_AT_ONCE)
        self._in_use: dict[asyncio.Task[Any] | None, asyncio.Transport | None] = {}
        self._opened: set[asyncio.Task[Any] | None] = set()

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        connection = await super().connect(req, traces, timeout)
        self._in_use[asyncio.current_task()] = connection.transport
        return connection

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        self._opened.add(asyncio.current_task())
        async with self._door, asyncio.timeout(self._connect_timeout):
            return await super()._create_connection(req, traces, timeout)

    def opened_one(self) -> bool:
        """Whether this task's request runs on a connection that was opened for it."""
        return asyncio.current_task() in self._opened

    def take(self, task: asyncio.Task[Any] | None) -> asyncio.Transport | None:
        """What carries the request that this task has sent; the connector forgets about it."""
        self._opened.discard(task)
        return self._in_use.pop(task, None)


def _let_go(transport: asyncio.Transport | None, response: aiohttp.ClientResponse | None) -> None:
    """The exchange is over. Unless its answer was read to the end, the connection is cut here and now.

    A polite close would first flush what is still to be sent, and wait for the other side to say goodbye in TLS.
    """
    if response is not None:
        if response.connection is None:
            return  # back in the pool, perhaps already at work for somebody else
        response.close()
    if transport is not None:
        transport.abort()


def _has_answer_begun(error: Exception) -> bool:
    return isinstance(error, aiohttp.ServerDisconnectedError) and isinstance(error.message, RawResponseMessage)
