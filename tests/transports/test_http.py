"""One contract, three clients: every promise of `HttpTransport`, against a raw socket server."""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
import resource
import socket
import subprocess
import sys
import tracemalloc
import weakref
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import httpx2
import pytest
from transports.scripted_server import Peer, Script, Server, always, answer, once, serve

from agentbatch.errors import BadResponse, ConnectionFault, Unreachable
from agentbatch.transports import aiohttp_client, httpx_client
from agentbatch.transports.aiohttp_client import AiohttpTransport
from agentbatch.transports.base import HttpTransport
from agentbatch.transports.direct_client import DirectTransport
from agentbatch.transports.http import TransportKind, open_transport
from agentbatch.transports.httpx_client import HttpxTransport

Open = Callable[..., Any]


@pytest.fixture(params=["direct", "aiohttp", "httpx"])
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    """Opens transports of one kind, with any settings, and closes them."""
    kind = {"direct": DirectTransport, "aiohttp": AiohttpTransport, "httpx": HttpxTransport}[request.param]
    made: list[HttpTransport] = []

    def make(**settings: Any) -> HttpTransport:
        made.append(kind(**settings))
        return made[-1]

    yield make
    for transport in made:
        await transport.close()


@pytest.fixture
async def transport(opened: Open) -> HttpTransport:
    return opened()


async def post(transport: HttpTransport, server: Server, path: str = "/", body: bytes = b"{}") -> Any:
    async with asyncio.timeout(20):
        return await transport.request("POST", server.url + path, {"x-test": "1"}, body)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something has happened on the server's side."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def chunked(*chunks: bytes) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


# --- a plain exchange ---


async def test_sends_what_it_is_given_and_returns_what_came(transport: HttpTransport) -> None:
    async with serve(always(answer(b'{"a": 1}', headers="X-Request-ID: r1\r\nContent-Type: text/plain\r\n"))) as server:
        response = await post(transport, server, "/v1/chat?x=1%202", b"hello")
    assert (response.status, response.body) == (200, b'{"a": 1}')
    assert response.headers["x-request-id"] == "r1"
    assert set(response.headers) == {"x-request-id", "content-type", "content-length"}
    assert "missing" not in response.headers and response.headers.get("missing") is None
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat?x=1%202 HTTP/1.1\r\n") and body == b"hello"
    lines = head.lower().split(b"\r\n")
    assert b"x-test: 1" in lines and b"accept-encoding: gzip, deflate" in lines
    assert any(line.startswith(b"user-agent: agentbatch/") for line in lines)


async def test_a_get_has_no_body(transport: HttpTransport) -> None:
    async with serve(always(answer(b"x"))) as server:
        response = await transport.request("GET", server.url, {}, None)
    assert response.body == b"x"
    assert server.requests[0].startswith(b"GET / HTTP/1.1") and server.requests[0].endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", ["404 Not Found", "429 Too Many Requests", "500 Oops", "529 Overloaded", "204 None"])
async def test_any_status_is_an_answer(transport: HttpTransport, status: str) -> None:
    async with serve(always(answer(b"", status))) as server:
        assert (await post(transport, server)).status == int(status[:3])


async def test_connections_are_used_again(transport: HttpTransport) -> None:
    async with serve(always(answer())) as server:
        for _ in range(5):
            await post(transport, server)
        assert server.connections == 1


async def test_there_is_no_limit_on_connections(transport: HttpTransport) -> None:
    everybody = 150
    arrived = 0
    all_here = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal arrived
        await peer.read_request()
        arrived += 1
        if arrived == everybody:
            all_here.set()
        await all_here.wait()
        await peer.send(answer())

    async with serve(script) as server:
        answers = await asyncio.gather(*(post(transport, server) for _ in range(everybody)))
    assert len(answers) == everybody


async def test_redirects_are_answers(transport: HttpTransport) -> None:
    async with (
        serve(always(answer())) as other,
        serve(always(answer(b"", "307 Temporary Redirect", f"location: {other.url}/\r\n"))) as server,
    ):
        response = await post(transport, server)
        assert (response.status, response.headers["location"]) == (307, f"{other.url}/")
        assert not other.requests


async def test_cookies_are_not_kept(transport: HttpTransport) -> None:
    async with serve(always(answer(headers="set-cookie: a=1; Path=/\r\n"))) as server:
        server.url = server.url.replace("127.0.0.1", "localhost")  # cookie jars are shy of bare addresses
        await post(transport, server)
        await post(transport, server)
    assert b"cookie" not in server.requests[1].lower()


@pytest.mark.parametrize("kind", ["direct", "aiohttp", "httpx"])
async def test_only_httpx_knows_proxies(kind: TransportKind, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(always(answer(b"proxy"))) as proxy, serve(always(answer(b"origin"))) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        transport = open_transport(kind)
        try:
            assert (await post(transport, server)).body == (b"proxy" if kind == "httpx" else b"origin")
        finally:
            await transport.close()


@pytest.mark.parametrize("kind", ["direct", "aiohttp", "httpx"])
async def test_open_transport_passes_its_settings_on(kind: TransportKind) -> None:
    transport = open_transport(kind, max_body_bytes=10)
    try:
        async with serve(always(answer(b"x" * 11))) as server:
            with pytest.raises(BadResponse, match="larger than 10 bytes"):
                await post(transport, server)
    finally:
        await transport.close()


async def test_closing_closes_the_pool(transport: HttpTransport) -> None:
    async with serve(always(answer())) as server:
        await post(transport, server)
        assert server.closed == []
        await transport.close()
        await until(lambda: server.closed == [1])


def test_no_client_is_imported_before_it_is_needed() -> None:
    script = "import sys, agentbatch.transports.http; print({'aiohttp', 'httpx2', 'httptools'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"


# --- odd but valid ---


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + answer(b"ok"), id="1xx"
        ),
        pytest.param(chunked(b"o", b"k"), id="chunked"),
        pytest.param(
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b;c="d"\r\nok\r\n0\r\nx-trailer: 1\r\n\r\n',
            id="chunk-extensions-and-trailers",
        ),
        pytest.param(answer(gzip.compress(b"ok"), headers="content-encoding: gzip\r\n"), id="gzip"),
        pytest.param(
            answer(gzip.compress(b"o") + gzip.compress(b"k"), headers="Content-Encoding: GZIP\r\n"), id="gzip2"
        ),
        pytest.param(answer(zlib.compress(b"ok"), headers="content-encoding: deflate\r\n"), id="deflate"),
        pytest.param(answer(zlib.compress(b"ok")[2:-4], headers="content-encoding: deflate\r\n"), id="bare-deflate"),
        pytest.param(answer(b"ok", headers="content-encoding: identity\r\n"), id="identity"),
        pytest.param(answer(b"ok", headers="x-a: " + "b" * 20_000 + "\r\n"), id="20-KB-header"),
        pytest.param(answer(b"ok", headers="x-a: \xe4\xff\r\n"), id="latin-1-header"),
        pytest.param(answer(b"ok", headers="connection: close\r\n"), id="close"),
        pytest.param(answer(b"ok", status="200"), id="no-reason"),
    ],
)
async def test_odd_answers_are_answers(transport: HttpTransport, data: bytes) -> None:
    async with serve(always(data)) as server:
        for _ in range(2):  # what is left over must not spoil the connection
            response = await post(transport, server)
            assert (response.status, response.body) == (200, b"ok")
            dict(response.headers)["content-length" if b"content-length" in data else "transfer-encoding"].encode()


async def test_a_body_may_end_with_its_connection(transport: HttpTransport) -> None:
    async with serve(once(b"HTTP/1.0 200 OK\r\n\r\nok")) as server:
        assert (await post(transport, server)).body == b"ok"


async def test_a_body_in_small_pieces(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        for byte in answer(b"hello"):
            await peer.send(bytes([byte]))
            await asyncio.sleep(0)

    async with serve(script) as server:
        assert (await post(transport, server)).body == b"hello"


# --- not an answer ---


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", id="another-protocol"),
        pytest.param(b"\x00\xff\x17\x03 garbage\r\n\r\n", id="garbage"),
        pytest.param(b"HTTP/1.1 999999 X\r\n\r\n", id="status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * 1_000_000 + b"\r\n\r\n", id="1-MB-header"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n" + b"x-a: aaaaaaaaaaaaaaaaaaaa\r\n" * 40_000 + b"\r\n", id="1-MB-of-headers"
        ),
        pytest.param(answer(b"no gzip", headers="content-encoding: gzip\r\n"), id="damaged-gzip"),
        pytest.param(answer(gzip.compress(b"x" * 999)[:-9], headers="content-encoding: gzip\r\n"), id="cut-gzip"),
        pytest.param(answer(b"\x0b\x02\x80ok\x03", headers="content-encoding: br\r\n"), id="brotli-unasked"),
    ],
)
async def test_what_is_not_valid_is_a_bad_response(transport: HttpTransport, data: bytes) -> None:
    async with serve(once(data)) as server:
        with pytest.raises(BadResponse) as caught:
            await post(transport, server)
        assert caught.value.retryable
        assert len(server.requests) == 1
    async with serve(always(answer())) as server:
        assert (await post(transport, server)).status == 200


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-le", id="amid-headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", id="amid-body"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc", id="amid-chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", id="without-last-chunk"),
    ],
)
@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_an_answer_that_breaks_off_is_a_connection_fault(
    transport: HttpTransport, data: bytes, end: str, method: str
) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(data)
        if end == "rst":
            peer.reset()

    async with serve(script) as server:
        with pytest.raises(ConnectionFault) as caught:
            async with asyncio.timeout(10):
                await transport.request(method, server.url + "/?key=hunter2", {}, None)
        assert caught.value.retryable and not caught.value.unreachable
        assert "hunter2" not in str(caught.value)
        assert len(server.requests) == 1, "one retry layer, and it is not here"


async def test_a_broken_chunk_is_a_fault(transport: HttpTransport) -> None:
    async with serve(once(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc")) as server:
        with pytest.raises((BadResponse, ConnectionFault)):
            await post(transport, server)


# --- nobody there ---


async def test_a_refused_port(transport: HttpTransport) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(Unreachable, match=f"http://127.0.0.1:{port}: ") as caught:
        await transport.request("POST", f"http://127.0.0.1:{port}/v1?key=hunter2", {}, b"")
    assert caught.value.retryable and "hunter2" not in str(caught.value)


async def test_a_name_that_does_not_exist(transport: HttpTransport) -> None:
    with pytest.raises(Unreachable, match="name\\.invalid"):
        async with asyncio.timeout(30):
            await transport.request("POST", "http://name.invalid/", {}, b"")


async def test_a_server_that_accepts_nobody_is_given_up_soon(opened: Open) -> None:
    transport = opened(connect_timeout=0.2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        crowd = [socket.socket() for _ in range(4)]  # fills the backlog: the kernel drops who comes next
        try:
            for one in crowd:
                one.setblocking(False)
                one.connect_ex(address)
            with pytest.raises(Unreachable, match=r"no connection within 0\.2 s"):
                async with asyncio.timeout(20):
                    await transport.request("POST", f"http://127.0.0.1:{address[1]}/", {}, b"")
        finally:
            for one in crowd:
                one.close()


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("http://127.0.0.1:9/", {"authorization": "Bearer hunter2\n"}),
        ("http://127.0.0.1:9/", {"x\r\ninjected": "hunter2"}),
        ("http://127.0.0.1:notaport/hunter2", {}),
        ("ftp://127.0.0.1/hunter2", {}),
        ("hunter2", {}),
    ],
)
async def test_what_cannot_be_sent_is_refused_without_showing_it(
    transport: HttpTransport, url: str, headers: dict[str, str]
) -> None:
    async with serve(always(answer())) as server:
        with pytest.raises(ConnectionFault) as caught:
            await transport.request("POST", url.replace("127.0.0.1:9", server.url[7:]), headers, b"")
        assert not caught.value.retryable
        assert "hunter2" not in str(caught.value) and "hunter2" not in repr(caught.value.__cause__)
        assert not server.requests


async def test_no_file_descriptor_left_is_told_apart(transport: HttpTransport) -> None:
    async with serve(always(answer())) as server:
        await post(transport, server)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        fillers: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 3, hard))
        try:
            with pytest.raises(OSError):
                while True:
                    fillers.append(os.dup(0))
            with pytest.raises(Unreachable, match="ulimit -n") as caught:
                await transport.request("POST", "http://127.0.0.1:1/", {}, b"")
        finally:
            for filler in fillers:
                os.close(filler)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert not caught.value.retryable
        assert (await post(transport, server)).status == 200


@pytest.mark.parametrize(
    ("client", "roots", "misuse"),
    [
        (aiohttp_client, [aiohttp.ClientError], {"ClientError"}),
        (
            httpx_client,
            [httpx2.HTTPError, httpx2.InvalidURL],
            # the roots, and what only its own status checks, redirects and event streams raise: none are used
            {
                "HTTPError",
                "RequestError",
                "TransportError",
                "ProtocolError",
                "HTTPStatusError",
                "TooManyRedirects",
                "SSEError",
            },
        ),
    ],
)
def test_every_exception_of_the_library_is_mapped(client: Any, roots: list[type[Exception]], misuse: set[str]) -> None:
    def tree(kind: type[Exception]) -> set[type[Exception]]:
        return {kind}.union(*(tree(below) for below in kind.__subclasses__()))

    found = set().union(*map(tree, roots))
    assert len(found) > 10
    unmapped = {kind.__name__ for kind in found if not issubclass(kind, client.MAPPED)}
    assert unmapped == misuse


# --- how much ---


async def test_a_body_up_to_the_cap(opened: Open) -> None:
    transport = opened(max_body_bytes=100_000)
    async with serve(always(answer(b"x" * 100_000))) as server:
        assert len((await post(transport, server)).body) == 100_000


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(answer(b"x" * 100_001), id="plain"),
        pytest.param(chunked(b"x" * 50_000, b"x" * 50_001), id="chunked"),
        pytest.param(answer(gzip.compress(b"x" * 100_001), headers="content-encoding: gzip\r\n"), id="gzip"),
    ],
)
async def test_a_body_over_the_cap(opened: Open, data: bytes) -> None:
    transport = opened(max_body_bytes=100_000)
    async with serve(always(data)) as server:
        with pytest.raises(BadResponse, match="larger than 100,000 bytes"):
            await post(transport, server)


async def test_an_endless_body_stops_at_the_cap(opened: Open) -> None:
    transport = opened(max_body_bytes=1_000_000)
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            sent += 65536

    async with serve(script) as server:
        with pytest.raises(BadResponse, match="larger than"):
            await post(transport, server)
        await until(lambda: server.closed == [1])
        assert sent < 20_000_000


async def test_a_bomb_is_not_unpacked(transport: HttpTransport) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()
    assert len(bomb) < 300_000
    async with serve(always(answer(bomb, headers="content-encoding: gzip\r\n"))) as server:
        tracemalloc.start()
        try:
            with pytest.raises(BadResponse, match="decompressed"):
                await post(transport, server)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 40_000_000


# --- cancelled ---


async def test_a_cancelled_call_closes_its_connection_at_once(transport: HttpTransport) -> None:
    gone: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.read_request()
        gone.append(await peer.reader.read())

    async with serve(script) as server:
        call = asyncio.create_task(post(transport, server))
        await until(lambda: bool(server.requests))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: gone == [b""])


async def test_a_cancelled_call_does_not_wait_to_get_rid_of_its_body(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        ports.append(peer.writer.get_extra_info("peername")[1])
        await over.wait()  # without reading: the body is stuck on the client's side

    ports, over = list[int](), asyncio.Event()
    async with serve(script) as server:
        call = asyncio.create_task(post(transport, server, body=b"x" * 50_000_000))
        await until(lambda: bool(ports))
        queued, before = unsent(ports[0]), -1
        while queued != before:
            for _ in range(50):
                await asyncio.sleep(0.001)
            queued, before = unsent(ports[0]), queued
        assert queued
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(lambda: unsent(ports[0]) is None)
        over.set()


def unsent(local_port: int) -> int | None:
    """Bytes the kernel has not yet brought over an open connection from this port; None where there is none such.

    In /proc/net/tcp the state 01 is established.
    """
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table]
    queues = [row[4] for row in rows[1:] if row[1].endswith(f":{local_port:04X}") and row[3] == "01"]
    return int(queues[0].partition(":")[0], 16) if queues else None


async def test_nothing_of_a_call_is_kept(transport: HttpTransport) -> None:
    async with serve(always(answer())) as server:
        call = asyncio.create_task(post(transport, server))
        await call
        watched = weakref.ref(call)
        del call
        await asyncio.sleep(0)  # the loop itself holds on to the task whose end woke us
        gc.collect()
        assert watched() is None


async def test_a_deadline_of_the_caller_ends_a_hanging_call(transport: HttpTransport) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
        await peer.reader.read()

    async with serve(script) as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await transport.request("POST", server.url, {}, b"")
        await until(lambda: server.closed == [1])


async def test_the_pool_survives_600_cancelled_calls(transport: HttpTransport) -> None:
    async with serve(always(answer())) as server:
        await asyncio.gather(*(post(transport, server) for _ in range(20)))
        for round_ in range(60):
            calls = [asyncio.create_task(post(transport, server)) for _ in range(10)]
            for _ in range(round_ % 7):  # each round at another moment of connecting, sending, reading
                await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        async with asyncio.timeout(5):
            for _ in range(20):
                assert (await post(transport, server)).status == 200


async def test_cancelled_calls_leave_no_connection_behind(transport: HttpTransport) -> None:
    async def hang(peer: Peer) -> None:
        await peer.read_request()
        await peer.reader.read()

    async with serve(hang) as server:
        calls = [asyncio.create_task(post(transport, server)) for _ in range(50)]
        await until(lambda: len(server.requests) == 50)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await until(lambda: len(server.closed) == 50)


# --- keep-alive ---


@pytest.mark.parametrize("client", [DirectTransport, AiohttpTransport])
async def test_an_answer_before_the_request_is_read_ends_the_connection(client: Callable[[], HttpTransport]) -> None:
    # httpx looks for an answer only when it has sent everything: it has no such case.
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(answer(b"too large", "413 Content Too Large"))
        await over.wait()

    over = asyncio.Event()
    transport = client()
    async with serve(script) as server:
        response = await post(transport, server, body=b"x" * 30_000_000)
        assert (response.status, response.body) == (413, b"too large")
        assert (await post(transport, server)).status == 413
        assert server.connections == 2
        over.set()
    await transport.close()


def closes_when_used_again(end: str) -> Script:
    """Answers the first request of the first connection, and meets the second one with a closed door."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(answer())
        if peer.number > 1:
            await peer.read_request()
            return
        await peer.read_request()
        if end == "rst":
            peer.reset()

    return script


@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_a_stale_connection_is_replaced_silently(opened: Open, end: str) -> None:
    transport = opened(replay_after_idle=0)
    async with serve(closes_when_used_again(end)) as server:
        assert (await post(transport, server)).status == 200
        assert (await post(transport, server)).status == 200
        assert (len(server.requests), server.connections) == (3, 2)


@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_a_connection_just_in_use_is_not_stale(opened: Open, end: str) -> None:
    transport = opened(replay_after_idle=1000)
    async with serve(closes_when_used_again(end)) as server:
        await post(transport, server)
        with pytest.raises(ConnectionFault):
            await post(transport, server)
        assert len(server.requests) == 2


async def test_a_fresh_connection_is_not_stale(opened: Open) -> None:
    transport = opened(replay_after_idle=0)
    async with serve(once(b"")) as server:
        with pytest.raises(ConnectionFault, match="without an answer"):
            await post(transport, server)
        assert len(server.requests) == 1


async def test_a_request_is_replaced_once_only(opened: Open) -> None:
    transport = opened(replay_after_idle=0)

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if peer.number == 1:
            await peer.send(answer())
            await peer.read_request()

    async with serve(script) as server:
        await post(transport, server)
        with pytest.raises(ConnectionFault):
            await post(transport, server)
        assert (len(server.requests), server.connections) == (3, 2)


# --- streams ---


async def test_a_stream_comes_as_it_is_sent(transport: HttpTransport) -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await asked.wait()
        await peer.send(b"3\r\ntwo\r\n0\r\n\r\n")
        await peer.read_request()

    async with serve(script) as server, asyncio.timeout(10):
        async with transport.stream("POST", server.url, {}, b"{}") as stream:
            assert (stream.status, stream.headers["x-a"]) == (200, "1")
            assert await anext(stream.chunks) == b"one"
            asked.set()
            assert [chunk async for chunk in stream.chunks] == [b"two"]
        await post_nowhere(transport, server)
        assert server.connections == 1, "a stream read to its end leaves its connection to others"


async def test_other_requests_while_a_stream_is_open(transport: HttpTransport) -> None:
    async with serve(endless) as server, serve(always(answer(b"other"))) as other:
        async with transport.stream("POST", server.url, {}, b"") as stream:
            await anext(stream.chunks)
            assert (await post(transport, other)).body == b"other"
            await anext(stream.chunks)
        await until(lambda: server.closed == [1])
        assert (await post(transport, other)).body == b"other"
        assert other.connections == 1


async def post_nowhere(transport: HttpTransport, server: Server) -> None:
    """A request that the server reads and does not answer, given up at once."""
    with pytest.raises((TimeoutError, ConnectionFault)):
        async with asyncio.timeout(0.05):
            await transport.request("POST", server.url, {}, b"")


async def endless(peer: Peer) -> None:
    await peer.read_request()
    await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        await peer.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")


async def test_a_stream_left_early_is_closed(transport: HttpTransport) -> None:
    async with serve(endless) as server:
        async with transport.stream("POST", server.url, {}, b"") as stream:
            await anext(stream.chunks)
        await until(lambda: server.closed == [1])


async def test_a_stream_is_closed_when_its_reader_fails(transport: HttpTransport) -> None:
    async with serve(endless) as server:
        with pytest.raises(ValueError, match="mine"):
            async with transport.stream("POST", server.url, {}, b"") as stream:
                await anext(stream.chunks)
                raise ValueError("mine")
        await until(lambda: server.closed == [1])


async def test_a_stream_is_closed_when_cancelled(transport: HttpTransport) -> None:
    async def quiet(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await peer.reader.read()

    async with serve(quiet) as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), transport.stream("POST", server.url, {}, b"") as stream:
                async for _ in stream.chunks:
                    pass
        await until(lambda: server.closed == [1])


async def test_a_stream_has_the_cap_too(opened: Open) -> None:
    transport = opened(max_body_bytes=1_000_000)
    async with serve(endless) as server:
        with pytest.raises(BadResponse, match="larger than"):
            async with transport.stream("POST", server.url, {}, b"") as stream:
                async for _ in stream.chunks:
                    pass
        await until(lambda: server.closed == [1])


async def test_a_stream_is_decoded(transport: HttpTransport) -> None:
    data = answer(gzip.compress(b"data: 1\n\n"), headers="content-encoding: gzip\r\n")
    async with serve(always(data)) as server:  # noqa: SIM117
        async with transport.stream("POST", server.url, {}, b"") as stream:
            assert b"".join([chunk async for chunk in stream.chunks]) == b"data: 1\n\n"


@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_a_stream_that_breaks_off_is_a_connection_fault(transport: HttpTransport, end: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await go.wait()
        if end == "rst":
            peer.reset()

    go = asyncio.Event()
    async with serve(script) as server:
        with pytest.raises(ConnectionFault):
            async with transport.stream("POST", server.url, {}, b"") as stream:
                assert await anext(stream.chunks) == b"one"
                go.set()
                await anext(stream.chunks)


async def test_a_stream_from_nobody(transport: HttpTransport) -> None:
    with pytest.raises(Unreachable):
        async with transport.stream("POST", "http://127.0.0.1:1/", {}, b""):
            raise AssertionError("there is nothing to read")


# --- TLS ---


async def test_an_unknown_certificate_is_refused_for_good(transport: HttpTransport, tmp_path: Any) -> None:
    import ssl

    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=localhost", "-days", "1", "-out", certificate, "-keyout", key],
        capture_output=True,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl can't make a certificate here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0, ssl=context)
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server's side of the failed handshake
    try:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(Unreachable, match="certificate is not trusted") as caught:
            await transport.request("POST", url, {}, b"")
        assert not caught.value.retryable
    finally:
        server.close()


@pytest.mark.parametrize(("method", "body"), [("POST", b"hello"), ("POST", b""), ("POST", None), ("GET", None)])
async def test_a_request_says_once_how_long_its_body_is(
    transport: HttpTransport, method: str, body: bytes | None
) -> None:
    async with serve(always(answer())) as server:
        for _ in range(2):
            await transport.request(method, server.url, {"content-type": "application/json"}, body)
    for request in server.requests:
        head = request.partition(b"\r\n\r\n")[0].lower()
        said = head.count(b"content-length:"), head.count(b"transfer-encoding:"), head.count(b"content-type:")
        assert said == (method == "POST", 0, 1), head


async def test_headers_replace_those_sent_by_default(transport: HttpTransport) -> None:
    async with serve(always(answer())) as server:
        await transport.request("POST", server.url, {"User-Agent": "mine", "accept": "text/plain"}, b"")
    head = server.requests[0].lower()
    assert head.count(b"user-agent:") == 1 and b"user-agent: mine\r\n" in head
    assert head.count(b"accept:") == 1 and b"accept: text/plain\r\n" in head
    assert head.count(b"host:") == 1
