"""HTTP over httpx (httpx2, its maintained form): slower than aiohttp, but it knows the proxies and the certificates
that the environment names (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR).
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from time import perf_counter
from typing import Any

import h11
import httpx2

from agentbatch import __version__
from agentbatch.errors import BadResponse, ConnectionFault
from agentbatch.transports import faults
from agentbatch.transports.base import CONNECT_TIMEOUT_S, MAX_BODY_BYTES, HttpResponse, HttpStream
from agentbatch.transports.decoding import ACCEPT_ENCODING, BodyDecoder

_KEEP_ALIVE_S = 4.0
"""Shorter than the idle timeout of common servers (5 s: uvicorn, Node), so that we are the one to close first."""

_CONNECTION = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.ProxyError, OSError)
_ANSWER = (httpx2.RemoteProtocolError, httpx2.DecodingError)
_UNSENDABLE = (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol, httpx2.InvalidURL, ValueError, TypeError)
MAPPED = (*_CONNECTION, *_ANSWER, *_UNSENDABLE)
"""The exceptions of httpx that become faults of ours."""


def fault_of(error: Exception, where: str, connect_timeout: float) -> ConnectionFault | BadResponse:
    """Our word for one of the `MAPPED` exceptions."""
    if isinstance(error, httpx2.ConnectTimeout):
        return faults.connect_timeout(where, connect_timeout)
    if isinstance(error, _UNSENDABLE):
        return faults.unsendable(where, error)
    if isinstance(error, _ANSWER) and _is_from_the_parser(error):
        return faults.not_http(where, str(error))
    if isinstance(error, httpx2.RemoteProtocolError):
        return faults.disconnected(where)
    connected = not isinstance(error, (httpx2.ConnectError, httpx2.ProxyError))
    return faults.connection_fault(error, where, connected=connected)


class HttpxTransport:
    """`HttpTransport` over httpx. No redirects, no cookies, no limit on connections (callers hold permits).

    Args:
        max_body_bytes: a decoded body larger than this is refused while it is read.
        connect_timeout: seconds for TCP, and again for TLS.
        replay_after_idle: seconds without any answer after which a pooled connection counts as possibly stale.
        transport: what httpx itself sends with, such as a `httpx2.MockTransport`. Default: its own connection pool.
    """

    def __init__(
        self,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        connect_timeout: float = CONNECT_TIMEOUT_S,
        replay_after_idle: float = 1.0,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._max_body_bytes = max_body_bytes
        self._connect_timeout = connect_timeout
        self._replay_after_idle = replay_after_idle
        self._last_answer = perf_counter()
        self._client = httpx2.AsyncClient(
            transport=transport,
            verify=tls_context(),
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
            timeout=httpx2.Timeout(None, connect=connect_timeout),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEP_ALIVE_S),
            headers={"accept-encoding": ACCEPT_ENCODING, "user-agent": f"agentbatch/{__version__}"},
        )

    async def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpResponse:
        """One exchange, as `HttpTransport.request` says."""
        response = await self._send(method, url, headers, body)
        try:
            content = b"".join([chunk async for chunk in self._chunks(response)])
        finally:
            await response.aclose()
        self._last_answer = perf_counter()
        return HttpResponse(response.status_code, _lower_case(response.headers), content)

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> AsyncGenerator[HttpStream]:
        """One exchange read as it comes, as `HttpTransport.stream` says."""
        response = await self._send(method, url, headers, body)
        self._last_answer = perf_counter()
        chunks = self._chunks(response)
        try:
            yield HttpStream(response.status_code, _lower_case(response.headers), chunks)
        finally:
            await chunks.aclose()
            await response.aclose()

    async def close(self) -> None:
        """Close every pooled connection."""
        await self._client.aclose()

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> httpx2.Response:
        quiet_s = perf_counter() - self._last_answer
        try:
            wire = _Wire()
            try:
                return await self._exchange(method, url, headers, body, wire)
            except (httpx2.RemoteProtocolError, httpx2.NetworkError) as error:
                # The keep-alive race (RFC 9112 section 9.3.1): a server may close an idle connection just as we send on
                # it. Nothing came back on a reused connection that may have idled too long, so it never took the
                # request: send it once more. Elsewhere it is the server's failure, and a real attempt.
                if quiet_s < self._replay_after_idle or wire.opened or _is_from_the_parser(error):
                    raise
            return await self._exchange(method, url, headers, body, _Wire())
        except MAPPED as error:
            raise fault_of(error, faults.origin_of(url), self._connect_timeout) from None

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, wire: _Wire
    ) -> httpx2.Response:
        request = self._client.build_request(method, url, headers=headers, content=body, extensions={"trace": wire})
        return await self._client.send(request, stream=True)

    async def _chunks(self, response: httpx2.Response) -> AsyncGenerator[bytes]:
        if response.is_stream_consumed:  # a mock's: whole from the start, and decoded
            for piece in BodyDecoder(None, self._max_body_bytes).decode(response.content):
                yield piece
            return
        decoder = BodyDecoder(response.headers.get("content-encoding"), self._max_body_bytes)
        try:
            async for chunk in response.aiter_raw():
                for piece in decoder.decode(chunk):
                    yield piece
        except MAPPED as error:
            raise faults.connection_fault(
                error, faults.origin_of(str(response.url)), connected=True
            ) from None  # the body broke off
        decoder.end()


@cache
def tls_context() -> ssl.SSLContext:
    """The one TLS context of the process: loading the authorities takes 20 ms and a megabyte.

    It verifies against the system's authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR.
    """
    return ssl.create_default_context()


class _Wire:
    """Told by httpx what happens on the connection: did this exchange open one of its own?"""

    opened = False

    async def __call__(self, event: str, _: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.started":
            self.opened = True


def _is_from_the_parser(error: Exception) -> bool:
    """Whether bytes came that are no HTTP; else the server left without a word."""
    cause = error.__cause__ or error.__context__
    return isinstance(error, httpx2.DecodingError) or (
        cause is not None and isinstance(cause.__cause__ or cause.__context__, h11.RemoteProtocolError)
    )


def _lower_case(headers: httpx2.Headers) -> Mapping[str, str]:
    return {name: value.encode("utf-8", "replace").decode("utf-8") for name, value in headers.items()}
