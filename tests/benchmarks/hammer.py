"""A hand-written client that asks as fast as Python can, to show that the server is not the bottleneck.

python hammer.py --port 8000 --count 100000 --in-flight 100
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import cast

import uvloop
from fast_server import content_length

_BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Describe a lamp for EU."}]}'
_REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer bench-key\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
) + _BODY


class Asker(asyncio.Protocol):
    """Sends the next request as soon as an answer is whole."""

    def __init__(self, hammer: Hammer) -> None:
        self._hammer = hammer
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end >= 0 and len(self._buffer) >= end + 4 + content_length(self._buffer[:end]):
            self._buffer = b""
            self._hammer.on_answer()
            self._next()

    def _next(self) -> None:
        if self._hammer.take():
            self._transport.write(_REQUEST)
        else:
            self._transport.close()


class Hammer:
    """How many requests are still to send, how many answers to come."""

    def __init__(self, count: int) -> None:
        self._to_send = self._to_come = count
        self.done = asyncio.get_running_loop().create_future()

    def take(self) -> bool:
        self._to_send -= 1
        return self._to_send >= 0

    def on_answer(self) -> None:
        self._to_come -= 1
        if self._to_come == 0:
            self.done.set_result(None)


async def hammer(port: int, count: int, in_flight: int) -> float:
    """Seconds for so many calls."""
    loop = asyncio.get_running_loop()
    state = Hammer(count)
    began = time.perf_counter()
    for _ in range(in_flight):
        await loop.create_connection(lambda: Asker(state), "127.0.0.1", port)
    await state.done
    return time.perf_counter() - began


def main(arguments: list[str]) -> None:
    """Read the command line, ask, print calls per second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--in-flight", type=int, default=100)
    options = parser.parse_args(arguments)
    print(round(options.count / uvloop.run(hammer(options.port, options.count, options.in_flight))))


if __name__ == "__main__":
    main(sys.argv[1:])
