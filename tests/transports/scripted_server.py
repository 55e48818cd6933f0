"""A raw-socket HTTP server that does to each connection exactly what a test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Peer:
    """The server's end of one connection. `number` counts connections from 1."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    server: Server

    async def read_request(self) -> bytes:
        """One whole request, head and body; empty when the client has closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        request = head + await self.reader.readexactly(length)
        self.server.requests.append(request)
        return request

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        import socket
        import struct

        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class Server:
    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    closed: list[int] = field(default_factory=list)
    """The numbers of the connections whose script has ended."""


@asynccontextmanager
async def serve(script: Script) -> AsyncIterator[Server]:
    """Run `script` once for each connection; an unexpected end of the client's is no error."""
    server = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        peer = Peer(reader, writer, server.connections, server)
        try:
            await script(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            server.closed.append(peer.number)
            tasks.discard(task)
            writer.close()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0, backlog=1024)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


def answer(body: bytes = b"{}", status: str = "200 OK", headers: str = "") -> bytes:
    """A whole answer with its length."""
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


def always(data: bytes) -> Script:
    """Answer every request of every connection with the same bytes."""

    async def script(peer: Peer) -> None:
        while await peer.read_request():
            await peer.send(data)

    return script


def once(data: bytes) -> Script:
    """Answer one request with these bytes, then close."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(data)

    return script
