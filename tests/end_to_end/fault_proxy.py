"""A proxy in front of a real server of batches: it refuses, loses, delays and damages what a test tells it to."""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from end_to_end.rude_http import Reply

Change = Callable[[bytes], bytes]
Fault = int | str | Change
"""A status: the request is refused. `reset`: so is the connection. `lost`: the server hears it, nobody its answer.
`cut`: half of the answer arrives. A function changes the answer."""

PATIENCE_S = 60.0
_OWN = ("host", "content-length", "connection", "accept-encoding")
"""Headers that are not passed on."""


@dataclass
class FaultProxy:
    """What went through.

    Attributes:
        origin: of the real server.
        faults: by step (`upload`, `create`, `list`, `look`, `cancel`, `content`, `delete`), what happens to its next
            requests; None: nothing.
        headers: what is added to requests of a step, the next ones first.
        ahead: called before a request is forwarded.
        reached: told each step whose request the server has heard, before the answer goes on.
        change: what is done to the results of every batch.
    """

    origin: str
    faults: dict[str, list[Fault | None]] = field(default_factory=dict[str, list[Fault | None]])
    headers: dict[str, list[Mapping[str, str]]] = field(default_factory=dict[str, list[Mapping[str, str]]])
    ahead: Callable[[str, str], None] = lambda step, path: None
    reached: Callable[[str], None] = lambda step: None
    change: Change = lambda body: body
    steps: Counter[str] = field(default_factory=Counter[str])
    asked: Counter[str] = field(default_factory=Counter[str])
    """How often each custom id stands in a batch that the server made."""
    said: dict[str, str] = field(default_factory=dict[str, str])
    """The last message of the request of each custom id."""
    batches: int = 0
    _files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Reply | Literal["close", "reset"]:
        """What the client gets."""
        step = step_of(method, path)
        with self._lock:
            self.steps[step] += 1
            fault = _next(self.faults, step)
            kept = {name: value for name, value in headers.items() if name.lower() not in _OWN}
            kept |= _next(self.headers, step) or {}
        if isinstance(fault, int):
            return Reply(fault, {"retry-after": "1"}, b'{"error":{"message":"not now","type":"x"}}')
        if fault == "reset":
            return "reset"
        self.ahead(step, path)
        answer = self.forward(method, path, kept, body)
        if answer.status < 300:
            self._note(step, body, answer)
        self.reached(step)
        if fault == "lost":
            return "reset"
        content = self.change(answer.body) if step == "content" else answer.body
        if callable(fault):
            content = fault(content)
        return Reply(answer.status, answer.headers, content, (len(content) + 1) // 2 if fault == "cut" else 0)

    def forward(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The server's own answer."""
        address = urlsplit(self.origin)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body or None, {**headers, "connection": "close"})
            got = connection.getresponse()
            kind = {"content-type": got.getheader("content-type") or "application/json"}
            return Reply(got.status, kind, got.read())
        finally:
            connection.close()

    def _note(self, step: str, body: bytes, answer: Reply) -> None:
        if step == "upload":
            self._files[json.loads(answer.body)["id"]] = body
        if step != "create":
            return
        self.batches += 1
        wanted = json.loads(body)
        if "requests" in wanted:
            requests = [(each["custom_id"], each["params"]) for each in wanted["requests"]]
        else:
            lines = re.findall(rb'^{"custom_id".*}\r?$', self._files[wanted["input_file_id"]], re.MULTILINE)
            requests = [(each["custom_id"], each["body"]) for each in map(json.loads, lines)]
        for key, request in requests:
            self.asked[key] += 1
            self.said[key] = _text(request["messages"][-1]["content"])


def step_of(method: str, path: str) -> str:
    """What a request is for."""
    path = path.partition("?")[0]
    if "/files" in path:
        return {"POST": "upload", "DELETE": "delete"}.get(method, "content")
    if path.endswith("/results"):
        return "content"
    if path.endswith("/cancel"):
        return "cancel"
    if path.endswith("/batches"):
        return "create" if method == "POST" else "list"
    return "look" if "/batches/" in path else "chat"


def _next(waiting: Mapping[str, list[Any]], step: str) -> Any:
    return waiting[step].pop(0) if waiting.get(step) else None


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
