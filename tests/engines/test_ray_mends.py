"""What keeps a run from a cluster: one line each, at once, that says what to do."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from engines_ray_project import RayProject

from agentbatch.engines.ray.mends import check_store, joining_failed, reach
from agentbatch.errors import ConfigError

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ConfigError, match=rf"^the Ray cluster at 127\.0\.0\.1:{port} can't be reached: .*ray start"):
        await reach(f"127.0.0.1:{port}")


async def answer(handler: Handler) -> str:
    """What `reach` says of a server with this handler."""
    over = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await handler(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        over.set()

    said = ""
    async with await asyncio.start_server(handle, "127.0.0.1") as server:
        try:
            await reach(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        except ConfigError as error:
            said = str(error)
        await over.wait()
    return said


async def test_the_dashboard_is_no_head():
    async def dashboard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    for handler in (dashboard, hangs_up):
        assert "no head of a cluster. Give the port that `ray start --head` names (6379)" in await answer(handler)


async def test_what_speaks_http_2_may_be_a_head():
    async def grpc(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        await writer.drain()
        await reader.read()

    assert await answer(grpc) == ""


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "ray://10.0.0.1:10001", "http://10.0.0.1:6379", "10.0.0.1:x", "127.0.0.1:99999", "127.0.0.1:0"],
)
async def test_no_address(address: str):
    with pytest.raises(ConfigError, match="expected auto or HOST:PORT"):
        await reach(address)


def test_other_versions_stand_in_one_line():
    error = RuntimeError(
        "Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.10.2\n"
        "This process on node 10.0.0.9 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    )
    told = str(joining_failed("the Ray cluster at auto can't be joined", error))
    assert told == (
        "the Ray cluster at auto can't be joined: it has Ray 2.9.0 and Python 3.10.2, this machine Ray 2.60.0 and"
        " Python 3.11.7. Install the same versions of both"
    )


def test_no_ray_on_this_machine():
    error = ConnectionError("Could not find any running Ray instance. Please specify the one to connect to.")
    told = str(joining_failed("the Ray cluster at auto can't be joined", error))
    assert "no Ray runs on this machine. Begin one with `ray start --head`" in told
    assert "\n" not in told


def test_an_object_store_that_is_too_small():
    check_store(50_000_000, [("a", 100e6)])
    with pytest.raises(ConfigError, match=r"node b has 80 MB, too little for the 90 MB .*--object-store-memory.*excl"):
        check_store(90_000_000, [("a", 200e6), ("b", 80e6)])
    shm = ValueError("Attempting to cap object store memory usage at 1 bytes, but the minimum allowed is 78643200.")
    assert "--shm-size" in str(joining_failed("a private Ray can't be started here", shm))


def test_the_commands_say_so_at_once(tmp_path: Path):
    pytest.importorskip("ray", reason="needs the extra: pip install 'agentbatch[ray]'")
    project = RayProject(tmp_path)
    project.write(2)
    began = time.monotonic()
    code, said = project.run("--address", "127.0.0.1:1")
    assert code == 2
    assert "the Ray cluster at 127.0.0.1:1 can't be reached" in said
    assert "Traceback" not in said
    assert project.results() == []
    assert time.monotonic() - began < 60
