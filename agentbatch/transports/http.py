"""The one way out to the network over HTTP: everybody else imports from here.

Three clients satisfy `HttpTransport`: ours, the fast one; aiohttp, whose parser forgives servers more; and httpx (in
its maintained form, httpx2), which knows proxies and client certificates from the environment.
"""

from __future__ import annotations

from typing import Literal

from agentbatch.transports.base import (
    CONNECT_TIMEOUT_S,
    MAX_BODY_BYTES,
    HttpResponse,
    HttpStream,
    HttpTransport,
)

__all__ = [
    "CONNECT_TIMEOUT_S",
    "MAX_BODY_BYTES",
    "HttpResponse",
    "HttpStream",
    "HttpTransport",
    "TransportKind",
    "open_transport",
]

TransportKind = Literal["direct", "aiohttp", "httpx"]


def open_transport(
    kind: TransportKind = "direct",
    *,
    max_body_bytes: int = MAX_BODY_BYTES,
    connect_timeout: float = CONNECT_TIMEOUT_S,
) -> HttpTransport:
    """A transport with a connection pool of its own. Call it on the running event loop; `close()` it at the end.

    Args:
        kind: which HTTP client.
        max_body_bytes: a decoded body larger than this is refused while it is read.
        connect_timeout: seconds for DNS, TCP and TLS together.
    """
    if kind == "httpx":
        from agentbatch.transports.httpx_client import HttpxTransport  # late: 0.1 s of start-up

        return HttpxTransport(max_body_bytes=max_body_bytes, connect_timeout=connect_timeout)
    if kind == "aiohttp":
        from agentbatch.transports.aiohttp_client import AiohttpTransport  # late: 0.14 s of start-up

        return AiohttpTransport(max_body_bytes=max_body_bytes, connect_timeout=connect_timeout)
    from agentbatch.transports.direct_client import DirectTransport  # late: `validate` needs no client

    return DirectTransport(max_body_bytes=max_body_bytes, connect_timeout=connect_timeout)
