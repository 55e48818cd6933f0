"""Large answers get room one after the other, and nobody waits for ever."""

from __future__ import annotations

import asyncio

from transports.scripted_server import Peer, serve

from agentbatch.transports.direct_client import DirectTransport
from agentbatch.transports.read_room import ReadRoom

LARGE = 3_000_000


def test_who_does_not_fit_waits_in_line() -> None:
    room, resumed = ReadRoom(100), list[str]()
    first, free = room.enter(60, lambda: resumed.append("first"))
    assert free
    second, free = room.enter(60, lambda: resumed.append("second"))
    assert not free
    _, free = room.enter(10, lambda: resumed.append("third"))
    assert not free, "it would fit, but is not before its turn"
    assert resumed == []
    first.leave()
    assert resumed == ["second", "third"]
    second.leave()


def test_what_is_larger_than_the_room_has_it_alone() -> None:
    room, resumed = ReadRoom(100), list[str]()
    first, free = room.enter(500, lambda: None)
    assert free
    second, free = room.enter(500, lambda: resumed.append("second"))
    assert not free
    first.leave()
    first.leave()
    assert resumed == ["second"]
    second.leave()
    assert room.enter(100, lambda: None)[1]


def test_who_leaves_the_queue_is_not_called() -> None:
    room, resumed = ReadRoom(100), list[str]()
    first, _ = room.enter(100, lambda: None)
    gone, _ = room.enter(100, lambda: resumed.append("gone"))
    room.enter(100, lambda: resumed.append("next"))
    gone.leave()
    first.leave()
    assert resumed == ["next"]


async def test_many_large_answers_all_come_on_connections_that_stay_good() -> None:
    """The second body is small enough to be whole by the time it should wait: its connection must read on after."""
    body = b"x" * LARGE

    async def talk(peer: Peer) -> None:
        while request := await peer.read_request():
            data = body if b"large" in request.partition(b"\r\n")[0] else b"y" * 70_000
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(data) + data)

    async with serve(talk) as server, asyncio.timeout(60):
        transport = DirectTransport()
        transport._pool._room = ReadRoom(2 * LARGE)  # pyright: ignore[reportPrivateUsage]
        try:
            for path in ("large", "small", "large", "small"):
                answers = await asyncio.gather(
                    *(transport.request("GET", f"{server.url}/{path}", {}, None) for _ in range(40))
                )
                assert {len(answer.body) for answer in answers} == {LARGE if path == "large" else 70_000}
        finally:
            await transport.close()


async def test_a_large_answer_that_is_given_up_makes_room() -> None:
    async def talk(peer: Peer) -> None:
        request = await peer.read_request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % LARGE + b"x" * (LARGE // 2))
        if b"whole" in request:
            await peer.send(b"x" * (LARGE // 2))
        await peer.reader.read()

    async with serve(talk) as server, asyncio.timeout(60):
        transport = DirectTransport()
        transport._pool._room = ReadRoom(LARGE)  # pyright: ignore[reportPrivateUsage]
        try:
            stuck = [asyncio.create_task(transport.request("GET", f"{server.url}/half", {}, None)) for _ in range(3)]
            while len(server.requests) < 3:
                await asyncio.sleep(0.001)
            whole = asyncio.create_task(transport.request("GET", f"{server.url}/whole", {}, None))
            while len(server.requests) < 4:
                await asyncio.sleep(0.001)
            for one in stuck:
                one.cancel()
            assert len((await whole).body) == LARGE
        finally:
            await transport.close()
