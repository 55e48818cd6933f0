"""What only the client of our own decides for itself: which connections may be used again, and how they are made."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from transports.scripted_server import Peer, Server, always, answer, serve

from agentbatch.errors import BadResponse
from agentbatch.transports.direct_client import DirectTransport


@pytest.fixture
async def transport() -> AsyncIterator[DirectTransport]:
    opened = DirectTransport()
    yield opened
    await opened.close()


async def get(transport: DirectTransport, server: Server, method: str = "GET") -> bytes:
    async with asyncio.timeout(20):
        return (await transport.request(method, server.url, {}, None)).body


async def test_the_answer_to_head_has_no_body_whatever_it_says(transport: DirectTransport) -> None:
    async with serve(always(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")) as server:
        assert await get(transport, server, "HEAD") == b""


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(answer(b"ok") + answer(b"a second one"), id="two-answers"),
        pytest.param(answer(b"ok") + b"garbage", id="garbage-behind"),
        pytest.param(answer(b"ok", headers="connection: close\r\n"), id="close"),
        pytest.param(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", id="http-1.0"),
    ],
)
async def test_a_connection_that_says_too_much_or_goodbye_is_not_used_again(
    transport: DirectTransport, data: bytes
) -> None:
    async with serve(always(data)) as server:
        assert [await get(transport, server) for _ in range(2)] == [b"ok", b"ok"]
        assert server.connections == 2


async def test_an_answer_that_nobody_asked_for_closes_the_connection(transport: DirectTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(answer(b"ok"))
        await asked.wait()
        await peer.send(answer(b"unasked"))
        assert await peer.reader.read() == b""

    asked = asyncio.Event()
    async with serve(script) as server, asyncio.timeout(10):
        assert await get(transport, server) == b"ok"
        asked.set()
        while server.closed != [1]:
            await asyncio.sleep(0.001)


async def test_a_switch_to_another_protocol_is_an_answer(transport: DirectTransport) -> None:
    data = b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nframes"
    async with serve(always(data)) as server:
        assert (await transport.request("GET", server.url, {}, None)).status == 101
        assert (await transport.request("GET", server.url, {}, None)).status == 101
        assert server.connections == 2


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!", id="two-lengths"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="two-framings"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;" + b"x" * 1_000_000 + b"\r\nok\r\n0\r\n\r\n",
            id="1-MB-chunk-extension",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x-a: a\r\n" * 200_000 + b"\r\n",
            id="2-MB-of-trailers",
        ),
    ],
)
async def test_what_two_readers_would_read_differently_is_no_answer(transport: DirectTransport, data: bytes) -> None:
    async with serve(always(data)) as server:
        with pytest.raises(BadResponse, match="not valid HTTP"):
            await get(transport, server)


async def test_the_next_address_of_a_host_is_tried_where_nobody_listens_on_the_first(
    transport: DirectTransport,
) -> None:
    async with serve(always(answer(b"ok"))) as server:
        port = int(server.url.rpartition(":")[2])
        loop = asyncio.get_running_loop()
        both = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.9", "127.0.0.1")
        ]  # the server listens on the second
        resolver = _Resolver(loop, both)
        transport._pool._names._loop = resolver  # pyright: ignore
        assert [await get(transport, server) for _ in range(3)] == [b"ok"] * 3
        assert resolver.asked == 1


class _Resolver:
    """A loop as far as names are concerned: every host has these addresses."""

    def __init__(self, loop: asyncio.AbstractEventLoop, addresses: list[object]) -> None:
        self.time = loop.time
        self.asked = 0
        self._addresses = addresses

    async def getaddrinfo(self, host: str, port: int, **_: object) -> list[object]:
        self.asked += 1
        return self._addresses


async def test_tls_with_a_certificate_that_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1",
         "-out", certificate, "-keyout", key],
        capture_output=True,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl can't make a certificate here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(answer(b"ok"))

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server's side of the cut connection
    transport = DirectTransport()
    try:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for _ in range(2):
            assert (await transport.request("GET", url, {}, None)).body == b"ok"
    finally:
        await transport.close()
        server.close()
