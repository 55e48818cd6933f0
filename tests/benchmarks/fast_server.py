"""A chat completions server that is never the bottleneck: canned answers after a fixed latency, in its own process.

It speaks just enough HTTP/1.1 (keep-alive, Content-Length bodies) for any client library. Its first line on stdout is
its port. `GET /stats` answers with what came in and when; `POST` to any path is a chat completion.

    python fast_server.py --port 0 --latency 0.1 --max-in-flight 500 --error-rates 429=0.05,500=0.02
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import cast

RIGHT_KEY = "bench-key"

_REASONS = {200: "OK", 401: "Unauthorized", 403: "Forbidden", 429: "Too Many Requests", 500: "Internal Server Error"}
_WORDS = "A canned answer of a few plain words, said again until it is as long as it was asked to be. "
_TURNAROUND_BUCKETS = 5000


@dataclass(frozen=True, slots=True)
class Settings:
    """What the server does. `latency` is in seconds, `error_rates` are shares of requests by status."""

    latency: float = 0.1
    body_bytes: int = 700
    wrong_key_status: int | None = None
    max_in_flight: int | None = None
    error_rates: tuple[tuple[int, float], ...] = ()


@dataclass(slots=True)
class Stats:
    """What came in. Times are monotonic, in seconds since the server's start, except those in Unix time."""

    started: float = field(default_factory=time.monotonic)
    started_unix: float = field(default_factory=time.time)
    requests: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    connections: int = 0
    peak_connections: int = 0
    opened: int = 0
    first_request: float = 0.0
    last_request: float = 0.0
    last_answer: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter[int])
    turnarounds: list[int] = field(default_factory=lambda: [0] * (_TURNAROUND_BUCKETS + 1))
    """Counts by whole milliseconds: from an answer to the next request on its connection, so how promptly a client
    with all its requests in flight comes back to each."""

    def to_json(self) -> dict[str, object]:
        """As `/stats` answers."""
        return {
            "requests": self.requests,
            "in_flight": self.in_flight,
            "peak_in_flight": self.peak_in_flight,
            "connections_opened": self.opened,
            "peak_connections": self.peak_connections,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "first_request_s": self._since_start(self.first_request),
            "last_request_s": self._since_start(self.last_request),
            "last_answer_s": self._since_start(self.last_answer),
            "first_request_unix": self._unix(self.first_request),
            "last_request_unix": self._unix(self.last_request),
            "last_answer_unix": self._unix(self.last_answer),
            "turnaround_ms": {"p50": self.turnaround(0.5), "p99": self.turnaround(0.99), "max": self.turnaround(1.0)},
        }

    def turnaround(self, share: float) -> int | None:
        """So many milliseconds or fewer in this share of cases."""
        wanted = share * sum(self.turnarounds)
        seen = 0
        for milliseconds, count in enumerate(self.turnarounds):
            seen += count
            if count and seen >= wanted:
                return milliseconds
        return None

    def _since_start(self, moment: float) -> float | None:
        return moment - self.started if moment else None

    def _unix(self, moment: float) -> float | None:
        return moment - self.started + self.started_unix if moment else None


class Server:
    """The answers, and the one queue of those that are due later.

    All latencies are equal, so answers fall due in the order their requests came: a deque and one timer do for any
    number of them.
    """

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self.stats = Stats()
        self._settings = settings
        self._loop = loop
        self._answer = http_answer(200, completion(settings.body_bytes))
        self._due: deque[tuple[float, Connection, bytes]] = deque()
        self._timer_runs = False
        self._random = random.Random(1)
        self._right_key = RIGHT_KEY.encode()

    def on_post(self, connection: Connection, head: bytes) -> None:
        """A whole request came: answer now, or when it is due."""
        now = time.monotonic()
        stats = self.stats
        stats.requests += 1
        stats.last_request = now
        if not stats.first_request:
            stats.first_request = now
        if connection.answered_at:
            stats.turnarounds[min(int((now - connection.answered_at) * 1000), _TURNAROUND_BUCKETS)] += 1
        settings = self._settings
        if settings.max_in_flight is not None and stats.in_flight >= settings.max_in_flight:
            self._send(connection, self._refusal(429), now)
            return
        answer = self._answer_to(head)
        if settings.latency <= 0:
            stats.peak_in_flight = max(stats.peak_in_flight, 1)
            self._send(connection, answer, now)
            return
        stats.in_flight += 1
        if stats.in_flight > stats.peak_in_flight:
            stats.peak_in_flight = stats.in_flight
        self._due.append((now + settings.latency, connection, answer))
        if not self._timer_runs:
            self._timer_runs = True
            self._loop.call_later(settings.latency, self._serve_due)

    def _answer_to(self, head: bytes) -> bytes:
        settings = self._settings
        if settings.wrong_key_status is not None and self._right_key not in head:
            return self._refusal(settings.wrong_key_status)
        if settings.error_rates:
            draw = self._random.random()
            for status, share in settings.error_rates:
                if draw < share:
                    return self._refusal(status)
                draw -= share
        self.stats.statuses[200] += 1
        return self._answer

    def _refusal(self, status: int) -> bytes:
        self.stats.statuses[status] += 1
        words = {"message": f"refused with {status}", "type": "benchmark", "code": None}
        return http_answer(status, json.dumps({"error": words}).encode())

    def _serve_due(self) -> None:
        due = self._due
        now = time.monotonic()
        while due and due[0][0] <= now:
            _, connection, answer = due.popleft()
            self.stats.in_flight -= 1
            self._send(connection, answer, now)
        if due:
            self._loop.call_later(max(0.001, due[0][0] - time.monotonic()), self._serve_due)
        else:
            self._timer_runs = False

    def _send(self, connection: Connection, answer: bytes, now: float) -> None:
        if not connection.lost:
            self.stats.last_answer = now
            connection.answered_at = now
            connection.transport.write(answer)


class Connection(asyncio.Protocol):
    """One client connection: cuts what comes into requests."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = b""
        self.lost = False
        self.answered_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        stats = self._server.stats
        stats.opened += 1
        stats.connections += 1
        stats.peak_connections = max(stats.peak_connections, stats.connections)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._server.stats.connections -= 1

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        while self._buffer:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end]
            size = end + 4 + content_length(head)
            if len(self._buffer) < size:
                return
            self._buffer = self._buffer[size:]
            self._on_request(head)

    def _on_request(self, head: bytes) -> None:
        if head.startswith(b"POST "):
            self._server.on_post(self, head)
        elif head.startswith(b"GET /stats"):
            self.transport.write(http_answer(200, json.dumps(self._server.stats.to_json()).encode()))
        else:
            self.transport.write(http_answer(200, b"{}"))


def content_length(head: bytes) -> int:
    """The length of the body that follows; 0 where the head names none."""
    at = head.find(b"Content-Length:")
    if at < 0:
        at = head.lower().find(b"content-length:")
        if at < 0:
            return 0
    line_end = head.find(b"\r\n", at)
    return int(head[at + 15 : line_end if line_end > 0 else len(head)])


def completion(size: int) -> bytes:
    """A chat completion of about so many bytes, at least 300."""
    answer = {
        "id": "chatcmpl-benchmark",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 25, "completion_tokens": 60, "total_tokens": 85},
    }
    missing = max(1, size - len(json.dumps(answer)))
    answer["choices"][0]["message"]["content"] = (_WORDS * (missing // len(_WORDS) + 1))[:missing]  # type: ignore[index]
    return json.dumps(answer).encode()


def http_answer(status: int, body: bytes) -> bytes:
    """Head and body, ready to write."""
    head = (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "x-request-id: req-benchmark\r\n\r\n"
    )
    return head.encode() + body


async def serve(settings: Settings, port: int) -> None:
    """Serve until the process is ended; prints the port first."""
    loop = asyncio.get_running_loop()
    server = Server(settings, loop)
    listening = await loop.create_server(lambda: Connection(server), "127.0.0.1", port, backlog=16_384)
    print(listening.sockets[0].getsockname()[1], flush=True)
    async with listening:
        await listening.serve_forever()


def rates(text: str) -> tuple[tuple[int, float], ...]:
    """`429=0.05,500=0.02` as pairs."""
    pairs = (pair.split("=") for pair in text.split(",") if pair)
    return tuple((int(status), float(share)) for status, share in pairs)


def parsed(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--latency", type=float, default=0.1, help="seconds of every answer")
    parser.add_argument("--body-bytes", type=int, default=700, help="size of an answer, 300 or more")
    parser.add_argument("--wrong-key-status", type=int, help=f"answer so to every key but {RIGHT_KEY}")
    parser.add_argument("--max-in-flight", type=int, help="answer 429 at once beyond so many")
    parser.add_argument("--error-rates", type=rates, default=(), metavar="429=0.05,500=0.02")
    parser.add_argument("--cpu", type=int, help="the core to stay on")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Tune the process, then serve."""
    options = parsed(arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.cpu is not None and options.cpu in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {options.cpu})
    settings = Settings(
        options.latency, options.body_bytes, options.wrong_key_status, options.max_in_flight, options.error_rates
    )
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(settings, options.port))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, options.port))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        pass
