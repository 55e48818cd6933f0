"""A remote agent's server for tests: answers what it is told, path by path, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Answer = tuple[int, dict[str, str], Any]
"""Status, headers, and a body: text as it is, everything else as JSON; None is never answered."""


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class JobServer:
    """Each path has its answers, one after the other, the last one again and again."""

    answers: dict[str, list[Answer | Callable[[Asked], Answer]]]
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    in_flight: int = 0
    peak: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    _turns: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, path: str) -> int:
        return sum(asked.path == path for asked in self.asked)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                asked = await _read(reader)
                self.asked.append(asked)
                self.in_flight += 1
                self.peak = max(self.peak, self.in_flight)
                writer.write(_written(*await self._answer(asked)))
                self.in_flight -= 1
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, asked: Asked) -> Answer:
        answers = self.answers.get(asked.path, [(404, {}, "no such path")])
        turn, self._turns[asked.path] = self._turns[asked.path], self._turns[asked.path] + 1
        found = answers[min(turn, len(answers) - 1)]
        answer = found if isinstance(found, tuple) else found(asked)
        if answer[2] is None:
            await self.over.wait()
        await asyncio.sleep(0.01)
        return answer


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(method, path, headers, body.decode())


def _written(status: int, headers: dict[str, str], body: Any) -> bytes:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(data)}", *(f"{key}: {headers[key]}" for key in headers)]
    return "\r\n".join([*lines, "", ""]).encode() + data


@asynccontextmanager
async def serving(**answers: Any) -> AsyncIterator[JobServer]:
    """A server on a port of its own. `answers` are by path, `/` for `_`."""
    server = JobServer({f"/{path.replace('_', '/')}": given for path, given in answers.items()})
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server
        server.over.set()  # lets go of what was never answered
