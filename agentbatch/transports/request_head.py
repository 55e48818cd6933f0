"""The first lines of requests to one URL, with what they all have in common made once.

Sources: RFC 9112 (the lines), RFC 3986 (what of a URL must be escaped).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from agentbatch import __version__
from agentbatch.transports.decoding import ACCEPT_ENCODING
from agentbatch.transports.faults import origin_of

_PORTS = {"http": 80, "https": 443}
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_PATH_SAFE = "/%:@!$&'()*+,;=-._~"
_WITHOUT_LENGTH = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
"""Where there is no body these don't say that it is empty (RFC 9110 section 8.6)."""


class Origin(NamedTuple):
    """Who a connection leads to."""

    host: str
    port: int
    tls: bool


class HeadLines:
    """What the heads of all requests to one target hold.

    Args:
        line: the request line.
        own: further lines, by their names in lower case.
        no_body: the line that says so where there is no body; empty where nothing says it.
    """

    def __init__(self, line: str, own: Mapping[str, str], no_body: str) -> None:
        self._line = line
        self._own = own
        self._no_body = no_body
        self._always = line + "".join(own.values())

    def head(self, headers: Mapping[str, str], body: bytes | None) -> bytes:
        """The head of one request. `headers` replace those of the target.

        Raises:
            ValueError: a header holds a line break or NUL, or says how long the body is, which is for us to say.
        """
        own = self._always
        length = self._no_body if body is None else f"Content-Length: {len(body)}\r\n"
        text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if text.count("\n") != len(headers) or text.count("\r") != len(headers) or "\0" in text:
            raise ValueError("a header holds a control character")
        names = {name.lower() for name in headers}
        if not names.isdisjoint(_FRAMING):
            raise ValueError("a header of ours")
        if not names.isdisjoint(self._own):
            own = self._line + "".join([line for name, line in self._own.items() if name not in names])
        return f"{own}{text}{length}\r\n".encode()


class Target:
    """A method and a URL, checked once. `where` is its origin as messages say it, `head` makes a request's head.

    Raises:
        ValueError: no request can be sent there.
    """

    def __init__(self, method: str, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("no http or https URL with a host")
        port = parts.port or _PORTS[parts.scheme]
        host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
        self.origin = Origin(host, port, parts.scheme == "https")
        self.where = origin_of(url)
        self.method = method.upper()
        path = quote(parts.path, safe=_PATH_SAFE) or "/"
        query = f"?{quote(parts.query, safe=_PATH_SAFE + '?')}" if parts.query else ""
        shown = f"[{host}]" if ":" in host else host
        lines = {
            "host": f"Host: {shown}\r\n" if port == _PORTS[parts.scheme] else f"Host: {shown}:{port}\r\n",
            "accept": "Accept: */*\r\n",
            "accept-encoding": f"Accept-Encoding: {ACCEPT_ENCODING}\r\n",
            "user-agent": f"User-Agent: agentbatch/{__version__}\r\n",
        }
        if parts.username is not None:
            word = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            lines["authorization"] = f"Authorization: Basic {b64encode(word).decode()}\r\n"
        no_body = "" if self.method in _WITHOUT_LENGTH else "Content-Length: 0\r\n"
        self.head = HeadLines(f"{self.method} {path}{query} HTTP/1.1\r\n", lines, no_body).head
        if any(not " " < letter < "\x7f" for letter in self.method + host):
            raise ValueError("a control character")
