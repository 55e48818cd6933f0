"""A model's endpoint that does to each request exactly what a test scripts, and remembers every one of them.

It speaks the chat completions dialect over raw sockets, so that it can also stop in the middle of a word, say things
that are no HTTP, or say nothing. It runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Literal

from transports.scripted_server import Peer, serve

PATIENCE_S = 60.0
"""Only a hang takes this long."""

_ITEM = re.compile(rb"item=([^;]*);")


@dataclass(eq=False)
class Asked:
    """One request. `id` is that of the item its prompt names; `attempt` counts the requests for this item from 1."""

    id: str
    attempt: int
    number: int
    at: float
    head: str
    body: bytes
    in_flight: int
    ended_at: float | None = None
    status: int = 0
    """What was answered; 0 where the whole answer never left."""

    @property
    def prompt(self) -> str:
        """The last message."""
        return json.loads(self.body)["messages"][-1]["content"]


@dataclass(frozen=True)
class Reply:
    """What becomes of a request. `raw` replaces status line, headers and body; `then` is what follows them."""

    body: bytes | str = b""
    status: str = "200 OK"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    raw: bytes | None = None
    then: Literal["keep", "close", "reset", "hang", "repeat"] = "keep"
    more: bytes = b""
    """With `repeat`: sent again and again until the client leaves."""

    def bytes(self) -> bytes:
        if self.raw is not None:
            return self.raw
        body = self.body.encode() if isinstance(self.body, str) else self.body
        fields = {"content-type": "application/json", "content-length": str(len(body)), **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"HTTP/1.1 {self.status}\r\n{head}\r\n".encode("latin-1") + body


Script = Callable[[Asked], Reply]


def token(item_id: str) -> str:
    """What a good answer about this item holds, and no other answer does."""
    return hashlib.sha1(item_id.encode()).hexdigest()


def good(item_id: str, delay: float = 0.0, *, text: str | None = None, finish: str = "stop", **extra: object) -> Reply:
    """A whole and valid answer about this item."""
    message = {"role": "assistant", "content": token(item_id) if text is None else text, **extra}
    answer = {
        "id": f"chatcmpl-{item_id}",
        "object": "chat.completion",
        "model": "test-model",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    return Reply(json.dumps(answer), delay=delay)


def as_stream(reply: Reply) -> Reply:
    """A good answer as server-sent events."""
    whole = json.loads(reply.body)
    message = whole["choices"][0]["message"]
    calls = [{"index": n, **call} for n, call in enumerate(message.get("tool_calls", []))]
    delta = {**message, **({"tool_calls": calls} if calls else {})}
    finish = whole["choices"][0]["finish_reason"]
    chunks = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
        {"choices": [], "usage": whole["usage"]},
    ]
    head = {"id": whole["id"], "object": "chat.completion.chunk", "model": whole["model"]}
    events = [f"data: {json.dumps(head | chunk)}\n\n" for chunk in chunks]
    return replace(reply, body="".join([*events, "data: [DONE]\n\n"]), headers={"content-type": "text/event-stream"})


def refused(status: str, code: str = "", message: str = "no", **headers: str) -> Reply:
    """An error in OpenAI's shape; underscores in the names of headers stand for hyphens."""
    body = {"error": {"message": message, "type": code or "error", "code": code or None}}
    return Reply(json.dumps(body), status, {name.replace("_", "-"): value for name, value in headers.items()})


def always_good(asked: Asked) -> Reply:
    """Every item has its answer at once."""
    return good(asked.id)


class Provider:
    """The endpoint while it runs. Change `script` at any time."""

    def __init__(self, script: Script = always_good) -> None:
        self.script = script
        self.url = ""
        self.requests: list[Asked] = []
        self.in_flight = 0
        self._counts: Counter[str] = Counter()
        self._changed = threading.Condition()

    @property
    def ids(self) -> list[str]:
        """The items asked about, in order, repetitions included."""
        return [asked.id for asked in self.requests]

    @property
    def counts(self) -> Counter[str]:
        """How often each item was asked about."""
        return Counter(self.ids)

    @property
    def peak(self) -> int:
        """The most requests that were being answered at once."""
        return max((asked.in_flight for asked in self.requests), default=0)

    def busiest(self, seconds: float) -> int:
        """The most requests in any stretch of this length."""
        times = sorted(asked.at for asked in self.requests)
        most = first = 0
        for last, at in enumerate(times):
            while at - times[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def after(self, moment: float) -> list[Asked]:
        """The requests that came after this moment of `perf_counter()`."""
        return [asked for asked in self.requests if asked.at > moment]

    def wait_for(self, requests: int, *, answered: bool = False) -> None:
        """Until so many requests have come (or, with `answered`, have been answered in full)."""

        def enough() -> bool:
            return sum(asked.status > 0 or not answered for asked in self.requests) >= requests

        with self._changed:
            assert self._changed.wait_for(enough, PATIENCE_S), f"only {len(self.requests)} requests came"

    def wait_for_change(self) -> None:
        """Until another request has come or ended."""
        with self._changed:
            assert self._changed.wait(PATIENCE_S), "nothing happened any more"

    async def talk(self, peer: Peer) -> None:
        """One connection."""
        while request := await peer.read_request():
            asked = self._note(request)
            try:
                await self._reply(peer, asked, self.script(asked))
            finally:
                self._end(asked)

    def _note(self, request: bytes) -> Asked:
        head, _, body = request.partition(b"\r\n\r\n")
        found = _ITEM.search(body)
        item_id = found[1].decode() if found else ""
        with self._changed:
            self._counts[item_id] += 1
            self.in_flight += 1
            asked = Asked(
                item_id,
                self._counts[item_id],
                len(self.requests) + 1,
                perf_counter(),
                head.decode("latin-1"),
                body,
                self.in_flight,
            )
            self.requests.append(asked)
            self._changed.notify_all()
        return asked

    async def _reply(self, peer: Peer, asked: Asked, reply: Reply) -> None:
        if reply.delay and await _left_within(peer, reply.delay):
            return
        data = reply.bytes()
        if data:
            await peer.send(data)
        if reply.then in ("keep", "close"):
            asked.status = int(reply.status[:3])
        if reply.then == "keep":
            return
        if reply.then == "hang":
            await peer.reader.read()
        while reply.then == "repeat":
            await peer.send(reply.more)
        if reply.then == "reset":
            peer.reset()
        raise ConnectionResetError

    def _end(self, asked: Asked) -> None:
        with self._changed:
            self.in_flight -= 1
            asked.ended_at = perf_counter()
            self._changed.notify_all()


async def _left_within(peer: Peer, seconds: float) -> bool:
    """Wait; whether the client has closed its end meanwhile."""
    try:
        async with asyncio.timeout(seconds):
            rest = await peer.reader.read(1)
    except TimeoutError:
        return False
    assert not rest, "this client does not send two requests at once"
    return True


@contextmanager
def running(provider: Provider) -> Iterator[Provider]:
    """Serve in a thread until the `with` ends."""
    ready = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        stop = asyncio.Event()
        async with serve(provider.talk) as server:
            provider.url = f"{server.url}/v1"
            loops.append((asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),), name="provider")
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield provider
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE_S)
