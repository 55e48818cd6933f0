"""What the faults of both HTTP clients have in common: their words, and what lies beneath a library's exception."""

from __future__ import annotations

import errno
import re
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from agentbatch.errors import BadResponse, ConnectionFault, Unreachable
from agentbatch.text.redact import visible

_SHOWN = 300
_URL = re.compile(r"https?://[^\s'\"<>]+")


def connection_fault(error: BaseException, where: str, *, connected: bool) -> ConnectionFault:
    """No whole answer came from `where` (an origin: paths and queries may hold secrets).

    `connected`: whether there was a connection, so that something may have been sent.
    """
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return _no_descriptor(where)
        if isinstance(cause, ssl.SSLCertVerificationError) and hasattr(cause, "verify_message"):
            return Unreachable(
                f"{where}: its TLS certificate is not trusted ({cause.verify_message}). For a private authority set "
                "SSL_CERT_FILE to its certificate",
                retry=False,
            )
    return (ConnectionFault if connected else Unreachable)(f"{where}: {_words(error)}")


def connect_timeout(where: str, seconds: float) -> Unreachable:
    """Nobody answered the door."""
    return Unreachable(f"{where}: no connection within {seconds:g} s")


def disconnected(where: str, *, amid_headers: bool = False) -> ConnectionFault:
    """The server left before its answer had even begun, or within its headers."""
    return ConnectionFault(
        f"{where}: the server closed the connection " + ("amid its headers" if amid_headers else "without an answer")
    )


def broke_off(where: str) -> ConnectionFault:
    """The server left within the body of its answer."""
    return ConnectionFault(f"{where}: the server closed the connection amid its answer")


def not_http(where: str, words: str) -> BadResponse:
    """Something came back that is not HTTP, or has headers larger than anyone should send. `words`: the parser's."""
    return BadResponse(f"{where}: the answer is not valid HTTP ({visible(' '.join(words.split()), _SHOWN)})")


def unsendable(where: str, error: BaseException) -> Unreachable:
    """The request itself can't go on the wire. The library's own words would show a header's value: keep them out."""
    return Unreachable(
        f"{where}: the request can't be sent ({type(error).__name__}): its URL or one of its headers is malformed or "
        "has a control character",
        retry=False,
    )


def origin_of(url: str) -> str:
    """Scheme, host and port: what may be shown of a URL, whose path and query may hold secrets."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return "a malformed URL"


def _no_descriptor(where: str) -> Unreachable:
    try:
        import resource  # late: there is none on Windows

        limit = f" (the limit is {resource.getrlimit(resource.RLIMIT_NOFILE)[0]})"
    except ImportError:
        limit = ""
    return Unreachable(
        f"{where}: no file descriptor left for another connection{limit}: raise it with `ulimit -n`, "
        "or lower max_concurrency",
        retry=False,
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _words(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    return visible(_URL.sub(lambda match: origin_of(match[0]), text), _SHOWN)
