"""One HTTP/1.1 connection: it sends a request, and takes its answer as it comes. No more than one at a time.

The bytes are parsed by llhttp, the parser of Node, by way of httptools. What it declines (two lengths, bare line feeds,
control characters) is no answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from agentbatch.errors import BadResponse, ConnectionFault, StepError
from agentbatch.transports import faults
from agentbatch.transports.decoding import too_large
from agentbatch.transports.read_room import LARGE_BYTES, Place, ReadRoom
from agentbatch.transports.wake_ups import WakeUps

_MOST_OVERHEAD = 256 * 1024
"""Bytes that a head, trailers and the framing of chunks may take, beside eight for each byte of the body."""

_SMALL_BYTES = 64 * 1024
"""Bodies up to this are copied behind their head, so that both leave in one packet."""

_PAUSE_BYTES = 256 * 1024
"""With so much of a stream unread, the connection is not read on."""


class Connection(asyncio.Protocol):
    """Made by the event loop, for an origin that is called `where` in messages.

    Attributes:
        status: of the answer; 0 before its head has come whole.
        headers: of the answer, names in lower case; of a repeated one the first.
        begun: something of an answer has come.
        closed: there is nobody at the other end, or will not be soon.
        idle_since: loop time at which it went to the pool.
    """

    __slots__ = (
        "_complete",
        "_fault",
        "_has_no_body",
        "_in_use",
        "_interim",
        "_keeps_alive",
        "_loop",
        "_most_bytes",
        "_parser",
        "_paused",
        "_piecemeal",
        "_pieces",
        "_place",
        "_received",
        "_room",
        "_size",
        "_transport",
        "_unread",
        "_waiter",
        "_wake_ups",
        "_where",
        "begun",
        "closed",
        "headers",
        "idle_since",
        "status",
    )

    _transport: asyncio.Transport
    _parser: Any

    def __init__(
        self, loop: asyncio.AbstractEventLoop, where: str, most_bytes: int, room: ReadRoom, wake_ups: WakeUps
    ) -> None:
        self._loop = loop
        self._room = room
        self._wake_ups = wake_ups
        self._place: Place | None = None
        self._where = where
        self._most_bytes = most_bytes
        self._waiter: asyncio.Future[None] | None = None
        self._in_use = False
        self.closed = False
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.begun = False
        self._pieces: list[bytes] = []
        self._received = self._size = self._unread = 0
        self._complete = self._interim = self._keeps_alive = self._paused = False
        self._fault: StepError | None = None

    @property
    def usable(self) -> bool:
        """Whether a request can be sent on it, as far as anybody knows."""
        return not self.closed and not self._transport.is_closing()

    # what an exchange does with it

    def send(self, head: bytes, body: bytes | None, *, piecemeal: bool, has_no_body: bool) -> None:
        """Begin an exchange.

        Args:
            head: of the request.
            body: of the request.
            piecemeal: the answer is wanted in pieces, not whole.
            has_no_body: the answer has none, whatever its headers say.

        Raises:
            ConnectionFault: the connection is closed already.
        """
        self._reset()
        self._piecemeal, self._has_no_body = piecemeal, has_no_body
        if not self.usable:
            raise faults.disconnected(self._where)
        self._in_use = True
        if body is None:
            self._transport.write(head)
        elif len(body) <= _SMALL_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    async def head(self) -> None:
        """Wait for the head of the answer: then there are `status` and `headers`.

        Raises:
            ConnectionFault: it broke off. BadResponse: it is no HTTP.
        """
        while not self.status or self._interim:
            await self._more()

    async def whole(self) -> list[bytes]:
        """Wait for the end of the answer: the raw pieces of its body. Raises what `head` does."""
        while not self._complete:
            await self._more()
        return self._pieces

    async def piece(self) -> bytes:
        """Wait for more of the body: what has come of it; empty at its end. Raises what `head` does."""
        while not self._pieces:
            if self._complete:
                return b""
            await self._more()
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._unread = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    async def _more(self) -> None:
        if self._fault is None:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._fault is not None:
            raise self._fault

    def end(self) -> bool:
        """The exchange is over. Unless both sides have said all they had to say, the connection is cut here and now.

        A polite close would first flush what is still to be sent, and wait for the other side to say goodbye in TLS.

        Returns:
            Whether it can be used again.
        """
        self._leave_room()
        if self._complete and self._keeps_alive and not self.closed and not self._transport.get_write_buffer_size():
            self._in_use = False
            self._pieces = []
            return True
        self.cut()
        return False

    def cut(self) -> None:
        """Close it without a word."""
        self._leave_room()
        self._in_use = False
        self.closed = True
        self._fault = None
        self._transport.abort()

    # what the event loop tells

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        if not self._in_use:  # said without being asked: nothing sound can follow
            self.cut()
            return
        self.begun = True
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._keeps_alive = False
        except HttpParserError as error:
            self._keeps_alive = False
            self._fail(faults.not_http(self._where, str(error)))
        if self._received - self._size > _MOST_OVERHEAD + 8 * self._size:
            self._fail(faults.not_http(self._where, "its headers are too large"))

    def eof_received(self) -> None:
        self.closed = True
        self._end_of_stream()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._parser = None  # it holds this object's methods: no circle for the garbage collector
        if exc is not None:
            self._fail(faults.connection_fault(exc, self._where, connected=True))
        else:
            self._end_of_stream()

    def _end_of_stream(self) -> None:
        """The other side has said all. A body without any framing ends so, and whole."""
        self._keeps_alive = False
        if not self._in_use or self._complete:
            return
        if not self.status or self._interim:
            self._fail(faults.disconnected(self._where, amid_headers=self.begun))
        elif b"content-length" in self.headers or b"chunked" in self.headers.get(b"transfer-encoding", b"").lower():
            self._fail(faults.broke_off(self._where))
        else:
            self._complete = True
            self._wake()

    def _fail(self, fault: ConnectionFault | BadResponse) -> None:
        if self._in_use and self._fault is None and not self._complete:
            self._fault = fault
            self._keeps_alive = False
            self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            self._waiter = None  # once is enough
            self._wake_ups.wake(waiter)

    # what the parser tells

    def on_message_begin(self) -> None:
        if self._complete:  # an answer to nothing
            self._keeps_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status or self._interim:  # trailers are passed over
            self.headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        self.status = self._parser.get_status_code()
        self._interim = 100 <= self.status < 200 and self.status != 101
        if self._interim:
            return
        if self._has_no_body:
            self._complete = True
            self._wake()
        elif self._piecemeal:
            self._wake()

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._most_bytes:
            self._fail(too_large(self._most_bytes))
        if self._complete or self._fault is not None:
            return
        self._pieces.append(data)
        if self._piecemeal:
            self._unread += len(data)
            if self._unread > _PAUSE_BYTES and not self._paused:
                self._paused = True
                self._transport.pause_reading()
            self._wake()
        elif self._size > LARGE_BYTES and self._place is None:
            self._take_room()

    def _take_room(self) -> None:
        """A large body that is kept whole: read on when there is room for all that it can become."""
        length = self.headers.get(b"content-length", b"")
        size = int(length) if length.isdigit() and b"content-encoding" not in self.headers else self._most_bytes
        self._place, free = self._room.enter(min(size, self._most_bytes), self._read_on)
        if not free:
            self._paused = True
            self._transport.pause_reading()

    def _read_on(self) -> None:
        if self._paused and not self.closed:
            self._paused = False
            self._transport.resume_reading()

    def _leave_room(self) -> None:
        if self._place is not None:
            self._place.leave()
            self._place = None
            self._read_on()

    def on_message_complete(self) -> None:
        if self._complete or self._fault is not None:
            return
        if self._interim:
            self.status, self._interim, self.headers = 0, False, {}
            return
        self._complete = True
        self._keeps_alive = self._parser.should_keep_alive()
        self._wake()


class Headers(Mapping[str, str]):
    """An answer's headers as text, names in lower case; nothing is decoded until somebody looks.

    Bytes that are no UTF-8 become question marks.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        return _text(self._fields[name.encode()])

    def __contains__(self, name: object) -> bool:  # as quick as it can be: most names that are asked for are absent
        return isinstance(name, str) and name.encode() in self._fields

    def get(self, name: str, default: Any = None) -> Any:  # likewise: the inherited one raises and catches
        found = self._fields.get(name.encode())
        return default if found is None else _text(found)

    def __iter__(self) -> Iterator[str]:
        return (name.decode("ascii", "replace") for name in self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return repr(dict(self))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace").replace("\ufffd", "?")
